"""What all scorers of conversations share: memory that runs out, scores that are taken in while others are made."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import ModelError
from rb_core.evaluation import evaluate, score
from rb_core.evaluation.journal import Journal
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.score_table import Score, read_scores
from rb_core.scorers import loading
from rb_core.scorers.base import Batch, Cell
from rb_core.scorers.batch_limit import is_out_of_memory
from rb_core.scorers.classifier import ClassifierScorer
from rb_core.scorers.conversation_scorer import ConversationScorer, InFlight, Inputs
from rb_core.scorers.load import load_scorer
from rb_core.scorers.loading import MAX_BATCH_TOKENS, MIN_BATCH_TOKENS, batch_budget
from tests.fakes.scorers import load_copy
from tests.fakes.tiny_tokenizers import DECLARED

TinyModel = Callable[[str], Path]
CLOSE = 1e-5
FULL = "CUDA out of memory. injected"


def ask(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


CANDIDATES = tuple(
    CompletionSet(
        ask(f"Question {i}? " * (i % 4 + 1)), tuple(f"Answer {j}. " * (3 * j % 5 + 1) for j in range(i % 4 + 1))
    )
    for i in range(12)
)


@pytest.fixture(params=["classifier", "implicit", "classifier-bucketed"])
def scorer(request: pytest.FixtureRequest, tiny_model: TinyModel) -> ConversationScorer:
    """A scorer of each kind that packs its rows, and one that pads its batches."""
    kind, _, batching = request.param.partition("-")
    return make(tiny_model, kind, batching)


@pytest.fixture
def classifier(tiny_model: TinyModel) -> ConversationScorer:
    return make(tiny_model, "classifier")


def make(tiny_model: TinyModel, kind: str, batching: str = "", **options: Any) -> ConversationScorer:
    if kind == "implicit":
        options = {"reference": tiny_model("mistral-lm"), "kind": "implicit"} | options
    folder = tiny_model("llama-lm" if kind == "implicit" else "llama")
    scorer: ConversationScorer = load_copy(folder, **options)
    scorer.batching = batching or scorer.batching
    return scorer


def flat(scores: Sequence[Sequence[Score]]) -> list[float]:
    return [score.value for row in scores for score in row]


def assert_close(found: Sequence[float], wanted: Sequence[float]) -> None:
    """Within 1e-5 of the scores' size, which for a difference of sums is a few units."""
    size = max(map(abs, wanted))
    assert found == pytest.approx(wanted, abs=CLOSE * size, rel=0)


def until_it_fails(scorer: ConversationScorer, batches: Sequence[Batch]) -> tuple[list[list[Score]], BaseException]:
    """The scores that a stream yields before it raises, and what it raises."""
    found = []
    try:
        for scores in scorer.stream(batches):
            found.append(scores)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return found, error
    pytest.fail("nothing was raised")


class Memory:
    """A device with room for so many tokens.

    calls: numbers of passes, each of which fails, or the next with several conversations; dead: the number of the pass
    from which on all fail; seen: how often each conversation went through the model to the end.
    """

    def __init__(
        self, scorer: ConversationScorer, room: float = math.inf, calls: Sequence[int] = (), dead: float = math.inf
    ) -> None:
        self.passes = self.failures = self.conversations = 0
        self.seen: Counter[tuple[int, ...]] = Counter()
        body = scorer.model.base_model
        real, forward, upcoming = body.forward, scorer._forward, list(calls)

        def limited(*args: Any, **options: Any) -> Any:
            self.passes += 1
            called = bool(upcoming) and self.passes >= upcoming[0] and self.conversations > 1
            if called:
                upcoming.pop(0)
            if called or self.passes >= dead or options["input_ids"].numel() > room:
                self.failures += 1
                raise torch.OutOfMemoryError(FULL)
            return real(*args, **options)

        def counted(inputs: Inputs, batching: str) -> torch.Tensor:
            self.conversations = len(inputs.sequences)
            values = forward(inputs, batching)
            self.seen.update(sequence.ids for sequence in inputs.sequences)
            return values

        body.forward = limited
        scorer._forward = counted  # type: ignore[method-assign]


