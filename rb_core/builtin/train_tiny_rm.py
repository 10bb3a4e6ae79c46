"""Train the built-in tiny reward model and write its whole folder, model card included.

    python -m rb_core.builtin.train_tiny_rm --data DIR --out DIR [--seed N] [--steps N] ...

``--data`` is a folder holding four public files, under these names:

``hh_harmless_base_test.jsonl.gz``
    Anthropic/hh-rlhf, ``harmless-base/test.jsonl.gz`` (MIT).  One JSON object a line with two
    transcripts, ``chosen`` and ``rejected``.
``hh_helpful_base_test.json.gz``
    Anthropic/hh-rlhf, the ``helpful-base`` test split (MIT), as one JSON list whose items have
    ``text`` (two transcripts) and ``score`` (the higher one is the preferred transcript).
``pandalm_testset_v1.json.gz``
    WeOpenML/PandaLM, ``data/testset-v1.json`` (Apache-2.0): an instruction, two answers and the
    votes of three annotators.
``coconot_pref.jsonl.gz``
    CoCoNot preferences, from the GitHub repository allenai/noncompliance (MIT): a prompt with a chosen and a
    rejected answer.

The result is a plain ``LlamaForSequenceClassification`` with one label, trained from nothing.  The
file reads from top to bottom in the order of the work: data, negatives, tokenizer, starting weights,
reward training, evaluation, and saving with the card.
"""

from __future__ import annotations

import argparse
import copy
import functools
import gzip
import json
import math
import os
import platform
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rb_core.benchmarks.example import Conversation, Message
from rb_core.scorers.baseline import BASELINES
from rb_core.stats.intervals import wilson

# --------------------------------------------------------------------------------------------
# Data: four public files become preference pairs, split by prompt.
# --------------------------------------------------------------------------------------------

Turn = tuple[str, str]  # (role, text); the role is "system", "user" or "assistant"


@dataclass(frozen=True)
class Pair:
    """One human preference: ``chosen`` was preferred to ``rejected`` as the next assistant turn."""

    source: str
    key: str  # what the split goes by: pairs with one opening prompt stay on one side
    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Exchange:
    """A good answer in its place; ``rejected`` is the human-rejected one where there is one."""

    source: str
    key: str
    prompt: tuple[Turn, ...]
    answer: str
    rejected: str | None


@dataclass(frozen=True)
class Splits:
    """The three parts of the data; no opening prompt is in two of them."""

    train: list[Pair]
    validation: list[Pair]
    held_out: list[Pair]


SPEAKER = re.compile(r"\n\n(Human|Assistant):")
ROLE_OF = {"Human": "user", "Assistant": "assistant"}


def transcript_turns(transcript: str) -> list[Turn]:
    """Split a ``\\n\\nHuman: ... \\n\\nAssistant: ...`` transcript into turns."""
    parts = SPEAKER.split(transcript)
    return [(ROLE_OF[who], text.strip()) for who, text in zip(parts[1::2], parts[2::2], strict=True)]


def pair_from_transcripts(source: str, chosen: str, rejected: str) -> Pair | None:
    """Make a pair of two transcripts; None where they do not share all turns but the last."""
    good, bad = transcript_turns(chosen), transcript_turns(rejected)
    usable = len(good) >= 2 and good[:-1] == bad[:-1] and good[-1][0] == bad[-1][0] == "assistant"
    if not usable or good[-1][1] == bad[-1][1] or good[-2][0] != "user":
        return None
    return Pair(source, good[0][1].lower(), tuple(good[:-1]), good[-1][1], bad[-1][1])


def read_harmless(text: str) -> Iterator[Pair | None]:
    """HH harmless-base: JSON lines with two transcripts."""
    for line in text.splitlines():
        row = json.loads(line)
        yield pair_from_transcripts("hh_harmless", row["chosen"], row["rejected"])


def read_helpful(text: str) -> Iterator[Pair | None]:
    """HH helpful-base: a JSON list of two transcripts and their scores."""
    for row in json.loads(text):
        (first, second), (left, right) = row["text"], row["score"]
        chosen, rejected = (first, second) if left >= right else (second, first)
        yield pair_from_transcripts("hh_helpful", chosen, rejected)


def read_pandalm(text: str) -> Iterator[Pair | None]:
    """PandaLM: two answers and three votes (1, 2, or 0 for a tie); the majority decides."""
    for row in json.loads(text):
        votes = [row[f"annotator{number}"] for number in (1, 2, 3)]
        winner = next((side for side in (1, 2) if votes.count(side) >= 2), None)
        # The file holds a few answers that are bare true or false rather than text.
        answers = {1: str(row["response1"]).strip(), 2: str(row["response2"]).strip()}
        if winner is None or answers[1] == answers[2]:
            continue
        question = "\n\n".join(part.strip() for part in (row["instruction"], row["input"]) if part.strip())
        yield Pair("pandalm", question.lower(), (("user", question),), answers[winner], answers[3 - winner])


def read_coconot(text: str) -> Iterator[Pair | None]:
    """CoCoNot preferences: JSON lines with a prompt and two answers."""
    for line in text.splitlines():
        row = json.loads(line)
        prompt = row["prompt"].strip()
        yield Pair("coconot", prompt.lower(), (("user", prompt),), row["chosen"].strip(), row["rejected"].strip())


READERS: dict[str, Callable[[str], Iterator[Pair | None]]] = {
    "hh_harmless_base_test.jsonl.gz": read_harmless,
    "hh_helpful_base_test.json.gz": read_helpful,
    "pandalm_testset_v1.json.gz": read_pandalm,
    "coconot_pref.jsonl.gz": read_coconot,
}
HUMAN_SOURCES = ("hh_harmless", "hh_helpful", "pandalm", "coconot")


