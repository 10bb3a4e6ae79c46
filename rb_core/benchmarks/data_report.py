"""Describe the examples of a benchmark: what was read, and what is odd about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rb_core.benchmarks.example import Conversation, Example, message_text
from rb_core.benchmarks.spec import Benchmark

_LONG_PROMPT = 20  # characters
_TEMPLATE_MARKS = re.compile(
    r"<\|im_(?:start|end)\|>|<\|start_header_id\|>|<\|eot_id\|>|<(?:start|end)_of_turn>|\[/?INST\]"
)
_WRITTEN_LIST = re.compile(r"""\s*\[\s*(['"]).*\1\s*\]\s*""", re.DOTALL)


@dataclass(frozen=True)
class LengthRange:
    """Median and extremes of the lengths of texts, in characters."""

    median: float
    shortest: int
    longest: int


@dataclass(frozen=True)
class DataReport:
    """Counts of a benchmark's examples.

    groups: examples of each group; lengths: of prompts, chosen and rejected completions; duplicates: examples that
    repeat an earlier one; same_text, blank: see `cannot_be_won`; repeated_prompts: completions that begin with their
    prompt; template_marks, written_lists: completions with marks of a chat template, and that are lists in JSON.
    """

    examples: int
    completions: int
    subsets: Mapping[str, int]
    groups: Mapping[str, int]
    lengths: Mapping[str, LengthRange]
    duplicates: int
    same_text: int
    blank: int
    assistant_prompts: int
    empty_completions: int
    repeated_prompts: int
    template_marks: int
    written_lists: int
    left_out: Mapping[str, int]

    @property
    def unwinnable(self) -> int:
        return self.same_text + self.blank

    def warnings(self) -> list[str]:
        """Return a line for each oddity that the data have."""
        counts = {
            "cannot be won: a chosen text is also a rejected one": self.same_text,
            "cannot be won: a chosen and a rejected completion are empty or white space": self.blank,
            "have a prompt that ends with an assistant's turn": self.assistant_prompts,
            "repeat an earlier example": self.duplicates,
        }
        lines = [f"{count:,} of {self.examples:,} examples {oddity}" for oddity, count in counts.items() if count]
        counts = {
            "are empty or white space": self.empty_completions,
            "begin with their prompt, which the model reads before them": self.repeated_prompts,
            "have marks of a chat template, to which the model's own are added": self.template_marks,
            "are lists written as text, each scored as one completion": self.written_lists,
        }
        lines += [
            f"{count:,} of {self.completions:,} completions {oddity}" for oddity, count in counts.items() if count
        ]
        return lines + [f"{count:,} rows left out: {reason}" for reason, count in self.left_out.items()]


def describe_data(benchmark: Benchmark) -> DataReport:
    """Count what a benchmark's examples are like."""
    examples = benchmark.examples
    texts = [text for example in examples for text in example.completions]
    lengths = {
        "prompt": [sum(len(message_text(message)) for message in each.prompt) for each in examples],
        "chosen": [len(text) for each in examples for text in each.completions[: each.num_chosen]],
        "rejected": [len(text) for each in examples for text in each.completions[each.num_chosen :]],
    }
    unwinnable = Counter(map(cannot_be_won, examples))
    return DataReport(
        examples=len(examples),
        completions=sum(len(example.completions) for example in examples),
        subsets=Counter(example.subset for example in examples),
        groups=Counter(example.group for example in examples),
        lengths={name: _lengths(numbers) for name, numbers in lengths.items() if numbers},
        duplicates=len(examples) - len({(repr(each.prompt), each.completions, each.num_chosen) for each in examples}),
        same_text=unwinnable["same text"],
        blank=unwinnable["blank"],
        assistant_prompts=sum(example.prompt[-1]["role"] == "assistant" for example in examples),
        empty_completions=sum(not text.strip() for text in texts),
        repeated_prompts=sum(
            begins_with_prompt(text, example.prompt) for example in examples for text in example.completions
        ),
        template_marks=sum(_TEMPLATE_MARKS.search(text) is not None for text in texts),
        written_lists=sum(_WRITTEN_LIST.fullmatch(text) is not None for text in texts),
        left_out=benchmark.left_out,
    )


def begins_with_prompt(completion: str, prompt: Conversation) -> bool:
    """Return True if a completion begins with the prompt's last message, unless that is short."""
    last = prompt[-1]["content"].strip()
    return len(last) >= _LONG_PROMPT and completion.lstrip().startswith(last)


def cannot_be_won(example: Example) -> str:
    """Return why no model can get full credit: "same text", "blank", or "" if one can.

    The worst chosen completion has to score above the best rejected one.
    """
    chosen, rejected = set(example.completions[: example.num_chosen]), set(example.completions[example.num_chosen :])
    if chosen & rejected:
        return "same text" if any(text.strip() for text in chosen & rejected) else "blank"
    return "blank" if any(not c.strip() for c in chosen) and any(not r.strip() for r in rejected) else ""


def _lengths(numbers: Sequence[int]) -> LengthRange:
    return LengthRange(float(np.median(numbers)), min(numbers), max(numbers))
