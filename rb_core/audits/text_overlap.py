"""Find a benchmark's texts in training data: whole texts, and runs of n words.

Texts are compared as words: in Unicode's form NFKC, without case, punctuation and white space; each Chinese or Japanese
character is a word. The benchmark's n-grams are kept as sorted 64-bit hashes. Training rows are streamed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rb_core.benchmarks.example import Example, message_text, messages_of
from rb_core.benchmarks.files import Rows
from rb_core.benchmarks.messages import read_turns
from rb_core.benchmarks.row_location import RowError, RowLocation
from rb_core.stats.item_outcomes import Codes, Flags

FIELDS = ("prompt", "chosen", "rejected")
NGRAM = 13
# Brown et al. 2020 (arXiv:2005.14165, appendix C) ignore 13-grams that match more than ten training documents: common
# phrases and boilerplate.
COMMON = 10
MIN_WORDS = 4  # of a whole text that is compared: not a label, a role or a name
NOT_COMPARED = -1  # in place of a hash, which is not negative
MAX_QUOTED_ROWS, MAX_PROBLEM = 5, 300  # rows; characters of each of their problems

Hashes = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_LONG_TEXT = 2**20  # characters; the words of a longer one are not held
_BATCH_WORDS = 2**18
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplication loses nothing
_FILTER_BITS = 26


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared."""
    return _WORD.findall(_normalised(text))


