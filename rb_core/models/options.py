"""What the user says of a generative judge, as far as it can be checked before anything is known of the model."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from rb_core.errors import ModelError

# How a generative judge is asked: about each completion alone; about two, in both orders; about all, in rotation; about
# two for the probabilities of its one-letter answer.
Mode = Literal["ratings", "pairwise", "listwise", "logprob"]


MODES: tuple[Mode, ...] = ("ratings", "pairwise", "listwise", "logprob")


# How the judges of a panel become one score: by the majority of their verdicts on each pair, or the mean of scores.
Vote = Literal["majority", "mean"]


VOTES: tuple[Vote, ...] = ("majority", "mean")


@dataclass(frozen=True)
class JudgeOptions:
    """What the user said of a generative judge.

    mode: how it is asked; template: a built-in template's name or a file's path, None for the mode's own; base_url: an
    OpenAI-compatible server, provider: an inference provider of the hub, neither: generated in this process; judges: of
    a panel, each NAME or NAME@BASE_URL; vote: how they become one; temperature, max_new_tokens: of the decoding;
    structured: ask the server for JSON by a schema; expected: read ratings from the probabilities of all ratings;
    author: the judge's name among the completions' authors.

    What follows changes no score. concurrency: requests in flight; deadline: seconds for one request, all tries
    included; prices: US dollars for a million tokens, of prompts and of replies; max_cost: US dollars.
    """

    mode: Mode | None = None
    template: str | None = None
    base_url: str | None = None
    provider: str | None = None
    judges: tuple[str, ...] = ()
    vote: Vote | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    structured: bool = False
    expected: bool = False
    author: str | None = None
    concurrency: int | None = None
    deadline: float | None = None
    price_prompt: float | None = None
    price_completion: float | None = None
    max_cost: float | None = None
    max_tokens_total: int | None = None

    @property
    def served(self) -> bool:
        """Whether replies come from elsewhere than this process."""
        return self.base_url is not None or self.provider is not None


NOTHING_SAID = JudgeOptions()

Kind = Literal["classifier", "implicit", "generative", "baseline"]


KINDS: tuple[Kind, ...] = ("classifier", "implicit", "generative", "baseline")


# How the log-probabilities of a completion's tokens become a score where there is no reference model.
ReferenceFree = Literal["sum", "mean", "norm"]


REFERENCE_FREE: tuple[ReferenceFree, ...] = ("sum", "mean", "norm")


DEFAULT_BETA = 0.1


DTYPES = ("auto", "float32", "bfloat16", "float16")


DEVICES = ("auto", "cuda", "mps", "cpu")


@dataclass(frozen=True)
class Output:
    """How the outputs of a head become one score: the sum of output x weight. None: the head has exactly one."""

    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return "single" if self.weights is None else "weights " + ",".join(f"{w:g}" for w in self.weights)


SINGLE_OUTPUT = Output()


@dataclass(frozen=True)
class ModelOptions:
    """What the user said; None leaves it to the record and the checkpoint.

    output_index, output_weights, lower_is_better declare how several outputs, or a cost, become one score.
    reference, reference_revision, beta, reference_free say what an implicit reward is measured against.
    batch_tokens: None finds it from the memory that is free; device_map: "auto" spreads a model over all GPUs; judge:
    how a generative judge is asked, and where.
    """

    name: str | None = None
    kind: Kind | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    max_length: int | None = None
    chat_template: str | None = None
    fold_system: bool = False
    output_index: int | None = None
    output_weights: tuple[float, ...] | None = None
    lower_is_better: bool = False
    reference: str | None = None
    reference_revision: str | None = None
    beta: float | None = None
    reference_free: ReferenceFree | None = None
    batch_tokens: int | None = None
    device_map: Literal["auto"] | None = None
    judge: JudgeOptions = NOTHING_SAID


NO_OPTIONS = ModelOptions()


def check_options(options: ModelOptions) -> None:
    """Raise ModelError for the first option whose value makes no sense by itself or beside another."""
    _check_numbers(options)
    check_judge(options.judge)
    choices = (
        ("dtype", options.dtype, DTYPES),
        ("device", options.device.partition(":")[0], DEVICES),
        ("kind", options.kind, (None, *KINDS)),
        ("reference-free", options.reference_free, (None, *REFERENCE_FREE)),
        ("device-map", options.device_map, (None, "auto")),
    )
    for what, value, allowed in choices:
        check_choice(what, value, allowed)
    _, colon, number = options.device.partition(":")
    if colon and not number.isdecimal():
        raise ModelError(f"unknown device {options.device!r}: a number follows the colon, as in cuda:0")
    if options.output_index is not None and options.output_weights is not None:
        raise ModelError("give either --output-index or --output-weights, not both")
    if options.device_map is not None and options.device != "auto":
        raise ModelError("--device-map auto places the model by itself: leave --device out")


def _check_numbers(options: ModelOptions) -> None:
    if options.output_weights is not None and not all(map(math.isfinite, options.output_weights)):
        raise ModelError("--output-weights has a number that is not finite")
    if options.max_length is not None and options.max_length < 1:
        raise ModelError(f"--max-length is {options.max_length}; it must be at least 1")
    if options.batch_tokens is not None and options.batch_tokens < 1:
        raise ModelError(f"--batch-tokens is {options.batch_tokens}; it must be at least 1")
    if options.output_index is not None and options.output_index < 0:
        raise ModelError(f"--output-index is {options.output_index}; outputs are counted from 0")
    if options.beta is not None and not (math.isfinite(options.beta) and options.beta > 0):
        raise ModelError(f"--beta is {options.beta:g}; it must be a positive number")


def check_judge(judge: JudgeOptions) -> None:
    """Raise ModelError for the first option whose value makes no sense by itself or beside another."""
    _check_judge_numbers(judge)
    check_choice("mode", judge.mode, (None, *MODES))
    check_choice("vote", judge.vote, (None, *VOTES))
    if judge.vote is not None and not judge.judges:
        raise ModelError("--vote says something of a panel: name its members with --judges")
    if judge.base_url is not None and not judge.base_url.startswith(("http://", "https://")):
        raise ModelError("--base-url: expected the address of a server, such as http://127.0.0.1:8000/v1")


def check_choice(what: str, value: str | None, allowed: Collection[str | None]) -> None:
    """Raise ModelError for a value that is none of those allowed."""
    if value not in allowed:
        known = ", ".join(filter(None, allowed))
        raise ModelError(f"unknown {what} {value!r}: choose one of {known}")


def flag(option: str) -> str:
    """An option as it is typed."""
    return "--" + option.replace("_", "-")


def _check_judge_numbers(judge: JudgeOptions) -> None:
    least = {"temperature": 0.0, "max_new_tokens": 1, "concurrency": 1, "deadline": 1.0}
    least |= dict.fromkeys(("price_prompt", "price_completion", "max_cost", "max_tokens_total"), 0)
    for name, smallest in least.items():
        value = getattr(judge, name)
        if value is not None and not (math.isfinite(value) and value >= smallest):
            raise ModelError(f"{flag(name)} is {value:g}; it must be a number from {smallest:g} on")
    prices = (judge.price_prompt, judge.price_completion)
    if None in prices and prices != (None, None):
        raise ModelError("--price-prompt and --price-completion say together what a reply costs: give both, or neither")
    if judge.max_cost is not None and None in prices:
        raise ModelError("--max-cost needs to know what tokens cost: give --price-prompt and --price-completion")
