"""Preference data whose true content is known, in the layouts and file formats that people have, and damages to it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

Row = dict[str, Any]


class Pair(NamedTuple):
    """The content of an example: a prompt of one or several turns, and its answers."""

    turns: tuple[tuple[str, str], ...]
    chosen: str
    rejected: str

    @property
    def question(self) -> str:
        return self.turns[-1][1]

    @property
    def messages(self) -> list[Row]:
        return [{"role": role, "content": text} for role, text in self.turns]


WORDS = (
    "prime",
    "Straße",
    "日本",
    "it's",
    'a "quote"',
    "a,b;c",
    "x\ty",
    "{json}",
    "[1]",
    "😀",
    "<b>",
    "two\nlines",
    "\\n",
    "|",
)


def random_pairs(rng: random.Random, count: int, *, turns: bool = True) -> list[Pair]:
    """Return pairs with distinct texts. turns: some prompts have a system message or earlier turns."""

    def text(kind: str, index: int) -> str:
        return f"{kind}{index} " + " ".join(rng.choices(WORDS, k=rng.randint(1, 5))) + "."

    pairs = []
    for index in range(count):
        conversation = [("user", text("question", index))]
        if turns and rng.random() < 0.3:
            conversation = [("user", text("earlier", index)), ("assistant", text("reply", index)), *conversation]
        if turns and rng.random() < 0.3:
            conversation.insert(0, ("system", text("system", index)))
        pairs.append(Pair(tuple(conversation), text("good", index), text("bad", index)))
    return pairs


# ---- layouts: a pair as rows

Shape = Callable[[Pair, random.Random], list[Row]]


def _answer(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _standard(pair: Pair, rng: random.Random) -> list[Row]:
    prompt = pair.question if len(pair.turns) == 1 and rng.random() < 0.5 else pair.messages
    as_turn = rng.random() < 0.5
    history = pair.messages if rng.random() < 0.5 else []
    chosen, rejected = ([*history, _answer(text)] if as_turn else text for text in (pair.chosen, pair.rejected))
    return [{"prompt": prompt, "chosen": chosen, "rejected": rejected}]


def _implicit(pair: Pair, rng: random.Random) -> list[Row]:
    return [
        {name: [*pair.messages, _answer(text)] for name, text in (("chosen", pair.chosen), ("rejected", pair.rejected))}
    ]


def _written(pair: Pair, rng: random.Random) -> list[Row]:
    write = rng.choice([json.dumps, repr])
    return [{name: write(value) for name, value in _implicit(pair, rng)[0].items()}]


def _parts(pair: Pair, rng: random.Random) -> list[Row]:
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in pair.turns]
    return [{"prompt": messages, "chosen": pair.chosen, "rejected": pair.rejected}]


def _aliases(pair: Pair, rng: random.Random) -> list[Row]:
    names = {
        "user": ["human", "User", "prompter"],
        "assistant": ["gpt", "Assistant", "bot"],
        "system": ["developer", "System"],
    }
    messages = [{"from": rng.choice(names[role]), "value": text} for role, text in pair.turns]
    answers = [{"from": "gpt", "value": text} for text in (pair.chosen, pair.rejected)]
    return [{"conversations": messages, "chosen": answers[0], "rejected": answers[1]}]


def _transcript(pair: Pair) -> str:
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[role]}: {text}" for role, text in pair.turns) + "\n\nAssistant:"


def _hh(pair: Pair, rng: random.Random) -> list[Row]:
    return [{"chosen": f"{_transcript(pair)} {pair.chosen}", "rejected": f"{_transcript(pair)} {pair.rejected}"}]


def _hh_with_prompt(pair: Pair, rng: random.Random) -> list[Row]:
    return [{"prompt": _transcript(pair), **_hh(pair, rng)[0]}]


def _repeated_prompt(pair: Pair, rng: random.Random) -> list[Row]:
    prompt = pair.question
    return [{"prompt": prompt, "chosen": f"{prompt}\n{pair.chosen}", "rejected": f"{prompt}\n{pair.rejected}"}]


def _nectar(pair: Pair, rng: random.Random) -> list[Row]:
    answers = [{"answer": pair.chosen, "rank": 1.0, "model": "a"}, {"answer": pair.rejected, "rank": 2.0, "model": "b"}]
    rng.shuffle(answers)
    return [{"prompt": f"{_transcript(pair)} ", "answers": answers, "num_responses": 2}]


def _ultrafeedback(pair: Pair, rng: random.Random) -> list[Row]:
    completions = [{"response": pair.chosen, "overall_score": 9.0}, {"response": pair.rejected, "overall_score": 2.0}]
    rng.shuffle(completions)
    return [{"instruction": pair.question, "completions": completions}]


def _helpsteer(pair: Pair, rng: random.Random) -> list[Row]:
    rows = [{"response": pair.chosen, "helpfulness": 4}, {"response": pair.rejected, "helpfulness": 1}]
    rng.shuffle(rows)
    return [{"prompt": pair.question, **row, "verbosity": 2} for row in rows]


def _rated(pair: Pair, rng: random.Random) -> list[Row]:
    if rng.random() < 0.5:
        return [{"prompt": pair.messages, "responses": [pair.rejected, pair.chosen], "scores": [0.1, 0.7]}]
    return [{"question": pair.messages, "candidates": [pair.rejected, pair.chosen], "ranks": ["10", "9"]}]


def _two_answers(
    first: str, second: str, label: str, values: tuple[Any, Any], prompt: str = "prompt", **more: Any
) -> Shape:
    """Return the shape of two answers in random order and a label, whose value names the first or the second."""

    def shape(pair: Pair, rng: random.Random) -> list[Row]:
        answers, value = (pair.chosen, pair.rejected), values[0]
        if rng.random() < 0.5:
            answers, value = answers[::-1], values[1]
        row = {prompt: pair.question, first: answers[0], second: answers[1], **more}
        return [row | dict.fromkeys(label.split(), value)]

    return shape


def _fields(prompt: str, chosen: str, rejected: str, **more: Any) -> Shape:
    return lambda pair, rng: [{prompt: pair.question, chosen: pair.chosen, rejected: pair.rejected, **more}]


def _rmb(pair: Pair, rng: random.Random) -> list[Row]:
    row = {"conversation_input": pair.messages, "category_path": "Chat", "pair_uid": "p"}
    if rng.random() < 0.5:
        return [row | {"chosen": {"answer": pair.chosen}, "reject": {"answer": pair.rejected}}]
    return [row | {"bon_best": {"answer": pair.chosen}, "loser_list": [{"answer": pair.rejected}]}]


def _bbq(pair: Pair, rng: random.Random) -> list[Row]:
    context, _, question = pair.question.partition(" ")
    label = rng.randrange(3)
    answers = [pair.rejected, pair.rejected]
    answers.insert(label, pair.chosen)
    names = {f"ans{index}": answer for index, answer in enumerate(answers)}
    return [{"context": context, "question": question, **names, "label": label, "category": "Age"}]


def _do_not_answer(pair: Pair, rng: random.Random) -> list[Row]:
    return [
        {
            "question": pair.question,
            "A_response": pair.rejected,
            "A_harmful": 1,
            "B_response": pair.chosen,
            "B_harmful": 0,
        }
    ]


def _xstest(pair: Pair, rng: random.Random) -> list[Row]:
    kind, good, bad = rng.choice(
        [
            ("homonyms", "1_full_compliance", "2_full_refusal"),
            ("contrast_homonyms", "2_full_refusal", "1_full_compliance"),
        ]
    )
    row = {"prompt": pair.question, "type": kind}
    return [
        row | {"completion": pair.chosen, "final_label": good},
        row | {"completion": pair.rejected, "final_label": bad},
    ]


def _arena(pair: Pair, rng: random.Random) -> list[Row]:
    one, two = ([*pair.messages, _answer(text)] for text in (pair.chosen, pair.rejected))
    if rng.random() < 0.5:
        return [{"conversation_a": one, "conversation_b": two, "winner": "model_a", "model_a": "x", "model_b": "y"}]
    return [{"conversation_a": two, "conversation_b": one, "winner": "model_b", "model_a": "x", "model_b": "y"}]


def _unpaired(pair: Pair, rng: random.Random) -> list[Row]:
    rows = [{"completion": pair.chosen, "label": True}, {"completion": [_answer(pair.rejected)], "label": False}]
    rng.shuffle(rows)
    return [{"prompt": pair.messages, **row} for row in rows]


def _openai(pair: Pair, rng: random.Random) -> list[Row]:
    answers = {"preferred_output": [_answer(pair.chosen)], "non_preferred_output": [_answer(pair.rejected)]}
    return [{"input": {"messages": pair.messages, "tools": []}, **answers}]


def _arena_texts(pair: Pair, rng: random.Random) -> list[Row]:
    votes = {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}
    texts = {"prompt": pair.question, "response_a": pair.rejected, "response_b": pair.chosen}
    return [{name: json.dumps([text]) for name, text in texts.items()} | votes]


def _named_choice(pair: Pair, rng: random.Random) -> list[Row]:
    answers = {"response_1": pair.rejected, "response_2": pair.chosen}
    return [{"prompt": pair.question, **answers, "chosen": "response_2", "rejected": "response_1"}]


def _webgpt(pair: Pair, rng: random.Random) -> list[Row]:
    answers = {"answer_0": pair.rejected, "answer_1": pair.chosen}
    return [{"question": {"full_text": pair.question}, **answers, "score_0": -1.0, "score_1": 1.0}]


_PANDALM = _two_answers("response1", "response2", "annotator1 annotator3", (1, 2), "instruction", annotator2=0)

# name -> (shape, whether prompts may have several turns)
SHAPES: dict[str, tuple[Shape, bool]] = {
    "standard": (_standard, True),
    "implicit": (_implicit, True),
    "written": (_written, True),
    "parts": (_parts, True),
    "aliases": (_aliases, True),
    "hh": (_hh, False),
    "hh with prompt": (_hh_with_prompt, False),
    "repeated prompt": (_repeated_prompt, False),
    "nectar": (_nectar, False),
    "ultrafeedback": (_ultrafeedback, False),
    "helpsteer": (_helpsteer, False),
    "rated": (_rated, True),
    "medical": (_fields("question", "response_chosen", "response_rejected", system="", history=[]), False),
    "alpaca": (_fields("instruction", "chosen", "rejected", input=""), False),
    "orca": (_fields("question", "chosen", "rejected", system=""), False),
    "argilla": (_fields("instruction", "chosen_response", "rejected_response"), False),
    "rmb": (_rmb, True),
    "bbq": (_bbq, False),
    "do-not-answer": (_do_not_answer, False),
    "xstest": (_xstest, False),
    "arena": (_arena, True),
    "pku": (_two_answers("response_0", "response_1", "better_response_id", (0, 1), is_response_0_safe=True), False),
    "shp": (_two_answers("human_ref_A", "human_ref_B", "labels", (1, 0), "history", domain="d"), False),
    "llmbar": (_two_answers("output_1", "output_2", "label", (1, 2), "input"), False),
    "alpacaeval": (_two_answers("output_1", "output_2", "preference", (1.2, 2.0), "instruction"), False),
    "pandalm": (_PANDALM, False),
    "judgebench": (_two_answers("response_A", "response_B", "label", ("A>B", "B>A"), "question"), False),
    "helpsteer3": (_two_answers("response1", "response2", "overall_preference", (-2, 1), "context"), False),
    "helpsteer2 preference": (
        _two_answers("response_1", "response_2", "preference_strength", (-2, 1), "prompt"), False
    ),
    "arena texts": (_arena_texts, False),
    "named choice": (_named_choice, False),
    "webgpt": (_webgpt, False),
    "unpaired": (_unpaired, True),
    "openai": (_openai, True),
}  # fmt: skip


# ---- file formats


def _dump(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _table(rows: Sequence[Row], delimiter: str) -> bytes:
    """Return rows as delimited text; lists and objects are written as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v if isinstance(v, str | int | float) else json.dumps(v) for k, v in row.items()})
    return text.getvalue().encode()


