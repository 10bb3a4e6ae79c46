"""Training data of the built-in model: human preference pairs of four public files, and synthetic bad answers.

The folder of data has four files under these names:

`hh_harmless_base_test.jsonl.gz`
    Anthropic/hh-rlhf, `harmless-base/test.jsonl.gz` (MIT): one JSON object a line with two transcripts, `chosen` and
    `rejected`.
`hh_helpful_base_test.json.gz`
    Anthropic/hh-rlhf, the `helpful-base` test split (MIT): a JSON list of objects with `text` (two transcripts) and
    `score` (the transcript with the higher score is preferred).
`pandalm_testset_v1.json.gz`
    WeOpenML/PandaLM, `data/testset-v1.json` (Apache-2.0): an instruction, two answers and the votes of three
    annotators.
`coconot_pref.jsonl.gz`
    CoCoNot preferences, from the GitHub repository allenai/noncompliance (MIT): a prompt with a chosen and a rejected
    answer.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rb_core.benchmarks.example import Role

Turn = tuple[Role, str]


@dataclass(frozen=True)
class AnsweredPrompt:
    """A prompt with a good answer. key: the opening prompt, which decides the split."""

    source: str
    key: str
    prompt: tuple[Turn, ...]
    chosen: str


@dataclass(frozen=True)
class PreferencePair(AnsweredPrompt):
    """A prompt with a better and a worse answer. source: the data file, or the kind of a synthetic bad answer."""

    rejected: str


class Splits(NamedTuple):
    """The pairs of each split; no opening prompt is in two of them."""

    train: list[PreferencePair]
    validation: list[PreferencePair]
    held_out: list[PreferencePair]


def transcript_turns(transcript: str) -> list[Turn]:
    r"""Split a transcript of the form `\n\nHuman: ... \n\nAssistant: ...` into turns."""
    roles: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
    parts = re.split(r"\n\n(Human|Assistant):", transcript)
    return [(roles[speaker], text.strip()) for speaker, text in zip(parts[1::2], parts[2::2], strict=True)]


def pair_from_transcripts(source: str, chosen: str, rejected: str) -> PreferencePair | None:
    """Return None if the transcripts differ in more than the last turn, or not at all."""
    good, bad = transcript_turns(chosen), transcript_turns(rejected)
    usable = len(good) >= 2 and good[:-1] == bad[:-1] and good[-1][0] == bad[-1][0] == "assistant"
    if not usable or good[-1][1] == bad[-1][1] or good[-2][0] != "user":
        return None
    return PreferencePair(source, good[0][1].lower(), tuple(good[:-1]), good[-1][1], bad[-1][1])


def read_harmless(text: str) -> Iterator[PreferencePair | None]:
    for line in text.splitlines():
        row = json.loads(line)
        yield pair_from_transcripts("hh_harmless", row["chosen"], row["rejected"])


def read_helpful(text: str) -> Iterator[PreferencePair | None]:
    for row in json.loads(text):
        (first, second), (first_score, second_score) = row["text"], row["score"]
        chosen, rejected = (first, second) if first_score >= second_score else (second, first)
        yield pair_from_transcripts("hh_helpful", chosen, rejected)


def read_pandalm(text: str) -> Iterator[PreferencePair | None]:
    """Read pairs on which two of three annotators agree. A vote is 1, 2, or 0 for a tie."""
    for row in json.loads(text):
        votes = [row[f"annotator{number}"] for number in (1, 2, 3)]
        winner = next((side for side in (1, 2) if votes.count(side) >= 2), None)
        # A few answers in the file are true or false instead of text.
        answers = {1: str(row["response1"]).strip(), 2: str(row["response2"]).strip()}
        if winner is not None and answers[1] != answers[2]:
            question = "\n\n".join(part.strip() for part in (row["instruction"], row["input"]) if part.strip())
            prompt: tuple[Turn, ...] = (("user", question),)
            yield PreferencePair("pandalm", question.lower(), prompt, answers[winner], answers[3 - winner])


def read_coconot(text: str) -> Iterator[PreferencePair | None]:
    for line in text.splitlines():
        row = json.loads(line)
        prompt, chosen, rejected = (row[field].strip() for field in ("prompt", "chosen", "rejected"))
        yield PreferencePair("coconot", prompt.lower(), (("user", prompt),), chosen, rejected)


READERS: dict[str, Callable[[str], Iterator[PreferencePair | None]]] = {
    "hh_harmless_base_test.jsonl.gz": read_harmless,
    "hh_helpful_base_test.json.gz": read_helpful,
    "pandalm_testset_v1.json.gz": read_pandalm,
    "coconot_pref.jsonl.gz": read_coconot,
}
SOURCES = ("hh_harmless", "hh_helpful", "pandalm", "coconot")


def read_pairs(folder: Path) -> list[PreferencePair]:
    missing = [name for name in READERS if not (folder / name).is_file()]
    if missing:
        raise SystemExit(f"missing in {folder}: {', '.join(missing)} (the docstring of this module lists their origin)")
    pairs: list[PreferencePair] = []
    for name, reader in READERS.items():
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            pairs += [pair for pair in reader(file.read()) if pair is not None]
    return pairs


def split_pairs(pairs: Sequence[PreferencePair], seed: int) -> Splits:
    """Hold out 10% of each source's opening prompts, and use 5% for validation; at least one of each."""
    splits = Splits([], [], [])
    split_of: dict[str, list[PreferencePair]] = {}
    rng = random.Random(seed)
    for source in SOURCES:
        # A prompt of two sources keeps the split that it got first.
        keys = sorted({pair.key for pair in pairs if pair.source == source} - split_of.keys())
        rng.shuffle(keys)
        num_held_out, num_validation = math.ceil(len(keys) * 0.10), math.ceil(len(keys) * 0.05)
        for index, key in enumerate(keys):
            in_validation = index < num_held_out + num_validation
            split = splits.validation if in_validation else splits.train
            split_of[key] = splits.held_out if index < num_held_out else split
    for pair in pairs:
        split_of[pair.key].append(pair)
    return splits