def test_completion_sets_with_one_prompt_share_its_tokens(scorer: ConversationScorer) -> None:
    prompt, completions = CANDIDATES[0][:2]
    apart = [CompletionSet(prompt, (completion,)) for completion in completions]
    assert num_tokens(scorer, apart) == num_tokens(scorer, [CompletionSet(prompt, completions)])
    assert_close(flat(score_completion_sets(scorer, apart)), flat(score_completion_sets(scorer, [CANDIDATES[0]])))


def num_tokens(scorer: ConversationScorer, completion_sets: Sequence[CompletionSet]) -> int:
    return sum(batch.tokens for batch in scorer.plan(completion_sets).batches)


# ---- memory


def test_scores_stay_the_same_when_memory_runs_out_three_times(scorer: ConversationScorer) -> None:
    wanted = flat(score_completion_sets(scorer, CANDIDATES))
    memory = Memory(scorer, calls=(1, 2, 4))
    scorer.batch_tokens = 1024
    plan = scorer.plan(CANDIDATES)
    limits: list[int] = []
    halve = scorer.limit.halve

    def watched(tokens: int) -> None:
        halve(tokens)
        limits.append(scorer.limit.tokens or 0)

    scorer.limit.halve = watched  # type: ignore[method-assign]
    found = dict(
        zip(
            (cell for batch in plan.batches for cell in batch.cells),
            itertools.chain.from_iterable(scorer.stream(plan.batches)),
            strict=True,
        )
    )
    assert memory.failures == 3
    assert len(limits) == 3
    assert limits == sorted(limits, reverse=True)
    assert limits[0] <= 1024 // 2
    conversations = {encoded.ids for batch in plan.batches for encoded in batch.inputs}
    assert memory.seen == Counter(dict.fromkeys(conversations, 1))
    assert_close([found[i, j].value for i, c in enumerate(CANDIDATES) for j in range(len(c.completions))], wanted)


@pytest.mark.parametrize("room", [50, 130])
def test_a_device_of_any_size_gives_the_same_scores(scorer: ConversationScorer, room: int) -> None:
    wanted = flat(score_completion_sets(scorer, CANDIDATES))
    longest = max(len(e.ids) for each in CANDIDATES for e in scorer.encode(each))
    memory = Memory(scorer, room=max(room, longest))
    scorer.batch_tokens = 8192
    assert_close(flat(score_completion_sets(scorer, CANDIDATES)), wanted)
    assert memory.failures > 0
    assert set(memory.seen.values()) == {1}


def test_the_limit_is_not_lowered_further_than_needed(scorer: ConversationScorer) -> None:
    """Batches prepared before memory ran out are split as well and do not lower the limit again: at least half of
    what fits is used afterwards."""
    scorer.batch_tokens = 8192
    room = 300
    Memory(scorer, room=room)
    everything = [CompletionSet(ask(f"Question {i}?"), ("The Rhine is long. " * 4, "No.")) for i in range(40)]
    score_completion_sets(scorer, everything)
    assert scorer.limit.tokens is not None
    assert room // 2 <= scorer.limit.tokens <= 2 * room
    scorer.limit.tokens, scorer.batch_tokens = None, 1200
    list(scorer.stream(scorer.plan(everything).batches))
    assert room // 2 <= scorer.limit.tokens <= 2 * room


def test_the_limit_is_half_of_what_did_not_fit(scorer: ConversationScorer) -> None:
    Memory(scorer, calls=(1,))
    scorer.batch_tokens = 8192
    (batch,) = scorer.plan(CANDIDATES).batches
    scorer.score(batch)
    assert scorer.limit.tokens == batch.tokens // 2
    passes: list[int] = []
    scorer.model.base_model.register_forward_pre_hook(
        lambda module, args, options: passes.append(options["input_ids"].numel()), with_kwargs=True
    )
    limit = scorer.limit.tokens
    scorer.score(batch)
    assert passes
    assert max(passes) <= limit
    assert scorer.limit.tokens == limit


