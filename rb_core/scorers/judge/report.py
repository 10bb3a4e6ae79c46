"""A judged run as files: its transcript with the examples' names, what that says of the judge, and scores read anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from rb_core.benchmarks.example import CompletionSet, Example
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError
from rb_core.results.judge_records import JudgeRef, Judging
from rb_core.results.schema import ModelRef
from rb_core.scorers.judge import bias, protocols
from rb_core.scorers.judge.budget import Prices
from rb_core.scorers.judge.panel import PanelScorer
from rb_core.scorers.judge.parsing import LETTERS
from rb_core.scorers.judge.protocols import Answer, Ask
from rb_core.scorers.judge.scorer import Exchange, JudgeScorer
from rb_core.scorers.judge.transcript import tokens_from_json, tokens_to_json
from rb_core.scorers.judge.types import SERVER_ERROR, TOO_LONG, Reply

# Of one request: more is an error of the server's, and no number that a file could hold.
MOST_TOKENS = 1 << 40


Judge = JudgeScorer | PanelScorer


Blinded = Sequence[tuple[CompletionSet, Sequence[int]]]


def check_benchmark(judge: Judge, benchmark: Benchmark) -> None:
    """Raises ModelError where the benchmark makes an option senseless: listwise finds one best completion of as many as
    there are letters; what only a rating has is of no use where nothing is rated."""
    first = judge.judges[0]
    rates = first.mode == "ratings" or any(section.metric == "ties" for section in benchmark.spec.sections)
    if first.wording.expected and not rates:
        raise ModelError(
            f"--expected says how ratings are read: --mode {first.mode} rates nothing of {benchmark.spec.id}"
        )
    if first.wording.structured and first.mode == "logprob" and not rates:
        raise ModelError(
            f"--structured asks for JSON: the replies of --mode logprob on {benchmark.spec.id} are letters"
        )
    if first.mode != "listwise":
        return
    for example in benchmark.examples:
        if benchmark.spec.metric_of(example.subset) == "ties":
            continue
        number = len(example.completions)
        if example.num_chosen > 1 or number > len(LETTERS):
            what = f"{number} completions" if number > len(LETTERS) else f"{example.num_chosen} chosen completions"
            raise ModelError(
                f"--mode listwise finds the best of at most {len(LETTERS)} completions, and example {example.id} of "
                f"{benchmark.spec.id} has {what}: use --mode pairwise, ratings or logprob"
            )


# From a run to its transcript


def transcript_table(benchmark: Benchmark, blinded: Blinded, judge: Judge) -> pd.DataFrame:
    """Every request with its reply, in the benchmark's order; completions are counted as in the score table."""
    rows = [
        _row(example, order, exchange)
        for example, (candidates, order) in zip(benchmark.examples, blinded, strict=True)
        for exchange in judge.exchanges(candidates)
    ]
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(("prompt_tokens", "completion_tokens"), "Int64"))


def _row(example: Example, order: Sequence[int], exchange: Exchange) -> dict[str, Any]:
    reply = exchange.reply
    shown = [order[index] for index in exchange.ask.order]
    return {
        "judge": exchange.judge,
        "example_id": example.id,
        "mode": exchange.ask.mode,
        "order": shown,
        "prompt_sha256": exchange.request.sha256,
        "text": _writable(reply.text),
        "reasoning": _writable(reply.reasoning),
        "finish_reason": _writable(reply.finish),
        "problem": reply.problem,
        "logprobs": tokens_to_json(reply.tokens),
        "shares": list(exchange.answer.shares),
        "reason": exchange.answer.reason,
        "injections": exchange.injections,
        "authors": [example.authors[index] for index in shown] if example.authors else [],
        "prompt_tokens": _counted(reply.prompt_tokens),
        "completion_tokens": _counted(reply.completion_tokens),
        "seconds": reply.seconds,
        "tries": reply.tries,
    }