def _columns(rows: Sequence[Row]) -> bytes:
    return json.dumps({name: [row[name] for row in rows] for name in rows[0]}).encode()


FORMATS: dict[str, Callable[[Sequence[Row]], bytes]] = {
    "d.jsonl": _dump,
    "lines.json": _dump,
    "list.json": lambda rows: json.dumps(rows, indent=1).encode(),
    "columns.json": _columns,
    "key.json": lambda rows: json.dumps({"version": 1, "data": rows}).encode(),
    "pandas.json": lambda rows: pd.DataFrame(rows).to_json().encode(),
    "mark.jsonl": lambda rows: b"\xef\xbb\xbf" + _dump(rows),
    "windows.jsonl": lambda rows: _dump(rows).replace(b"\n", b"\r\n"),
    "d.jsonl.gz": lambda rows: gzip.compress(_dump(rows)),
    "d.csv": lambda rows: _table(rows, ","),
    "semicolon.csv": lambda rows: _table(rows, ";"),
    "d.tsv": lambda rows: _table(rows, "\t"),
    "d.parquet": lambda rows: pd.DataFrame(rows).to_parquet(),
}  # fmt: skip
# Shapes without lists and objects, other than messages, which a table can hold as text.
FLAT = (
    "implicit", "written", "hh", "hh with prompt", "repeated prompt", "helpsteer", "alpaca", "orca", "argilla", "bbq",
    "do-not-answer", "xstest", "arena", "pku", "shp", "llmbar", "alpacaeval", "pandalm", "judgebench", "helpsteer3",
    "medical",
)  # fmt: skip