def test_one_conversation_that_does_not_fit_is_an_error_that_keeps_earlier_scores(scorer: ConversationScorer) -> None:
    long = CompletionSet(ask("The Rhine, the Danube, the Volga. " * 8), ("Rivers.",))
    length = len(scorer.needed_tokens(scorer.encode(long)[0]))
    scorer.batch_tokens = 60
    batches = [scorer.plan([each]).batches for each in (*CANDIDATES[:3], long, CANDIDATES[3])]
    every = [batch for some in batches for batch in some]
    before = sum(map(len, batches[:3]))
    wanted = [scorer.score(batch) for batch in every[:before]]
    Memory(scorer, room=length - 1)
    found, error = until_it_fails(scorer, every)
    assert found == wanted
    assert isinstance(error, ModelError)
    assert f"out of memory with one conversation of {length} tokens" in str(error)


def test_a_single_conversation_is_retried_once_after_emptying_the_cache(
    classifier: ConversationScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory in pieces may hold a single conversation once it is given back: its score is the same, and the limit for
    the batches that follow stays as it was; where it does not, there is one more try and no third."""
    (batch,) = classifier.plan([CompletionSet(ask("Name a river."), ("The Rhine.",))]).batches
    wanted = classifier.score(batch)
    emptied = 0

    def empty() -> None:
        nonlocal emptied
        emptied += 1

    monkeypatch.setattr(classifier.limit, "empty_cache", empty)
    forward = classifier.model.base_model.forward
    passes, room = 0, 2

    def limited(*args: Any, **options: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes < room:
            raise torch.OutOfMemoryError(FULL)
        return forward(*args, **options)

    classifier.model.base_model.forward = limited
    assert classifier.score(batch) == wanted
    assert (emptied, classifier.limit.tokens) == (1, None)
    emptied = passes = 0
    room = 9
    with pytest.raises(ModelError, match="out of memory with one conversation"):
        classifier.score(batch)
    assert (emptied, passes) == (1, 2)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("anything"), True),
        (torch.OutOfMemoryError(FULL), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_errors_that_count_as_out_of_memory(classifier: ConversationScorer, error: BaseException, full: bool) -> None:
    wanted = flat(score_completion_sets(classifier, CANDIDATES))
    forward, errors = classifier.model.base_model.forward, [error]

    def fail_once(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return forward(*args, **options)

    classifier.model.base_model.forward = fail_once
    classifier.batch_tokens = 8192
    if full:
        assert_close(flat(score_completion_sets(classifier, CANDIDATES)), wanted)
        assert classifier.limit.tokens is not None
    else:
        with pytest.raises(type(error)) as caught:
            score_completion_sets(classifier, CANDIDATES)
        assert caught.value is error
        assert classifier.limit.tokens is None
    assert is_out_of_memory(error) == full or isinstance(error, ValueError)


@pytest.mark.parametrize("kind", ["classifier", "implicit"])
def test_running_out_of_memory_while_loading_is_a_clear_error(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from transformers import LlamaModel

    def fail(*args: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError(FULL)

    options = {"reference": str(tiny_model("mistral-lm"))} if kind == "implicit" else {}
    folder = tiny_model("llama-lm" if kind == "implicit" else "llama")
    monkeypatch.setattr(LlamaModel, "forward", fail)
    with pytest.raises(ModelError, match="memory"):
        load_scorer(resolve(str(folder), ModelOptions(device="cpu", **options)))


# ---- a whole run


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    path = tmp_path_factory.mktemp("data") / "mine.jsonl"
    import json

    rows = [
        {"prompt": f"Question {i}? " * (i % 4 + 1), "chosen": "Yes. " * (i % 7 + 1), "rejected": "No. " * (i % 5 + 1)}
        for i in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_benchmark(str(path))


def table_of(scorer: ConversationScorer, benchmark: Benchmark, out: Path) -> np.ndarray:
    """Run the benchmark and read the scores that were written."""
    evaluate.evaluate_scorer(scorer, "test/model", benchmark, out=out)
    frame, _ = read_scores(out / f"scores/{benchmark.spec.id}/test/model.parquet")
    return frame["score"].to_numpy()


@pytest.mark.parametrize("kind", ["classifier", "implicit"])
def test_a_run_that_runs_out_of_memory_gives_the_same_table(
    tiny_model: TinyModel, benchmark: Benchmark, tmp_path: Path, kind: str
) -> None:
    scorer = make(tiny_model, kind, batch_tokens=512)
    wanted = table_of(scorer, benchmark, tmp_path / "a")
    memory = Memory(scorer, calls=(1, 2, 3))
    found = table_of(scorer, benchmark, tmp_path / "b")
    assert memory.failures == 3
    assert set(memory.seen.values()) == {1}
    assert np.isfinite(wanted).all()
    assert_close(found.tolist(), wanted.tolist())
    assert not list(tmp_path.rglob("*.journal*"))


@pytest.mark.parametrize("kind", ["classifier"])
def test_a_run_that_memory_ended_is_resumed(
    tiny_model: TinyModel, benchmark: Benchmark, tmp_path: Path, kind: str
) -> None:
    scorer = make(tiny_model, kind, batch_tokens=100)
    wanted = table_of(scorer, benchmark, tmp_path / "a")
    Memory(again := make(tiny_model, kind, batch_tokens=100), dead=7)
    with pytest.raises(ModelError, match="out of memory with one conversation"):
        table_of(again, benchmark, tmp_path / "b")
    (journal,) = tmp_path.rglob("*.journal")
    done = len(journal.read_text().splitlines()) - 1
    assert done > 0
    memory = Memory(scorer)
    total = len(scorer.plan([evaluate.blind(example, 0)[0] for example in benchmark.examples]).batches)
    found = table_of(scorer, benchmark, tmp_path / "b")
    assert memory.passes == total - done
    assert np.array_equal(found, wanted)


# ---- one batch after another


def test_a_stream_gives_the_scores_of_each_batch(scorer: ConversationScorer) -> None:
    scorer.batch_tokens = 128
    batches = scorer.plan(CANDIDATES).batches
    assert len(batches) > 3
    alone = [scorer.score(batch) for batch in batches]
    assert list(scorer.stream(batches)) == list(scorer.stream(iter(batches))) == alone
    assert list(scorer.stream([])) == []


class Elsewhere:
    """A device that is said to work by itself; the numbers stay where they are."""

    type = "elsewhere"


@pytest.fixture
def elsewhere(classifier: ConversationScorer) -> ConversationScorer:
    """A scorer that takes a batch's scores in while the next batch is under way, as on a GPU."""
    classifier.device = Elsewhere()  # type: ignore[assignment]
    classifier._tensor = lambda numbers: torch.tensor(numbers, dtype=torch.int64)  # type: ignore[method-assign]
    return classifier


def test_scores_are_fetched_while_the_next_batch_runs(
    elsewhere: ConversationScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.batch_tokens = 128
    batches = elsewhere.plan(CANDIDATES).batches
    alone = [elsewhere.score(batch) for batch in batches]
    events: list[tuple[str, Batch]] = []
    launch, collect = elsewhere._launch, elsewhere._collect

    def launched(prepared: Any) -> InFlight:
        events.append(("launch", prepared.batch))
        return launch(prepared)

    def collected(running: InFlight) -> list[Score]:
        events.append(("collect", running.prepared.batch))
        return collect(running)

    monkeypatch.setattr(elsewhere, "_launch", launched)
    monkeypatch.setattr(elsewhere, "_collect", collected)
    assert list(elsewhere.stream(batches)) == alone
    wanted = [("launch", batches[0])]
    for before, after in itertools.pairwise(batches):
        wanted += [("launch", after), ("collect", before)]
    assert events == [*wanted, ("collect", batches[-1])]


@pytest.mark.parametrize("step", ["_prepare", "_launch"])
@pytest.mark.parametrize("device", ["cpu", "elsewhere"])
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_failing_batch_does_not_lose_earlier_scores(
    classifier: ConversationScorer,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    step: str,
    device: str,
    error: BaseException,
) -> None:
    if device == "elsewhere":
        request.getfixturevalue("elsewhere")
    classifier.batch_tokens = 128
    batches = classifier.plan(CANDIDATES).batches
    alone = [classifier.score(batch) for batch in batches]
    real = getattr(classifier, step)

    def fail(at: Any) -> Any:
        if (at if step == "_prepare" else at.batch) == batches[2]:
            raise error
        return real(at)

    monkeypatch.setattr(classifier, step, fail)
    found, raised = until_it_fails(classifier, batches)
    assert raised is error
    assert found == alone[:2]


def test_a_stream_can_be_closed_early(elsewhere: ConversationScorer) -> None:
    elsewhere.batch_tokens = 128
    batches = elsewhere.plan(CANDIDATES).batches
    stream = elsewhere.stream(batches)
    assert isinstance(stream, Iterator)
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert first == elsewhere.score(batches[0])


def test_a_journal_keeps_the_batches_before_a_failure(
    classifier: ConversationScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from rb_core.evaluation.distributed import SINGLE_PROCESS

    classifier.batch_tokens = 128
    plan = classifier.plan(CANDIDATES)
    launch = classifier._launch

    def fail(prepared: Any) -> Any:
        if prepared.batch == plan.batches[2]:
            raise RuntimeError("broken")
        return launch(prepared)

    monkeypatch.setattr(classifier, "_launch", fail)
    with pytest.raises(RuntimeError, match="broken"), Journal(tmp_path / "x.parquet", {"a": 1}) as journal:
        score.score_missing(classifier, plan, journal, SINGLE_PROCESS)
    with Journal(tmp_path / "x.parquet", {"a": 1}) as journal:
        assert sorted(journal.done) == [0, 1]
        for index, entry in journal.done.items():
            assert list(entry.scores) == [pytest.approx(score) for score in classifier.score(plan.batches[index])]


# ---- no score moves


def test_the_token_budget_changes_no_score(scorer: ConversationScorer) -> None:
    found = []
    for scorer.batch_tokens in (1, 64, 512, 8192):
        found.append(flat(score_completion_sets(scorer, CANDIDATES)))
    for other in found[1:]:
        assert_close(other, found[0])


def test_the_memory_limit_changes_no_score(scorer: ConversationScorer) -> None:
    scorer.batch_tokens = 8192
    wanted = flat(score_completion_sets(scorer, CANDIDATES))
    for scorer.limit.tokens in (1, 30, 64, 200):
        assert_close(flat(score_completion_sets(scorer, CANDIDATES)), wanted)


def test_equal_conversations_go_through_the_model_once(classifier: ConversationScorer) -> None:
    twice = [
        CompletionSet(ask("Which?"), ("This one.", "That one.", "This one.")),
        CompletionSet(ask("Which?"), ("This one.",)),
    ]
    memory = Memory(classifier)
    scores = score_completion_sets(classifier, twice)
    assert set(memory.seen.values()) == {1}
    assert len({scores[0][0].value, scores[0][2].value, scores[1][0].value}) == 1
    assert scores[0][1] != scores[0][0]


def test_the_tokens_of_a_batch_are_those_that_go_through_the_model(scorer: ConversationScorer) -> None:
    scorer.batch_tokens = 200
    passes: list[int] = []
    scorer.model.base_model.register_forward_pre_hook(
        lambda module, args, options: passes.append(options["input_ids"].numel()), with_kwargs=True
    )
    for batch in scorer.plan(CANDIDATES).batches:
        passes.clear()
        scorer.score(batch)
        assert passes == [batch.tokens]


def test_unscorable_completions_need_no_forward_pass(classifier: ConversationScorer) -> None:
    import dataclasses

    classifier.chat = dataclasses.replace(classifier.chat, max_length=8)
    plan = classifier.plan(CANDIDATES[1:3])
    memory = Memory(classifier)
    scores = [score for batch in plan.batches for score in classifier.score(batch)]
    assert memory.passes == 0
    assert plan.batches[-1].tokens == 0
    assert all(score.reason and math.isnan(score.value) for score in scores)
    assert {cell for batch in plan.batches for cell in batch.cells} == {
        Cell(0, 0),
        Cell(0, 1),
        *(Cell(1, j) for j in range(3)),
    }


def test_prefetched_input_is_not_used_for_another_chat_format(tiny_model: TinyModel) -> None:
    import dataclasses

    made = ClassifierScorer.load(resolve(str(tiny_model("llama")), ModelOptions(device="cpu")), CANDIDATES)
    assert made.plan(CANDIDATES) == make(tiny_model, "classifier").plan(CANDIDATES)
    template = "{% for turn in messages %}{{ turn['content'] + '<|eot_id|>' }}{% endfor %}"
    other = dataclasses.replace(made, chat=dataclasses.replace(made.chat, template=template))
    fresh = make(tiny_model, "classifier", chat_template=template)
    assert other.plan(CANDIDATES) == fresh.plan(CANDIDATES)


# ---- how much at once


def fake_model(**sizes: Any) -> Any:
    config = SimpleNamespace(**({"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 1024} | sizes))
    config.get_text_config = lambda: config
    return SimpleNamespace(config=config, dtype=torch.float32)


def test_the_budget_grows_with_free_memory_by_powers_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = []
    for free in [0, 1, *(1 << n for n in range(10, 45)), *(3 << n for n in range(10, 40))]:
        monkeypatch.setattr(
            loading.psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free, total=1 << 45)
        )
        budget = batch_budget([fake_model()], torch.device("cpu"))
        assert budget.bit_count() == 1
        assert MIN_BATCH_TOKENS <= budget <= MAX_BATCH_TOKENS["cpu"]
        budgets.append((free, budget))
    ordered = [budget for _, budget in sorted(budgets)]
    assert ordered == sorted(ordered)
    assert {ordered[0], ordered[-1]} == {MIN_BATCH_TOKENS, MAX_BATCH_TOKENS["cpu"]}


def test_the_budget_is_that_of_the_largest_model(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = fake_model(), fake_model(hidden_size=16384, intermediate_size=65536)
    monkeypatch.setattr(loading.psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 32, total=1 << 45))
    device = torch.device("cpu")
    assert batch_budget([large], device) < batch_budget([small], device)
    assert batch_budget([small, large], device) == batch_budget([large, small], device) == batch_budget([large], device)


@pytest.mark.parametrize("name", ["gpt2", "deberta", "jamba"])
def test_models_with_other_config_fields_have_a_budget(tiny_model: TinyModel, name: str) -> None:
    made = load_copy(tiny_model(name), chat_template=DECLARED.get(name))
    assert made.batch_tokens.bit_count() == 1
    said: Any = load_scorer(
        resolve(str(tiny_model(name)), ModelOptions(device="cpu", chat_template=DECLARED.get(name), batch_tokens=77))
    )
    assert said.batch_tokens == 77


@pytest.mark.parametrize(("name", "reference"), [("llama", None), ("llama-lm", "mistral-lm")])
def test_a_model_spread_over_devices_gives_the_same_scores(
    tiny_model: TinyModel, name: str, reference: str | None
) -> None:
    completion_sets = [CompletionSet(({"role": "user", "content": "Hi"},), ("Hello.", "?"))]
    options = ModelOptions(reference=str(tiny_model(reference)) if reference else None)
    plain = load_scorer(resolve(str(tiny_model(name)), options))
    spread: Any = load_scorer(resolve(str(tiny_model(name)), replace(options, device_map="auto")))
    scores, expected = (score_completion_sets(scorer, completion_sets)[0] for scorer in (spread, plain))
    assert [score.value for score in scores] == pytest.approx([score.value for score in expected], rel=1e-4)
    assert spread.device == spread.model.get_input_embeddings().weight.device