def _writable(text: str) -> str:
    """The text with U+FFFD for half a surrogate pair, which a server can send and no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _counted(tokens: int | None) -> int | None:
    """A number of tokens; None for one that no reply can have had."""
    return None if tokens is None or tokens > MOST_TOKENS else tokens


# What it says of the judge


def describe(rows: pd.DataFrame, scores: pd.DataFrame, model: ModelRef, judge: Judge) -> dict[str, Any]:
    """What the files of a run say of its judging: the figures, and what they were worked out with."""
    if model.judge is None:
        raise ModelError(f"{model.name}: says nothing of how it was asked")
    first = judge.judges[0]
    prices = first.budget.limits.prices
    accounts = Accounts(None if prices is None else (prices.prompt, prices.completion), first.author)
    figures = measure(rows, scores, model.judge, accounts)
    return {"judging": figures.model_dump(mode="json"), **accounts._asdict()}


class Accounts(NamedTuple):
    """What is to be known beside the transcript. prices: US dollars for a million tokens of prompts and replies;
    author: the judge's name among the completions' authors, None for its own."""

    prices: tuple[float, float] | None = None
    author: str | None = None


def measure(rows: pd.DataFrame, scores: pd.DataFrame, judge: JudgeRef, accounts: Accounts) -> Judging:
    """What the judging cost and how reliable it was, from transcript and score table; of a panel also each judge's."""
    cells = list(zip(scores["example_id"], scores["completion"], strict=True))
    lengths = dict(zip(cells, scores["num_completion_tokens"], strict=True))
    chosen = dict(zip(cells, scores["is_chosen"], strict=True))

    def one(name: str, some: pd.DataFrame) -> Judging:
        found = bias.told(some)
        # two completions with one text have no order
        distinct = bias.told(some.drop_duplicates(["example_id", "prompt_sha256"]))
        own = _own(some, accounts.author or name)
        return Judging(
            **_spent(some, accounts.prices),
            problems=_problems(some),
            injections=int(some["injections"].sum()),
            plain_ratings=_plain_ratings(some, structured=judge.structured) if judge.expected else 0,
            **bias.positions(distinct)._asdict(),
            **bias.preferences(found, lengths, own, chosen)._asdict(),
        )

    by_judge = {str(name): some for name, some in rows.groupby("judge", sort=False)}
    if not judge.panel:
        ((name, some),) = by_judge.items()
        return one(name, some)
    given = judge_scores(rows)
    return Judging(
        **_spent(rows, accounts.prices),
        problems=_problems(rows),
        agreement=bias.agreement([given[name] for name in judge.panel]),
        members={name: one(name, by_judge[name]) for name in judge.panel},
    )


def _spent(rows: pd.DataFrame, prices: tuple[float, float] | None) -> dict[str, Any]:
    """Requests, tokens and US dollars. What was refused for its length, or never answered, has no tokens."""
    once = _once(rows)
    replied = once[~once["problem"].isin((TOO_LONG, SERVER_ERROR))]
    tokens = [replied[name] for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (None if column.isna().any() else int(column.sum()) for column in tokens)
    cost = None
    if prices is not None and prompt is not None and completion is not None:
        cost = Prices(*prices).cost(prompt, completion)
    return {"requests": len(once), "prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}


def _problems(rows: pd.DataFrame) -> dict[str, int]:
    counts = _once(rows)["reason"].value_counts().sort_index()
    return {str(reason): int(n) for reason, n in counts.items() if reason}


def _plain_ratings(rows: pd.DataFrame, *, structured: bool) -> int:
    once = _once(rows)
    rated = once[(once["mode"] == "ratings") & (once["reason"] == "")]
    return sum(not answer_of(row, structured=structured).exact for row in transcript_records(rated))


def _once(rows: pd.DataFrame) -> pd.DataFrame:
    """The requests that were made: equal ones to one judge are one."""
    return rows.drop_duplicates(["judge", "prompt_sha256"])


def _own(rows: pd.DataFrame, judge: str) -> dict[tuple[str, int], bool]:
    """Whether the judge wrote a completion, by (example, completion), where its author is known: an author with the
    judge's name, or the last part of it."""
    names = {judge.lower(), judge.rpartition("/")[2].lower()}
    return {
        (str(example), int(completion)): author.lower() in names
        for example, order, authors in zip(rows["example_id"], rows["order"], rows["authors"], strict=True)
        if len(authors)
        for completion, author in zip(order, authors, strict=True)
        if author
    }


def judge_scores(rows: pd.DataFrame) -> dict[str, dict[tuple[str, int], float]]:
    """By judge the score of every (example, completion), NaN where unscored."""
    return {judge: {cell: value for cell, (value, _) in cells.items()} for judge, cells in cells_by_judge(rows).items()}


def cells_by_judge(rows: pd.DataFrame) -> dict[str, dict[tuple[str, int], tuple[float, str]]]:
    """By judge, for every (example, completion), the score and the reason why there is none."""
    found: dict[str, dict[tuple[str, int], tuple[float, str]]] = {}
    for (judge, example), some in rows.groupby(["judge", "example_id"], sort=False):
        asked = [each.ask for each in bias.told(some)]
        pairs = zip(some["shares"], some["reason"], strict=True)
        answers = [Answer(tuple(map(float, shares)), str(reason)) for shares, reason in pairs]
        for completion in sorted({index for ask in asked for index in ask.order}):
            cell = (str(example), completion)
            found.setdefault(str(judge), {})[cell] = protocols.mean_share(completion, asked, answers)
    return found


def transcript_records(rows: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    columns = ("mode", "order", "text", "problem", "logprobs")
    for values in zip(*(rows[name] for name in columns), strict=True):
        yield dict(zip(columns, values, strict=True))


def answer_of(row: Mapping[str, Any], *, structured: bool = False) -> Answer:
    ask = Ask(row["mode"], tuple(map(int, row["order"])))
    reply = Reply(text=row["text"], problem=row["problem"], tokens=tokens_from_json(row["logprobs"]))
    return protocols.answer(ask, reply, structured=structured)