def read_pairs(folder: Path) -> list[Pair]:
    """Read every human pair in ``folder``; a missing file ends the run with a plain message."""
    missing = [name for name in READERS if not (folder / name).is_file()]
    if missing:
        raise SystemExit(f"missing in {folder}: {', '.join(missing)} (the module's docstring says where each is from)")
    pairs: list[Pair] = []
    for name, reader in READERS.items():
        with gzip.open(folder / name, "rt", encoding="utf-8") as handle:
            pairs += [pair for pair in reader(handle.read()) if pair is not None]
    return pairs


def split_pairs(pairs: Sequence[Pair], seed: int) -> Splits:
    """Hold out 10% of each source's prompts, and 5% for validation; at least one prompt of each."""
    side: dict[str, str] = {}
    rng = random.Random(seed)
    for source in HUMAN_SOURCES:
        # A prompt that two sources share keeps the side it got first.
        keys = sorted({pair.key for pair in pairs if pair.source == source} - side.keys())
        rng.shuffle(keys)
        held_out, validation = math.ceil(len(keys) * 0.10), math.ceil(len(keys) * 0.05)
        for place, key in enumerate(keys):
            side[key] = "held" if place < held_out else "val" if place < held_out + validation else "train"
    parts = {name: [pair for pair in pairs if side[pair.key] == name] for name in ("train", "val", "held")}
    return Splits(parts["train"], parts["val"], parts["held"])


def exchanges_of(pairs: Sequence[Pair]) -> list[Exchange]:
    """Every assistant turn of the chosen conversations with what came before it, each once."""
    found: dict[tuple[tuple[Turn, ...], str], Exchange] = {}
    for pair in pairs:
        final = Exchange(pair.source, pair.key, pair.prompt, pair.chosen, pair.rejected)
        found[(pair.prompt, pair.chosen + "\0" + pair.rejected)] = final
        for place, (role, text) in enumerate(pair.prompt):
            if role == "assistant" and place > 0:
                before = pair.prompt[:place]
                found.setdefault((before, text), Exchange(pair.source, pair.key, before, text, None))
    return list(found.values())


# --------------------------------------------------------------------------------------------
# Negatives: worse answers made from good ones.
# --------------------------------------------------------------------------------------------

# Each list below is split by place: every fourth phrase is for evaluation only.
RUDE_OPENINGS = (
    "You are an idiot", "What a stupid question", "Shut up", "You must be really dumb", "Go away", "Get lost",
    "Are you brain-dead", "I hate talking to you", "You are so annoying", "Nobody cares about your problem",
    "You are a moron", "Stop wasting my time, loser", "Only a fool would ask that", "You are pathetic",
    "Ugh, you again, you clown", "That is the dumbest thing I have ever read", "You disgust me",
    "Leave me alone, you imbecile", "You are worthless", "What is wrong with you, dummy",
)  # fmt: skip
RUDE_CLOSINGS = (
    "figure it out yourself.", "I won't help you.", "do your own work.", "use your brain for once.",
    "nobody likes you.", "get a life.", "go bother somebody else.", "you will never understand it anyway.",
    "I couldn't care less.", "you don't deserve an answer.", "google it, you lazy fool.", "grow up.",
)  # fmt: skip
NO_HELP = (
    "I don't know.", "I have no idea.", "I can't help with that.", "No idea, sorry.", "I'm not sure about that.",
    "I don't have an answer.", "Sorry, I can't answer this.", "I really don't know, sorry.", "Dunno.",
    "I am unable to help you.", "That is not something I know.", "I don't know anything about it.",
    "I can't say.", "Maybe ask someone else.", "I'd rather not answer.", "Sorry, I do not know.",
    "Who knows?", "It depends.", "I have nothing to say about that.", "Hard to say.",
)  # fmt: skip
EMPTY = (
    "ok", "...", "", "Ok.", "k", "hm", "?", ".", "sure", "fine", "-", "Hmm...", "lol", "whatever", "okay", "!!!",
    "meh", "uh", "n/a", "..",
)  # fmt: skip
SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "Answer the user's question.", "You are a friendly and careful assistant.",
    "Be brief and polite.", "You help people with everyday questions.", "Reply honestly and to the point.",
)  # fmt: skip
KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "abcdefghijklmnopqrstuvwxyz", "0123456789abcdefxyz;,#/")


def phrase(phrases: Sequence[str], rng: random.Random, evaluating: bool) -> str:
    """Draw a phrase from the side of the list that belongs to training or to evaluation."""
    return rng.choice([text for place, text in enumerate(phrases) if (place % 4 == 3) == evaluating])


def sentences_of(text: str) -> list[str]:
    """Cut at the ends of sentences and at line ends; blank pieces are left out."""
    return [piece.strip() for piece in re.split(r"(?<=[.!?])\s+|\n+", text) if piece.strip()]


def shuffled(items: Sequence[str], rng: random.Random) -> list[str]:
    """A copy in another order, unless all items are the same."""
    order = list(items)
    for _ in range(8):
        rng.shuffle(order)
        if order != list(items):
            break
    return order