def answered_prompts(pairs: Sequence[PreferencePair]) -> list[AnsweredPrompt]:
    """Return every assistant turn of the chosen conversations with the turns before it, each once."""
    items: dict[tuple[tuple[Turn, ...], str], AnsweredPrompt] = {}
    for pair in pairs:
        items[pair.prompt, f"{pair.chosen}\0{pair.rejected}"] = pair
        for index, (role, text) in enumerate(pair.prompt):
            if role == "assistant" and index > 0:
                history = pair.prompt[:index]
                items.setdefault((history, text), AnsweredPrompt(pair.source, pair.key, history, text))
    return list(items.values())


# ---- synthetic bad answers

# Every fourth phrase of a list is used for evaluation only.
PHRASES: dict[str, list[str]] = json.loads(Path(__file__).with_name("tiny_rm_phrases.json").read_text(encoding="utf-8"))
# Kind of bad answer -> how often it is drawn in training. Answers to another prompt are drawn besides.
CORRUPTIONS = {
    "gibberish": 3.0, "rude": 3.0, "no_help": 3.0, "cut": 3.0, "shuffled_words": 1.5, "loop": 1.5,
    "empty": 1.5, "echo": 1.5, "shuffled_sentences": 1.0,
}  # fmt: skip
SYNTHETIC_KINDS = ("other_prompt", *CORRUPTIONS)


def corrupt(kind: str, prompt: tuple[Turn, ...], answer: str, rng: random.Random, evaluating: bool) -> str | None:
    """Return a bad answer of the given kind, or None if this answer is not suited for it."""

    def draw(name: str) -> str:
        return rng.choice([text for index, text in enumerate(PHRASES[name]) if (index % 4 == 3) == evaluating])

    match kind:
        case "shuffled_words":
            return shuffled(answer.split(), rng) if len(answer.split()) >= 5 else None
        case "shuffled_sentences":
            sentences = split_sentences(answer)
            return shuffled(sentences, rng) if len(sentences) >= 4 else None
        case "cut":
            return cut_within_sentence(answer, rng)
        case "loop":
            return repeated_phrase(answer, rng)
        case "gibberish":
            return gibberish(rng)
        case "empty":
            return draw("empty")
        case "no_help":
            return draw("no_help")
        case "rude":
            opening, closing = draw("rude_openings"), draw("rude_closings")
            return rng.choice((f"{opening}, {closing}", f"{opening}. {closing.capitalize()}", f"{opening}!"))
        case "echo":
            return prompt[-1][1]
    raise ValueError(f"unknown kind of bad answer: {kind}")