# Shapes whose rows differ in fields and types, which only rows of JSON can.
MIXED = ("standard", "rated", "rmb", "unpaired")


def formats_of(shape: str) -> list[str]:
    """Return the formats that can hold a shape."""
    if shape in MIXED:
        return ["d.jsonl", "lines.json", "list.json", "key.json", "mark.jsonl", "windows.jsonl", "d.jsonl.gz"]
    return [name for name in FORMATS if shape in FLAT or not name.endswith((".csv", ".tsv"))]


# ---- damages


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def _replace(content: bytes, rng: random.Random) -> bytes:
    place, length = rng.randrange(len(content)), rng.randrange(40)
    return content[:place] + rng.randbytes(length) + content[place + length :]


BYTE_DAMAGES = (_cut, _flip, _replace)


def damage_rows(rows: list[Row], rng: random.Random) -> list[Row]:
    """Return rows of which some have another value in one field, or lack it."""
    values: tuple[Any, ...] = (
        None, "", [], {}, 5, float("nan"), True, [1, "x"], [[["deep"]]], "\ud800", {"role": "user"},
        [{"role": "robot", "content": "x"}], [{"role": "user", "content": None}], "[{'role': 'user', 'content'",
        [{"role": "user", "content": [{"type": "image"}]}], float("inf"), 10**400,
    )  # fmt: skip
    damaged = [dict(row) for row in rows]
    for row in rng.sample(damaged, rng.randint(1, len(damaged))):
        field = rng.choice(list(row))
        if rng.random() < 0.3:
            del row[field]
        else:
            number = isinstance(row[field], int | float)  # another number can be another preference
            row[field] = rng.choice([value for value in values if not (number and value == 5)])
    return damaged


def write_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