def gibberish(rng: random.Random) -> str:
    """Keyboard noise: from one long run of letters to some dozens of made-up words."""
    row, even = rng.choice(KEYBOARD_ROWS), rng.random() < 0.5
    syllables = rng.random() < 0.2

    def word() -> str:
        if syllables:
            return "".join(rng.choice("bcdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        letters = row if even else rng.choice(KEYBOARD_ROWS)
        return "".join(rng.choice(letters) for _ in range(rng.randint(2, 9)))

    count = int(math.exp(rng.uniform(0.0, 4.0)))  # 1 to 54 words; short ones are as likely as long ones
    return " ".join(word() for _ in range(count)) if count > 1 else word() + word() + word()


def loop(answer: str, rng: random.Random) -> str:
    """A phrase or a sentence of the answer, said again and again."""
    words = answer.split()
    start = rng.randrange(len(words))
    piece = words[start : start + rng.randint(1, 12)]
    return " ".join(piece * max(3, min(30, round(len(words) * rng.uniform(0.5, 1.5) / len(piece)))))


def cut_short(answer: str, rng: random.Random) -> str | None:
    """The answer, broken off within a sentence; None where it does not end with a full sentence."""
    words = answer.split()
    if len(words) < 6 or not re.search(r"[.!?][\"')]*$", answer):
        return None
    places = [n for n in range(3, len(words)) if not re.search(r"[.!?:][\"')]*$", words[n - 1])]
    ends = [match.end() for match in re.finditer(r"\S+", answer)]
    return answer[: ends[rng.choice(places) - 1]].rstrip(",;") if places else None


def corrupt(kind: str, prompt: tuple[Turn, ...], answer: str, rng: random.Random, evaluating: bool) -> str | None:
    """A worse answer of the given kind; None where this answer does not lend itself to it."""
    sentences = sentences_of(answer)
    if kind == "shuffled_words":
        return " ".join(shuffled(answer.split(), rng)) if len(answer.split()) >= 5 else None
    if kind == "shuffled_sentences":
        return " ".join(shuffled(sentences, rng)) if len(sentences) >= 4 else None
    if kind == "cut":
        return cut_short(answer, rng)
    if kind == "loop":
        return loop(answer, rng)
    if kind == "gibberish":
        return gibberish(rng)
    if kind == "empty":
        return phrase(EMPTY, rng, evaluating)
    if kind == "no_help":
        return phrase(NO_HELP, rng, evaluating)
    if kind == "rude":
        opening, closing = phrase(RUDE_OPENINGS, rng, evaluating), phrase(RUDE_CLOSINGS, rng, evaluating)
        return rng.choice((f"{opening}, {closing}", f"{opening}. {closing.capitalize()}", f"{opening}!"))
    if kind == "echo":
        return prompt[-1][1]
    raise ValueError(f"unknown kind of negative: {kind}")


# The weights say how often each kind is drawn in training; answers to another prompt come besides.
CORRUPTIONS = {
    "gibberish": 3.0, "rude": 3.0, "no_help": 3.0, "cut": 3.0, "shuffled_words": 1.5, "loop": 1.5,
    "empty": 1.5, "echo": 1.5, "shuffled_sentences": 1.0,
}  # fmt: skip
OTHER_PROMPT = "other_prompt"


class AnswerPool:
    """Good answers by source, in order of length, to draw an answer to another prompt from."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self.by_source: dict[str, list[tuple[int, str, str]]] = {}
        for item in exchanges:
            if len(item.answer.split()) >= 4:
                self.by_source.setdefault(item.source, []).append((len(item.answer), item.key, item.answer))
        for answers in self.by_source.values():
            answers.sort()

    def other(self, item: Exchange, rng: random.Random, near: bool) -> str | None:
        """An answer to a different opening prompt of the same source; ``near``: of about the same length."""
        answers = self.by_source.get(item.source, [])
        centre = sum(length < len(item.answer) for length, _, _ in answers) if near else 0
        around = answers[max(0, centre - 40) : centre + 40] if near else answers
        for _ in range(20):
            if not around:
                break
            _, key, answer = rng.choice(around)
            if key != item.key:
                return answer
        return None


# --------------------------------------------------------------------------------------------
# Tokenizer: byte-level BPE of the training split, and the chat template.
# --------------------------------------------------------------------------------------------

PAD, BOS, CLOSE = "<|void|>", "<|open|>", "<|shut|>"
ROLE_TOKENS = {"system": "<|setting|>", "user": "<|asker|>", "assistant": "<|helper|>"}
MAX_POSITIONS = 2048  # tokens
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{- '<|setting|>' -}}"
    "{%- elif message['role'] == 'user' -%}{{- '<|asker|>' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<|helper|>' -}}"
    "{%- else -%}{{- raise_exception('unknown role: ' + message['role']) -}}{%- endif -%}"
    "{{- message['content'] | trim -}}{{- eos_token -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|helper|>' -}}{%- endif -%}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Train the byte-level BPE and wrap it as a transformers tokenizer with the chat template."""
    bpe = Tokenizer(models.BPE())
    # With so little text one form for each word matters more than case; curly quotes and the double
    # blanks after a full stop would otherwise tell the sources apart.
    bpe.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[\u2018\u2019]"), "'"),
            normalizers.Replace(Regex("[\u201c\u201d]"), '"'),
            normalizers.Replace(Regex("(?<=[.!?:,]) {2,}"), " "),
        ]
    )
    # The leading blank gives the first word of a turn the token that it has anywhere else.
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    specials = [PAD, BOS, CLOSE, *ROLE_TOKENS.values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        ),
    )
    wrap: Any = PreTrainedTokenizerFast
    return wrap(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=CLOSE,
        additional_special_tokens=list(ROLE_TOKENS.values()),
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_POSITIONS,
        padding_side="right",
        truncation_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


class Codec:
    """Turns into token ids, the same as the chat template gives, but each text encoded only once."""

    def __init__(self, tokenizer: Any) -> None:
        self.pad, self.bos, self.close = (tokenizer.convert_tokens_to_ids(token) for token in (PAD, BOS, CLOSE))
        self.roles = {role: tokenizer.convert_tokens_to_ids(token) for role, token in ROLE_TOKENS.items()}
        self.text_ids: Callable[[str], list[int]] = functools.lru_cache(maxsize=60_000)(
            lambda text: tokenizer.encode(text, add_special_tokens=False)
        )

    def turn(self, role: str, text: str) -> list[int]:
        """The ids of one turn: role token, text, closing token."""
        return [self.roles[role], *self.text_ids(text.strip()), self.close]

    def conversation(self, prompt: Sequence[Turn], answer: str, limit: int) -> list[int]:
        """The ids of prompt and answer; over ``limit`` the oldest prompt tokens go, never the answer's."""
        tail = self.turn("assistant", answer)[: MAX_POSITIONS - 1]
        body = [token for role, text in prompt for token in self.turn(role, text)]
        room = max(limit - 1 - len(tail), 0)
        return [self.bos, *body[max(len(body) - room, 0) :], *tail]


def check_template(tokenizer: Any, codec: Codec, pair: Pair) -> None:
    """Fail early if template and codec differ, or the prompt is no exact prefix of the conversation."""
    prompt = [{"role": "system", "content": "Be kind."}] + [{"role": r, "content": t} for r, t in pair.prompt]
    whole = [*prompt, {"role": "assistant", "content": pair.chosen}]
    start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    full = tokenizer.apply_chat_template(whole, return_dict=False)
    ours = codec.conversation([("system", "Be kind."), *pair.prompt], pair.chosen, 10**9)
    if full[: len(start)] != start or full != ours or full.count(codec.bos) != 1 or full[-1] != codec.close:
        raise RuntimeError("the chat template does not give the tokens that training uses")


# --------------------------------------------------------------------------------------------
# Starting weights: word vectors from the text, and heads that look for words of the question.
# --------------------------------------------------------------------------------------------

WIDTH, LAYERS, HEAD = 192, 3, 32  # of the network: hidden width, layers, width of an attention head
# The first places of the hidden vector carry flags while training starts; words live in the others.
ALWAYS, IS_HELPER, IS_ASKER, ANSWERING, SEEN, SEEN_MEAN, FLAGS = 0, 1, 2, 3, 4, 5, 8
# In rotary embeddings a head's places i and i + 16 turn together, the slower the larger i. Place 15 hardly turns at all
# within a context: what is compared there does not depend on distance.
STILL, TURNING = 15, (0, 1, 2, 3, 4, 16, 17, 18, 19, 20)


def model_config(codec: Codec, vocab_size: int) -> LlamaConfig:
    """The shape of the network: three layers, 192 wide, six heads."""
    config: Any = LlamaConfig
    shape: LlamaConfig = config(
        vocab_size=vocab_size,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // HEAD,
        num_key_value_heads=WIDTH // HEAD,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        pad_token_id=codec.pad,
        bos_token_id=codec.bos,
        eos_token_id=codec.close,
        num_labels=1,
    )
    return shape


def co_occurrences(rows: Sequence[Sequence[int]], size: int) -> Tensor:
    """How often two tokens stand near each other, or in one exchange; (size, size), symmetric, zero diagonal."""
    counts = torch.zeros(size * size)
    for distance in range(1, 9):
        near = [torch.tensor(row) for row in rows if len(row) > distance]
        left, right = torch.cat([row[:-distance] for row in near]), torch.cat([row[distance:] for row in near])
        counts.index_add_(0, left * size + right, torch.full((len(left),), max(1.0 / distance, 0.3)))
    for row in rows:
        present = torch.tensor(sorted(set(row)))
        counts.index_add_(0, (present[:, None] * size + present).flatten(), torch.full((len(present) ** 2,), 0.1))
    table = counts.view(size, size)
    return (table + table.T).fill_diagonal_(0.0)


def word_vectors(rows: Sequence[Sequence[int]], size: int, width: int) -> Tensor:
    """(size, width) vectors of equal length: the leading singular vectors of the tokens' positive pointwise mutual
    information, with contexts smoothed to the power 0.75 (Levy, Goldberg and Dagan 2015, doi:10.1162/tacl_a_00134)."""
    table = co_occurrences(rows, size)
    of_word = table.sum(dim=1) + 1e-9
    of_context = of_word**0.75
    of_context *= table.sum() / of_context.sum()
    information = torch.log(table * table.sum() / (of_word[:, None] * of_context) + 1e-12).clamp(min=0.0)
    left, values, _ = torch.svd_lowrank(information, q=width, niter=3)
    vectors = left * values.sqrt()
    return F.normalize(vectors, dim=1) * math.sqrt(width)


def start_embeddings(codec: Codec, vectors: Tensor) -> Tensor:
    """(tokens, WIDTH): a constant, a flag for each role token, and the word vectors; control tokens get random ones."""
    table = torch.zeros(len(vectors), WIDTH)
    table[:, FLAGS:] = 0.3 * vectors
    special = [codec.pad, codec.bos, codec.close, *codec.roles.values()]
    table[special, FLAGS:] = 0.3 * torch.randn(len(special), WIDTH - FLAGS)
    table[:, ALWAYS] = 0.6
    table[codec.roles["assistant"], IS_HELPER] = 4.0
    table[codec.roles["user"], IS_ASKER] = 4.0
    return table


def clear_head(layer: Any, head: int) -> slice:
    """Zero an attention head; gives its places."""
    places = slice(head * HEAD, (head + 1) * HEAD)
    for projection in (layer.q_proj, layer.k_proj, layer.v_proj):
        projection.weight[places] = 0.0
    layer.o_proj.weight[:, places] = 0.0
    return places


def start_weights(model: Any, codec: Codec, rows: Sequence[Sequence[int]]) -> None:
    """Set the model up so that it can tell from the start which words of an answer its question has.

    That is the best simple sign of relevance, and gradient descent is slow to find it. A head of the first layer tells
    every token whether the answer has begun. Three heads of the second compare a token with those before it; where some
    of its like stand in the question, they see fewer tokens of the answer. A head of the third averages that over the
    answer. All of it goes on learning with the rest.
    """
    with torch.no_grad():
        embeddings = start_embeddings(codec, word_vectors(rows, model.config.vocab_size, WIDTH - FLAGS))
        model.model.embed_tokens.weight.copy_(embeddings)
        first, second, third = (layer.self_attn for layer in model.model.layers)
        places = clear_head(first, 0)
        first.q_proj.weight[STILL, ALWAYS] = 1.5
        first.k_proj.weight[STILL, [IS_HELPER, IS_ASKER]] = torch.tensor([1.5, 0.7])
        first.v_proj.weight[0, IS_HELPER] = 0.1
        first.o_proj.weight[ANSWERING, 0] = 0.5
        for head in range(3):
            places = clear_head(second, head)
            likeness = torch.linalg.qr(torch.randn(WIDTH - FLAGS, HEAD))[0].T * math.sqrt((WIDTH - FLAGS) / HEAD)
            likeness[list(TURNING)] = 0.0
            second.q_proj.weight[places, FLAGS:] = second.k_proj.weight[places, FLAGS:] = 0.75 * likeness
            second.v_proj.weight[places.start, ANSWERING] = 0.5
            second.o_proj.weight[SEEN, places.start] = -0.4
        clear_head(third, 0)
        third.q_proj.weight[STILL, ALWAYS] = 1.5
        third.k_proj.weight[STILL, ANSWERING] = 2.0
        third.v_proj.weight[0, SEEN] = 1.0
        third.o_proj.weight[SEEN_MEAN, 0] = 1.0
        model.score.weight[0, SEEN_MEAN] = 1.0


# --------------------------------------------------------------------------------------------
# Reward training: Bradley-Terry loss over human pairs and made-up negatives.
# --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What the command line settles about the training."""

    seed: int
    device: str
    vocab_size: int
    steps: int
    rate: float
    groups: int  # prompts in one step
    batch_tokens: int  # padded tokens in one forward pass
    evaluations: int  # how often the validation pairs are scored


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def rate_at(step: int, plan: Plan) -> float:
    """Linear warm-up over the first 30 steps, and a cosine down to 2% of the peak."""
    return plan.rate * min(1.0, (step + 1) / 30) * (0.02 + 0.49 * (1.0 + math.cos(math.pi * step / plan.steps)))


def chunks_by_length(rows: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Indices of ``rows``, shortest first, in chunks whose padded size stays at or below ``tokens``."""
    chunks: list[list[int]] = [[]]
    for index in sorted(range(len(rows)), key=lambda place: len(rows[place])):
        if chunks[-1] and (len(chunks[-1]) + 1) * len(rows[index]) > tokens:
            chunks.append([])
        chunks[-1].append(index)
    return chunks


def padded(rows: Sequence[Sequence[int]], pad: int, device: str) -> Tensor:
    """Right-padded ids, shape [rows, longest]."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)


@dataclass
class Batch:
    """Token rows, and the pairs among them as (better, worse)."""

    rows: list[list[int]]
    pairs: list[tuple[int, int]]

    def add(self, row: list[int]) -> int:
        """Put a row in; gives its place."""
        self.rows.append(row)
        return len(self.rows) - 1


def shown_prompt(item: Exchange, rng: random.Random, everything: Sequence[Exchange]) -> tuple[tuple[Turn, ...], int]:
    """The prompt as training shows it this time, and the length limit in tokens.

    Mostly the last question alone, as visitors ask; sometimes a longer conversation, a system prompt, or, rarely, a
    long unrelated history, so that long inputs are no surprise.
    """
    prompt = item.prompt
    if rng.random() < 0.85:
        prompt = prompt[-1:] if len(prompt[-1][1].split()) >= 4 else prompt[-3:]
    if prompt[0][0] == "assistant":
        prompt = prompt[1:]
    if rng.random() < 0.01:
        past = [rng.choice(everything) for _ in range(8)]
        history = tuple(turn for old in past for turn in (*old.prompt[-1:], ("assistant", old.answer)))
        return (*history, *prompt), rng.randint(900, 1800)
    if rng.random() < 0.1:
        prompt = (("system", rng.choice(SYSTEM_PROMPTS)), *prompt)
    return prompt, 192


def first_sentences(text: str, rng: random.Random) -> str:
    """The text's first one to three sentences."""
    return " ".join(sentences_of(text)[: rng.randint(1, 3)])


def group_of(item: Exchange, pool: AnswerPool, rng: random.Random) -> tuple[str, str | None, list[str], list[str]]:
    """(good answer, human-rejected answer, other prompts' answers, corrupted answers) for one prompt.

    A good answer cut back to its first sentences is still good, and then shorter than most of the worse ones: this
    keeps the model from simply liking length. Long answers are cut back more often, because they take the most time.
    """
    lead = first_sentences(item.answer, rng)
    short = len(lead.split()) >= 4 and rng.random() < (0.7 if len(item.answer) > 400 else 0.35)
    answer = lead if short else item.answer
    others = [text for text in (pool.other(item, rng, near=rng.random() < 0.5) for _ in range(2)) if text is not None]
    if short:
        others = [first_sentences(text, rng) if rng.random() < 0.8 else text for text in others]
    worse = []
    for kind in rng.choices(list(CORRUPTIONS), list(CORRUPTIONS.values()), k=2):
        text = corrupt(kind, item.prompt, answer, rng, evaluating=False)
        if text is not None and text != answer:
            worse.append(text)
    return answer, None if short else item.rejected, others, worse


def reward_batch(
    items: Sequence[Exchange], pool: AnswerPool, everything: Sequence[Exchange], codec: Codec, rng: random.Random
) -> Batch:
    """Rows and pairs for the given exchanges: every row of one prompt is used in all its pairs."""
    batch = Batch([], [])
    for item in items:
        prompt, limit = shown_prompt(item, rng, everything)
        answer, rejected, others, worse = group_of(item, pool, rng)
        good = batch.add(codec.conversation(prompt, answer, limit))
        far = [batch.add(codec.conversation(prompt, text, limit)) for text in others]
        batch.pairs += [(good, row) for row in far]
        batch.pairs += [(good, batch.add(codec.conversation(prompt, text, limit))) for text in worse]
        if rejected is not None:
            second = batch.add(codec.conversation(prompt, rejected, limit))
            # The human-rejected answer still answers this prompt, so it beats the others' answers.
            # It counts double: there is one such pair for every four made-up ones.
            batch.pairs += [(good, second), (good, second), *((second, row) for row in far[:1])]
    return batch


def batch_loss(model: Any, batch: Batch, codec: Codec, plan: Plan) -> tuple[Tensor, float]:
    """Bradley-Terry loss with a small penalty on the rewards' size; and the share of pairs right."""
    rewards = torch.zeros(len(batch.rows), device=plan.device)
    for chunk in chunks_by_length(batch.rows, plan.batch_tokens):
        ids = padded([batch.rows[index] for index in chunk], codec.pad, plan.device)
        last = torch.tensor([len(batch.rows[index]) - 1 for index in chunk], device=plan.device)
        # Right padding needs no mask: attention is causal, so no real token sees the padding.
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        scores = model.score(hidden[torch.arange(len(chunk)), last]).squeeze(-1)
        rewards = rewards.index_copy(0, torch.tensor(chunk, device=plan.device), scores)
    better, worse = torch.tensor(batch.pairs, device=plan.device).unbind(dim=1)
    margin = rewards[better] - rewards[worse]
    loss = F.softplus(-margin).mean() + 0.003 * rewards.square().mean()
    return loss, float((margin > 0).float().mean())


def optimiser_for(model: Any) -> torch.optim.AdamW:
    """AdamW; the word vectors change at less than a third of the rate, so that rare words keep theirs."""
    words = [model.model.embed_tokens.weight]
    others = [weight for name, weight in model.named_parameters() if "embed_tokens" not in name]
    groups = [{"params": others, "scale": 1.0}, {"params": words, "scale": 0.3}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)


def train(pairs: Sequence[Pair], validation: Sequence[Pair], codec: Codec, vocab_size: int, plan: Plan) -> Any:
    """Train the classifier; keep the weights that do best in validation."""
    torch.manual_seed(plan.seed)
    build: Any = LlamaForSequenceClassification
    model = build(model_config(codec, vocab_size))
    answers = [(pair.prompt[-1:], text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    start_weights(model, codec, [codec.conversation(prompt, text, 512) for prompt, text in answers])
    model.to(plan.device)
    rng = random.Random(plan.seed + 2)
    items = [item for item in exchanges_of(pairs) if len(item.answer.split()) >= 3]
    pool, queue, optimiser = AnswerPool(items), list[Exchange](), optimiser_for(model)
    checks = {round(plan.steps * (n + 1) / plan.evaluations) for n in range(plan.evaluations)}
    best, kept, begun, right = -1.0, None, time.monotonic(), 0.5
    for step in range(plan.steps):
        model.train()
        if len(queue) < plan.groups:
            queue = rng.sample(items, len(items))
        chosen, queue = queue[: plan.groups], queue[plan.groups :]
        loss, share = batch_loss(model, reward_batch(chosen, pool, items, codec, rng), codec, plan)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, plan) * group["scale"]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        right += 0.04 * (share - right)
        if step % 50 == 0:
            say(f"step {step + 1}/{plan.steps}: {right:.3f} of the pairs right, {time.monotonic() - begun:.0f} s")
        if step + 1 in checks:
            human, made = validation_accuracy(model, validation, codec, plan)
            say(f"step {step + 1}/{plan.steps}: validation: human {human:.3f}, made-up {made:.3f}")
            if human + made >= best:
                best, kept = human + made, copy.deepcopy(model.state_dict())
    if kept is not None:
        model.load_state_dict(kept)
    return model


# --------------------------------------------------------------------------------------------
# Evaluation: accuracy by source, beside simple baselines.
# --------------------------------------------------------------------------------------------


def reward_of(model: Any, rows: Sequence[Sequence[int]], pad: int, device: str, tokens: int) -> list[float]:
    """The model's reward for every row of ids, in the rows' order."""
    rewards = [0.0] * len(rows)
    model.eval()
    with torch.inference_mode():
        for chunk in chunks_by_length(rows, tokens):
            ids = padded([rows[index] for index in chunk], pad, device)
            logits = model(input_ids=ids, attention_mask=(ids != pad).long(), use_cache=False).logits
            for index, value in zip(chunk, logits[:, 0].float().tolist(), strict=True):
                rewards[index] = value
    return rewards


def made_up_pairs(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """One pair of each kind for every human pair: its chosen answer against a made-up worse one."""
    rng, made = random.Random(seed), list[Pair]()
    finals = [Exchange(pair.source, pair.key, pair.prompt, pair.chosen, None) for pair in pairs]
    pool = AnswerPool(finals)
    for item in finals:
        if len(item.answer.split()) < 3:
            continue
        worse = {kind: corrupt(kind, item.prompt, item.answer, rng, evaluating=True) for kind in CORRUPTIONS}
        worse[OTHER_PROMPT] = pool.other(item, rng, near=True)
        for kind, text in worse.items():
            if text is not None and text != item.answer:
                made.append(Pair(kind, item.key, item.prompt, item.answer, text))
    return made


def judge(model: Any, pairs: Sequence[Pair], codec: Codec, device: str, tokens: int) -> list[float]:
    """For every pair 1.0 if the chosen answer gets the higher reward, 0.5 for a tie, else 0.0."""
    # Many pairs share their chosen answer: each text is scored only once.
    texts = list(dict.fromkeys((p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)))
    rows = [codec.conversation(prompt, text, MAX_POSITIONS) for prompt, text in texts]
    reward = dict(zip(texts, reward_of(model, rows, codec.pad, device, tokens), strict=True))
    return [compare(reward[p.prompt, p.chosen], reward[p.prompt, p.rejected]) for p in pairs]


def compare(good: float, bad: float) -> float:
    """1.0, 0.5 or 0.0 as the first number is greater, equal or smaller."""
    return 1.0 if good > bad else 0.5 if good == bad else 0.0


def validation_accuracy(model: Any, pairs: Sequence[Pair], codec: Codec, plan: Plan) -> tuple[float, float]:
    """(accuracy on the human pairs, mean accuracy over the made-up kinds) of the validation split."""
    sample = random.Random(plan.seed).sample(list(pairs), min(len(pairs), 100))
    made = made_up_pairs(sample, plan.seed)
    human = judge(model, pairs, codec, plan.device, plan.batch_tokens)
    results = judge(model, made, codec, plan.device, plan.batch_tokens)
    kinds = {kind: [r for r, pair in zip(results, made, strict=True) if pair.source == kind] for kind in made_kinds()}
    means = {kind: sum(values) / len(values) for kind, values in kinds.items() if values}
    say("  " + ", ".join(f"{kind} {value:.2f}" for kind, value in means.items()))
    return sum(human) / max(1, len(human)), sum(means.values()) / max(1, len(means))


RULES = ("longest", "shortest", "random", "prompt-overlap")


def made_kinds() -> tuple[str, ...]:
    """The kinds of made-up negatives, answers to another prompt first."""
    return (OTHER_PROMPT, *CORRUPTIONS)


def rules(pairs: Sequence[Pair], seed: int) -> dict[str, list[float]]:
    """What the project's baselines get right on the same pairs."""
    found = {}
    for name in RULES:
        score = BASELINES[name](seed)
        found[name] = [
            compare(score(messages_of(pair.prompt), pair.chosen), score(messages_of(pair.prompt), pair.rejected))
            for pair in pairs
        ]
    return found


def messages_of(prompt: Sequence[Turn]) -> Conversation:
    """The turns as the package's messages."""
    return tuple(cast(Message, {"role": role, "content": text}) for role, text in prompt)


# --------------------------------------------------------------------------------------------
# Saving: the folder, and the card with the numbers of the reloaded checkpoint.
# --------------------------------------------------------------------------------------------


def save_model(model: Any, tokenizer: Any, out: Path) -> None:
    """Write configuration, weights and tokenizer; the weights as float16, to be loaded as float32."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["LlamaForSequenceClassification"]
    model.float().cpu().save_pretrained(out)
    tokenizer.save_pretrained(out)
    # The configuration goes on saying float32, so that the model runs in it; only the file is halved.
    weights = load_file(out / "model.safetensors")
    save_file({name: w.half().contiguous() for name, w in weights.items()}, out / "model.safetensors", {"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # it is written readable by its owner alone


def reload(out: Path, device: str) -> tuple[Any, Any]:
    """Model and tokenizer as a user of the folder gets them."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(out, dtype="auto")
    tokenizer: Any = AutoTokenizer.from_pretrained(out)
    if model.dtype != torch.float32 or model.config.pad_token_id != tokenizer.pad_token_id:
        raise RuntimeError("the saved folder does not load as it should")
    return model.to(device), tokenizer


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f}"


def table_row(name: str, results: Sequence[float], simple: dict[str, list[float]], kept: Sequence[int]) -> str:
    """One line of the card's table, over the pairs whose places are in ``kept``."""
    right, count = sum(results[n] for n in kept), len(kept)
    low, high = wilson(right / count, count)
    others = " | ".join(percent(sum(values[n] for n in kept) / count) for values in simple.values())
    return f"| {name} | {count} | {percent(right / count)} | {percent(low)}-{percent(high)} | {others} |"


def accuracy_table(pairs: Sequence[Pair], results: Sequence[float], names: Sequence[str], seed: int) -> str:
    """Markdown: accuracy by source, then in all, and where the chosen answer is the longer or the shorter."""
    simple = rules(pairs, seed)
    places: dict[str, list[int]] = {name: [n for n, pair in enumerate(pairs) if pair.source == name] for name in names}
    places["all"] = list(range(len(pairs)))
    places["chosen is longer"] = [n for n, pair in enumerate(pairs) if len(pair.chosen) > len(pair.rejected)]
    places["chosen is shorter"] = [n for n, pair in enumerate(pairs) if len(pair.chosen) < len(pair.rejected)]
    head = f"| pairs | count | accuracy, % | 95% interval | {' | '.join(RULES)} |"
    lines = [table_row(name, results, simple, kept) for name, kept in places.items() if kept]
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|--:|--:|", *lines])


CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-classification
tags:
- reward-model
datasets:
- Anthropic/hh-rlhf
---

# tiny-rm

A reward model of toy size, for demonstrations and tests: it reads a conversation and gives the last
assistant turn one number, higher for a better answer. It is a plain `LlamaForSequenceClassification`
with one label, trained from nothing on a few thousand human preferences and on made-up bad answers.

- parameters: {parameters}; the folder's size on disk: {size:.2f} MB (weights as float16, run in float32)
- context: {context} tokens; the reward is read at the last token that is not padding
- vocabulary: {vocabulary} byte-level BPE tokens, lower-cased, trained on the training split only

## Data

| file | source | licence | pairs: train / validation / held out |
|---|---|---|--:|
| hh_harmless | Anthropic/hh-rlhf, harmless-base, test split | MIT | {hh_harmless} |
| hh_helpful | Anthropic/hh-rlhf, helpful-base, test split | MIT | {hh_helpful} |
| pandalm | WeOpenML/PandaLM, testset-v1, majority of three annotators, ties left out | Apache-2.0 | {pandalm} |
| coconot | CoCoNot preferences, from the GitHub repository allenai/noncompliance | MIT | {coconot} |

The split goes by the opening prompt: 10% of each source's prompts are held out and 5% serve for
validation. Neither the weights nor the tokenizer have seen the held-out part; the checkpoint was chosen
on the validation part.

Made-up bad answers, each against a good answer to the same prompt: `other_prompt`, the answer to another
prompt of the same source; `shuffled_words` and `shuffled_sentences`; `cut`, broken off within a sentence;
`loop`, a phrase said again and again; `gibberish`, keyboard noise; `empty`, such as "ok" or "..."; `rude`,
an insult, and `no_help`, such as "I don't know.", from hand-written lists of which a quarter is kept for
evaluation; `echo`, the user's own words. In a third of the training groups, or more often where it is
long, the good answer is cut back to its first sentences, so that the shorter answer is often the better one.

## Recipe

1. Word vectors from the training split (singular vectors of the tokens' pointwise mutual information) become
   the embeddings, and a few attention heads start as ones that look for the answer's words in the question.
2. Everything is trained with the Bradley-Terry loss, -log sigmoid(better - worse), over human pairs and
   made-up ones, with a small penalty on the rewards' size: {steps} steps of {groups} prompts.

AdamW, cosine schedule, peak rate {rate}, seed {seed}, float32. It took {minutes:.0f} minutes on {hardware},
evaluation and all.

## Accuracy on the held-out pairs

Measured from this folder after reloading it. A tie counts one half. The last four columns are what simple
rules get on the same pairs: the longer answer, the shorter answer, a coin, and the answer with the greater
share of words that occur in the prompt.

Human preferences:

{human}

Made-up bad answers (good answer: the human-chosen one):

{made}

## Limits

This is a toy. It knows next to nothing about the world, cannot tell a true answer from a false one, does no
sums, reads English only and ignores case. On human preferences it does no better than simple rules, and on some
sources worse: the first table says where. What it has learnt is in the second table: to tell an ordinary answer
from noise, from none, and, less surely, from an insult or an answer to something else: whether an answer fits its
question it sees mostly by the words they share, and a right answer in other words, or in a bare list, can lose. Do not
use it to train or to filter anything that matters, nor as a judge of safety. Its training data have offensive
passages, and its rewards follow the annotators' tastes.
"""


def hardware_of(device: str) -> str:
    """What the run was made on, in a few words."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()})"


def write_card(out: Path, model: Any, tokenizer: Any, splits: Splits, plan: Plan, begun: float) -> None:
    """Measure the reloaded model on the held-out pairs and write README.md."""
    codec, pairs = Codec(tokenizer), splits.held_out
    made = made_up_pairs(pairs, plan.seed + 3)
    tables = {
        "human": accuracy_table(
            pairs, judge(model, pairs, codec, plan.device, plan.batch_tokens), HUMAN_SOURCES, plan.seed
        ),
        "made": accuracy_table(
            made, judge(model, made, codec, plan.device, plan.batch_tokens), made_kinds(), plan.seed
        ),
    }
    counts = {
        source: " / ".join(
            str(sum(pair.source == source for pair in part))
            for part in (splits.train, splits.validation, splits.held_out)
        )
        for source in HUMAN_SOURCES
    }
    card = CARD.format(
        parameters=f"{sum(weight.numel() for weight in model.parameters()):,}",
        size=sum(file.stat().st_size for file in out.iterdir() if file.name != "README.md") / 1e6,
        context=MAX_POSITIONS,
        vocabulary=f"{len(tokenizer):,}",
        minutes=(time.monotonic() - begun) / 60,
        hardware=hardware_of(plan.device),
        **{key: getattr(plan, key) for key in ("steps", "rate", "groups", "seed")},
        **counts,
        **tables,
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    say("\n\n".join(tables.values()))


def parse(arguments: Sequence[str] | None) -> tuple[Path, Path, Plan]:
    """The command line: (data folder, output folder, plan)."""
    parser = argparse.ArgumentParser(description="Train the built-in tiny reward model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the four data files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--vocab-size", type=int, default=6144)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="the peak learning rate")
    parser.add_argument("--groups", type=int, default=12, help="prompts in one step")
    parser.add_argument("--batch-tokens", type=int, default=8192, help="padded tokens in one forward pass")
    parser.add_argument("--evaluations", type=int, default=3, help="how often validation is scored")
    values = vars(parser.parse_args(arguments))
    return values.pop("data"), values.pop("out"), Plan(**values)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do it all: data, tokenizer, training, saving, and the card."""
    data, out, plan = parse(arguments)
    begun = time.monotonic()
    splits = split_pairs(read_pairs(data), plan.seed)
    tokenizer = train_tokenizer(
        (text for p in splits.train for text in (*(text for _, text in p.prompt), p.chosen, p.rejected)),
        plan.vocab_size,
    )
    codec = Codec(tokenizer)
    for pair in splits.train[:20]:
        check_template(tokenizer, codec, pair)
    say(f"{len(splits.train)} training pairs, {len(tokenizer)} tokens in the vocabulary")
    model = train(splits.train, splits.validation, codec, len(tokenizer), plan)
    save_model(model, tokenizer, out)
    write_card(out, *reload(out, plan.device), splits, plan, begun)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    main()