def _normalised(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


def hash_words(text: str) -> Hashes:
    """Return a hash of each word of a text, equal for equal words within this process."""
    if len(text) <= _LONG_TEXT:
        words = words_of(text)
        return np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    matches = _WORD.finditer(_normalised(text))
    return np.fromiter((hash(match[0]) for match in matches), np.int64).view(np.uint64)


def hash_ngrams(words: Hashes, n: int) -> Hashes:
    """Return the hash of each n consecutive words."""
    length = max(0, len(words) - n + 1)
    hashes = np.zeros(length, np.uint64)
    for offset in range(n):
        hashes = hashes * _FACTOR + words[offset : offset + length]
    return hashes


def hash_texts(words: Hashes, starts: Codes, sizes: Codes) -> Hashes:
    """Return the hash of each text, none of which is empty. starts, sizes: of the texts among the words."""
    powers = np.multiply.accumulate(np.full(int(sizes.max()), _FACTOR))
    places = np.arange(len(words)) - np.repeat(starts, sizes)
    return np.add.reduceat(words * powers[places], starts)


class Overlap(NamedTuple):
    """The overlap of an item with training data.

    exact: the training row that holds each whole text, by field; shares: of the item's n-grams in training, by field,
    the largest of several completions; text: the first whole text, else the longest run of words in common, normalised;
    row: where it is in training.
    """

    exact: Mapping[str, RowLocation]
    shares: Mapping[str, float]
    text: str = ""
    row: RowLocation | None = None

    @property
    def share(self) -> float:
        return max(self.shares.values(), default=0.0)

    def is_flagged(self, min_share: float) -> bool:
        """Return True for a whole text, and for at least this share of a text's n-grams, but not for none."""
        return bool(self.exact) or (self.share > 0 and self.share >= min_share)


@dataclass
class Scan:
    """Counts of the training data that was read. refused: the first of the rows that could not be read."""

    rows: int = 0
    num_refused: int = 0
    refused: list[str] = field(default_factory=list)

    def refuse(self, error: RowError) -> None:
        self.num_refused += 1
        if len(self.refused) < MAX_QUOTED_ROWS:
            self.refused.append(str(error)[:MAX_PROBLEM])


class ItemText(NamedTuple):
    """A text of an item. whole: its hash, if it is compared as a whole, too; ngrams: ids of its n-grams in order."""

    item: int
    field: str
    text: str
    whole: int
    ngrams: Codes


class OverlapIndex:
    """The texts of a benchmark, and where training data have them.

    num_shared: n-grams that are left out because the items of more than COMMON different prompts have them.
    """

    def __init__(self, examples: Sequence[Example], n: int = NGRAM) -> None:
        self.n = n
        self._num_items = len(examples)
        texts = [(item, *text) for item, example in enumerate(examples) for text in _texts_of(example)]
        words = [hash_words(text) for _, _, text, _ in texts]
        ngrams = [hash_ngrams(hashes, n) for hashes in words]
        self._ngrams, ids = np.unique(np.concatenate(ngrams), return_inverse=True)
        by_text = np.split(ids, np.cumsum([len(hashes) for hashes in ngrams])[:-1])
        self._filter = np.zeros(2**_FILTER_BITS, bool)
        self._filter[_filter_places(self._ngrams)] = True
        self._texts = [
            ItemText(item, name, text, _whole_hash(hashes) if is_whole else NOT_COMPARED, grams)
            for (item, name, text, is_whole), hashes, grams in zip(texts, words, by_text, strict=True)
        ]
        prompts = [hash(tuple(message["content"] for message in example.prompt)) for example in examples]
        self._shared = self._ngrams_of_many(prompts)
        self.num_shared = int(self._shared.sum())
        self._whole = self._whole_texts(prompts)
        self._found_whole: dict[int, RowLocation] = {}
        self._num_whole: dict[int, int] = defaultdict(int)
        self._num_texts = np.zeros(len(self._ngrams), np.int32)
        self._first_row = np.full(len(self._ngrams), -1, np.int32)
        self._rows: list[RowLocation] = []  # those with an n-gram
        self._seen: set[int] = set()  # texts with an n-gram

    def _ngrams_of_many(self, prompts: Sequence[int]) -> Flags:
        """Return a mask of the n-grams that the items of more than COMMON different prompts have."""
        codes = np.unique(prompts, return_inverse=True)[1]
        pairs = np.concatenate([t.ngrams * len(prompts) + codes[t.item] for t in self._texts])
        return np.bincount(np.unique(pairs) // len(prompts), minlength=len(self._ngrams)) > COMMON

    def _whole_texts(self, prompts: Sequence[int]) -> set[int]:
        """Return the hashes of the texts that are compared as a whole and that few items have."""
        prompts_by_text = defaultdict(set)
        for text in self._texts:
            if text.whole != NOT_COMPARED:
                prompts_by_text[text.whole].add(prompts[text.item])
        return {text for text, having in prompts_by_text.items() if len(having) <= COMMON}

    def scan(self, rows: Rows) -> Scan:
        """Compare the texts of training rows. Rows that cannot be read are counted and the first of them named."""
        scan = Scan()
        for batch in _batches(_row_texts(rows, scan)):
            self._match([words for words, _ in batch], [location for _, location in batch])
        return scan

    def _match(self, words_by_text: Sequence[Hashes], locations: Sequence[RowLocation]) -> None:
        words = np.concatenate(words_by_text)
        sizes = np.array([len(hashes) for hashes in words_by_text])
        ends = np.cumsum(sizes)
        whole = hash_texts(words, ends - sizes, sizes).tolist()
        for text_hash, location in zip(whole, locations, strict=True):
            if text_hash in self._whole:
                self._num_whole[text_hash] += 1
                self._found_whole.setdefault(text_hash, location)
        hashes = hash_ngrams(words, self.n)
        starts = np.flatnonzero(self._filter[_filter_places(hashes)])
        texts = np.searchsorted(ends, starts, side="right")
        inside = starts + self.n <= ends[texts]
        starts, texts = starts[inside], texts[inside]
        ids = np.searchsorted(self._ngrams, hashes[starts])
        ids[ids == len(self._ngrams)] = 0
        matching = self._ngrams[ids] == hashes[starts] if len(self._ngrams) else np.zeros(len(ids), bool)
        ids, texts = ids[matching], texts[matching]
        bounds = np.flatnonzero(np.diff(texts, prepend=-1))
        for text, text_ids in zip(texts[bounds].tolist(), np.split(ids, bounds[1:]), strict=False):
            self._note(whole[text], np.unique(text_ids), locations[text])

    def _note(self, text_hash: int, ids: Codes, location: RowLocation) -> None:
        """Take note of the n-grams of a training text; a text that was seen before counts once."""
        if text_hash in self._seen:
            return
        self._seen.add(text_hash)
        self._num_texts[ids] += 1
        self._first_row[ids[self._first_row[ids] < 0]] = len(self._rows)
        self._rows.append(location)

    @property
    def num_common(self) -> int:
        """Number of n-grams that are left out because more than COMMON different training texts have them."""
        return int(((self._num_texts > COMMON) & ~self._shared).sum())

    def overlaps(self) -> list[Overlap]:
        """Return the overlap of each item with the rows that were scanned."""
        kept = ~self._shared & (self._num_texts <= COMMON)
        matched = kept & (self._num_texts > 0)
        by_item: list[list[ItemText]] = [[] for _ in range(self._num_items)]
        for text in self._texts:
            by_item[text.item].append(text)
        return [self._overlap(texts, kept, matched) for texts in by_item]

    def _overlap(self, texts: Sequence[ItemText], kept: Flags, matched: Flags) -> Overlap:
        exact: dict[str, RowLocation] = {}
        shares: dict[str, float] = {}
        evidence, row = "", None
        longest = 0  # run of n-grams
        for text in texts:
            if text.whole in self._found_whole and not self._is_common_phrase(text, kept):
                if not exact:
                    evidence, row = " ".join(words_of(text.text)), self._found_whole[text.whole]
                exact.setdefault(text.field, self._found_whole[text.whole])
            hits = matched[text.ngrams]
            if not hits.any():
                continue
            shares[text.field] = max(shares.get(text.field, 0.0), float(hits.sum() / kept[text.ngrams].sum()))
            start, length = _longest_run(hits)
            if not exact and length > longest:
                longest = length
                evidence = " ".join(words_of(text.text)[start : start + length + self.n - 1])
                row = self._rows[self._first_row[text.ngrams[start]]]
        return Overlap(exact, shares, evidence, row)

    def _is_common_phrase(self, text: ItemText, kept: Flags) -> bool:
        """Return True for an answer, such as a refusal, all of whose n-grams are common.

        An answer of fewer words is common where more than COMMON training rows have it.
        """
        if text.field == "prompt":
            return False
        return not kept[text.ngrams].any() if len(text.ngrams) else self._num_whole[text.whole] > COMMON


def _texts_of(example: Example) -> Iterator[tuple[str, str, bool]]:
    """Yield field, text, and whether it counts as a whole: of a prompt its longest message does."""
    messages = [message for message in example.prompt if message["role"] != "system"]
    longest = max(messages or example.prompt, key=lambda message: len(message["content"]))
    for message in example.prompt:
        yield "prompt", message_text(message), message is longest
    for index, completion in enumerate(example.completions):
        for message in messages_of(completion):
            is_answer = message["role"] == "assistant"
            yield "chosen" if index < example.num_chosen else "rejected", message_text(message), is_answer


def _whole_hash(words: Hashes) -> int:
    if len(words) < MIN_WORDS:
        return NOT_COMPARED
    return int(hash_texts(words, np.zeros(1, np.int64), np.array([len(words)]))[0])


def _filter_places(hashes: Hashes) -> Hashes:
    return hashes >> np.uint64(64 - _FILTER_BITS)


def _longest_run(hits: Flags) -> tuple[int, int]:
    """Return start and length of the longest run of True; there is at least one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hits, [False]])))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    best = int(np.argmax(lengths))
    return int(starts[best]), int(lengths[best])


def _row_texts(rows: Rows, scan: Scan) -> Iterator[tuple[Hashes, RowLocation]]:
    """Yield the words of each text of at least MIN_WORDS."""
    for row, location in rows:
        scan.rows += 1
        if isinstance(row, RowError):
            scan.refuse(row)
            continue
        for text in texts_in(row):
            words = hash_words(text)
            if len(words) >= MIN_WORDS:
                yield words, location


def texts_in(value: object) -> Iterator[str]:
    """Yield every text in a row of any layout; the turns of a transcript one by one."""
    if isinstance(value, str):
        turns = read_turns(value)
        yield from (turn["content"] for turn in turns) if turns else (value,)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from texts_in(part)


def _batches(texts: Iterable[tuple[Hashes, RowLocation]]) -> Iterator[list[tuple[Hashes, RowLocation]]]:
    """Yield the texts in lists of about _BATCH_WORDS words."""
    batch: list[tuple[Hashes, RowLocation]] = []
    num_words = 0
    for words, location in texts:
        batch.append((words, location))
        num_words += len(words)
        if num_words >= _BATCH_WORDS:
            yield batch
            batch, num_words = [], 0
    if batch:
        yield batch