def split_sentences(text: str) -> list[str]:
    return [piece.strip() for piece in re.split(r"(?<=[.!?])\s+|\n+", text) if piece.strip()]


def first_sentences(text: str, rng: random.Random) -> str:
    """Return the first one to three sentences."""
    return " ".join(split_sentences(text)[: rng.randint(1, 3)])


def shuffled(items: Sequence[str], rng: random.Random) -> str:
    """Join the items in another order, unless all items are equal."""
    order = list(items)
    for _ in range(8):
        rng.shuffle(order)
        if order != list(items):
            break
    return " ".join(order)


def cut_within_sentence(answer: str, rng: random.Random) -> str | None:
    """Return a beginning of the answer; None if it does not end with a full sentence."""
    words = answer.split()
    if len(words) < 6 or not re.search(r"[.!?][\"')]*$", answer):
        return None
    counts = [n for n in range(3, len(words)) if not re.search(r"[.!?:][\"')]*$", words[n - 1])]
    word_ends = [match.end() for match in re.finditer(r"\S+", answer)]
    return answer[: word_ends[rng.choice(counts) - 1]].rstrip(",;") if counts else None


def repeated_phrase(answer: str, rng: random.Random) -> str:
    words = answer.split()
    start = rng.randrange(len(words))
    piece = words[start : start + rng.randint(1, 12)]
    return " ".join(piece * max(3, min(30, round(len(words) * rng.uniform(0.5, 1.5) / len(piece)))))


def gibberish(rng: random.Random) -> str:
    """Return keyboard noise: from one long run of letters to some dozens of made-up words."""
    rows = PHRASES["keyboard_rows"]
    row, one_row = rng.choice(rows), rng.random() < 0.5
    syllables = rng.random() < 0.2

    def word() -> str:
        if syllables:
            return "".join(rng.choice("bcdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        letters = row if one_row else rng.choice(rows)
        return "".join(rng.choice(letters) for _ in range(rng.randint(2, 9)))

    count = int(math.exp(rng.uniform(0.0, 4.0)))  # 1 to 54 words; short ones are as likely as long ones
    return " ".join(word() for _ in range(count)) if count > 1 else word() + word() + word()


class AnswerPool:
    """Good answers of each source, sorted by length, to draw answers to other prompts from."""

    def __init__(self, items: Iterable[AnsweredPrompt]) -> None:
        self.by_source: dict[str, list[tuple[int, str, str]]] = {}
        for item in items:
            if len(item.chosen.split()) >= 4:
                self.by_source.setdefault(item.source, []).append((len(item.chosen), item.key, item.chosen))
        for answers in self.by_source.values():
            answers.sort()

    def draw_other(self, item: AnsweredPrompt, rng: random.Random, similar_length: bool) -> str | None:
        """Return an answer to another opening prompt of the same source."""
        answers = self.by_source.get(item.source, [])
        if similar_length:
            index = sum(length < len(item.chosen) for length, _, _ in answers)
            answers = answers[max(0, index - 40) : index + 40]
        for _ in range(20 if answers else 0):
            _, key, answer = rng.choice(answers)
            if key != item.key:
                return answer
        return None


def synthetic_pairs(pairs: Sequence[PreferencePair], seed: int) -> list[PreferencePair]:
    """Return, for every pair, its chosen answer against a synthetic bad one of each kind."""
    rng, synthetic = random.Random(seed), list[PreferencePair]()
    pool = AnswerPool(pairs)
    for pair in pairs:
        if len(pair.chosen.split()) < 3:
            continue
        bad_answers = {kind: corrupt(kind, pair.prompt, pair.chosen, rng, evaluating=True) for kind in CORRUPTIONS}
        bad_answers["other_prompt"] = pool.draw_other(pair, rng, similar_length=True)
        for kind, text in bad_answers.items():
            if text is not None and text != pair.chosen:
                synthetic.append(PreferencePair(kind, pair.key, pair.prompt, pair.chosen, text))
    return synthetic
