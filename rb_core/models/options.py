"""Options of a model and of a generative judge.

One field is one option. `option(...)` gives it a help text, a panel of the help page, the models that it applies to and
its allowed values. The command line, the checks below and `submit` are derived from the fields: to add an option, add a
field.
"""

# ruff: noqa: RUF009 - `option` returns a dataclass field

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from rb_core.errors import ModelError

Kind = Literal[
    "classifier", "value-head", "gated", "token", "process", "implicit", "generative", "baseline", "custom", "ensemble",
    "remote",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
# Kinds with a head that makes the score from hidden states, in one forward pass.
HEAD_KINDS: tuple[Kind, ...] = ("classifier", "value-head", "gated", "token", "process")
# Kinds that read a whole conversation with a checkpoint, which `doctor` can examine.
CONVERSATION_KINDS: tuple[Kind, ...] = (*HEAD_KINDS, "implicit")
# A judge is asked about each completion alone; about two, in both orders; about all, in rotation; or about two, for the
# probabilities of its one-letter answer.
Mode = Literal["ratings", "pairwise", "listwise", "logprob"]
MODES: tuple[Mode, ...] = ("ratings", "pairwise", "listwise", "logprob")
# A panel takes the majority of its judges' verdicts on each pair, or the mean of their scores.
Vote = Literal["majority", "mean"]
VOTES: tuple[Vote, ...] = ("majority", "mean")
# Ways to turn the log-probabilities of a completion's tokens into a score without a reference model.
ReferenceFree = Literal["sum", "mean", "norm"]
REFERENCE_FREE: tuple[ReferenceFree, ...] = ("sum", "mean", "norm")
# Ways to combine the scaled scores of an ensemble; mean-sd is the mean minus lambda standard deviations.
Combination = Literal["mean", "median", "min", "mean-sd"]
COMBINATIONS: tuple[Combination, ...] = get_args(Combination)
DEFAULT_LAMBDA = 0.5
DEFAULT_RESULTS = Path("leaderboard_data")
# Interfaces of servers of reward models.
ServerApi = Literal["vllm-classify", "vllm-pooling", "sglang", "openrlhf", "tei"]
SERVER_APIS: tuple[ServerApi, ...] = ("vllm-classify", "vllm-pooling", "sglang", "openrlhf", "tei")
# Ways to make one score of the probabilities of an answer's steps.
Aggregate = Literal["min", "prod", "mean", "last"]
AGGREGATES: tuple[Aggregate, ...] = ("min", "prod", "mean", "last")
DEFAULT_AGGREGATE: Aggregate = "min"
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cuda", "mps", "cpu")
DEFAULT_BETA = 0.1
_SCORER = re.compile(r"(?:[^\W\d]\w*(?:\.[^\W\d]\w*)*|.+\.py):[^\W\d]\w*(?:\.[^\W\d]\w*)*")

# Models that an option can apply to: their kinds, with judges split by the place where replies are generated.
Target = Literal[
    "classifier",
    "value-head model",
    "gated model",
    "token model",
    "process reward model",
    "implicit-reward model",
    "local judge",
    "served judge",
    "baseline",
    "custom scorer",
    "ensemble",
    "remote model",
]
HEADS: tuple[Target, ...] = ("classifier", "value-head model", "gated model", "token model")
CHECKPOINTS: tuple[Target, ...] = (*HEADS, "process reward model", "implicit-reward model", "local judge")
JUDGES: tuple[Target, ...] = ("local judge", "served judge")


# Fields of a request that --extra-body cannot set, and what to do instead.
_OWN_FIELDS = {
    **dict.fromkeys(("messages", "stream", "stream_options", "n"), "the judge's own requests have it; leave it out"),
    "model": "use --model",
    "temperature": "use --temperature",
    "seed": "use --seed",
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), "use --max-new-tokens"),
    "response_format": "use --structured",
    **dict.fromkeys(("logprobs", "top_logprobs"), "use --mode logprob or --expected"),
}

# Names that a chat template gets from the tokenizer and from transformers, which --template-vars cannot set.
RESERVED_VARIABLES = frozenset((
    "messages", "conversation", "tools", "documents", "chat_template", "add_generation_prompt",
    "continue_final_message", "tokenize", "sanitize_control_tokens", "padding", "truncation", "max_length",
    "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "raise_exception",
    "strftime_now", "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
))  # fmt: skip


@dataclass(frozen=True)
class OptionSpec:
    """Declaration of an option: everything but its name, type and default, which the field has."""

    help: str
    panel: str = "Model"
    applies_to: tuple[Target, ...] = CHECKPOINTS
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None  # exclusive minimum
    parse: Callable[[str], Any] | None = None  # value of the text on the command line; raises ValueError or OSError
    is_file: bool = False  # the text on the command line is a path
    is_local: bool = False  # the value names files of this machine, which an evaluation elsewhere does not have
    is_model: bool = False  # the value names a model, which has to exist where the evaluation runs


def option(default: Any, help: str, *, hash: bool | None = None, **rules: Any) -> Any:
    """Return a dataclass field that is an option. rules: further fields of OptionSpec.

    hash: False for values that cannot be hashed, so that the options can.
    """
    return field(default=default, hash=hash, metadata={"spec": OptionSpec(help, **rules)})


_on_device = partial(option, applies_to=(*CHECKPOINTS, "baseline"))
_rendered = partial(option, applies_to=(*CHECKPOINTS, "remote model"))  # concerns the text that a model reads
_head = partial(option, applies_to=("classifier", "remote model"))
_process = partial(option, panel="Process reward", applies_to=("process reward model",))
_implicit = partial(option, panel="Implicit reward", applies_to=("implicit-reward model",))
_token = partial(option, panel="Token as reward", applies_to=("token model",))
_custom = partial(option, panel="Your own scorer", applies_to=("custom scorer",))
_ensemble = partial(option, panel="Ensemble", applies_to=("ensemble",))
_judge = partial(option, panel="Generative judge", applies_to=JUDGES)
_server = partial(option, panel="Server of a reward model", applies_to=("remote model",))
_served = partial(option, panel="Server and budget of a judge", applies_to=("served judge",))

_requests = partial(option, panel="Requests to a server", applies_to=("served judge", "remote model"))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def _file_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _two_tokens(text: str) -> tuple[str, ...]:
    tokens = tuple(text.split(","))  # spaces are part of a token
    if len(tokens) != 2:
        raise ValueError("expected two tokens, YES,NO")
    return tokens


def _text_or_file(text: str) -> str:
    """Return the text of a file, without its last line break, or the text itself. Raises ValueError for a text that
    looks like the path of a file that does not exist."""
    try:
        if Path(text).is_file():
            return _file_text(text).removesuffix("\n")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
    if re.fullmatch(r"\S+\.\w{1,5}|\S*/\S*", text):
        raise ValueError("there is no such file; a question of one word goes into a file")
    return text


def _with_line_breaks(text: str) -> str:
    return text.replace("\\n", "\n")


def parse_assignments(text: str) -> dict[str, Any]:
    """Return the values of NAME=VALUE,... by name; a value may contain commas that no further NAME= follows."""
    variables: dict[str, Any] = {}
    for assignment in re.split(r",(?=\s*\w+=)", text):
        name, equals, value = assignment.partition("=")
        name = name.strip()
        if not equals or name in variables:
            raise ValueError(f"{name!r} is given twice" if equals else f"expected NAME=VALUE, not {assignment!r}")
        variables[name] = _json_or_text(value)
    return variables


def _json_or_text(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


@dataclass(frozen=True)
class JudgeOptions:
    """Options of a generative judge. Those of its server and budget, from `concurrency` on, change no score."""

    mode: Mode | None = _judge(None, "way to ask the judge; pairwise by default", choices=MODES)
    template: str | None = _judge(None, "name of a built-in prompt template, or path of a file")
    base_url: str | None = _judge(None, "address of an OpenAI-compatible server; its key in RB_JUDGE_API_KEY")
    provider: str | None = _judge(None, "inference provider of the hub, with your own login")
    judges: tuple[str, ...] = _judge((), "panel of judges: A,B,... each MODEL or MODEL@BASE_URL", parse=_names)
    vote: Vote | None = _judge(None, "way to combine a panel; majority by default", choices=VOTES)
    temperature: float | None = _judge(None, "sampling temperature of replies; 0 by default", minimum=0)
    max_new_tokens: int | None = _judge(None, "maximum tokens of a reply; 1024 by default", minimum=1)
    structured: bool = _served(False, "ask the server for JSON that follows a schema", panel="Generative judge")
    expected: bool = _judge(False, "compute ratings from the probabilities of all ratings")
    author: str | None = _judge(None, "name of the judge among the completions' authors")
    extra_body: str | None = _served(None, "JSON object with further fields of every request", panel="Generative judge")
    concurrency: int | None = _requests(None, "requests in flight; 64 by default", minimum=1)
    deadline: float | None = _requests(None, "seconds for a request with all its attempts; 600 by default", minimum=1)
    price_prompt: float | None = _served(None, "US dollars per million tokens of prompts", minimum=0)
    price_completion: float | None = _served(None, "US dollars per million tokens of replies", minimum=0)
    max_cost: float | None = _served(None, "stop before more US dollars than this are spent", minimum=0)
    max_tokens_total: int | None = _served(None, "stop before more tokens than this are used", minimum=0)

    @property
    def served(self) -> bool:
        """True if replies come from a server and not from this process."""
        return self.base_url is not None or self.provider is not None

    @property
    def extra_fields(self) -> dict[str, Any]:
        """The fields of `extra_body`. Raises ModelError unless it is a JSON object that a request can have."""
        try:
            fields = json.loads(self.extra_body or "{}")
            json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()  # as it will be sent
        except (ValueError, RecursionError) as error:
            raise ModelError(f"--extra-body is not JSON that can be sent: {error}") from None
        if not isinstance(fields, dict):
            raise ModelError('--extra-body has to be a JSON object, such as {"reasoning_effort": "low"}')
        for name, advice in _OWN_FIELDS.items():
            if name in fields:
                raise ModelError(f"--extra-body cannot set {name!r}: {advice}")
        return fields


@dataclass(frozen=True)
class Output:
    """Weights that add up the outputs of a reward head to one score; None for a head with exactly one output."""

    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return "single" if self.weights is None else "weights " + ",".join(f"{w:g}" for w in self.weights)


SINGLE_OUTPUT = Output()


@dataclass(frozen=True)
class ModelOptions:
    """Options of a model. None leaves a choice to the model's record and to its checkpoint."""

    name: str | None = option(None, "name of the model in the result", applies_to=get_args(Target))
    # A baseline is named, and a remote model has --url, so their kinds are not options.
    kind: Kind | None = option(
        None,
        "kind of model",
        choices=tuple(kind for kind in KINDS if kind not in ("baseline", "custom", "remote")),
        applies_to=(*CHECKPOINTS, "served judge"),
    )
    revision: str | None = _rendered(None, "commit, branch or tag of the model on the hub")
    dtype: str = _on_device("auto", "dtype of the weights; auto is the checkpoint's", choices=DTYPES)
    device: str = _on_device("auto", f"device to score on: {', '.join(DEVICES)} or cuda:N")
    device_map: Literal["auto"] | None = option(None, "auto spreads a model over all GPUs", choices=("auto",))
    max_length: int | None = _rendered(None, "maximum tokens of a conversation; the model's by default", minimum=1)
    chat_template: str | None = _rendered(None, "file with a Jinja chat template", parse=_file_text, is_file=True)
    template_name: str | None = _rendered(None, "name of the chat template, of a checkpoint that has several")
    template_vars: Mapping[str, Any] | None = _rendered(
        None,
        "variables for the chat template: NAME=VALUE,... with values in JSON or as text",
        parse=parse_assignments,
        hash=False,
    )
    fold_system: bool = option(
        False,
        "move system messages into the first user turn",
        applies_to=(*CHECKPOINTS, "served judge", "remote model"),
    )
    ignore_auto_map: bool = _rendered(False, "use transformers' class although the checkpoint names its own code")
    batch_tokens: int | None = _on_device(None, "tokens per forward pass; by free memory by default", minimum=1)
    output_index: int | None = option(
        None,
        "index of the reward among several outputs, from 0",
        minimum=0,
        applies_to=("classifier", "process reward model", "remote model"),
    )
    output_weights: tuple[float, ...] | None = _head(None, "weights of several outputs: A,B,...", parse=_numbers)
    pad_token: Literal["config", "tokenizer"] | None = option(
        None,
        "whose pad token the model was trained with, where config and tokenizer differ",
        choices=("config", "tokenizer"),
        applies_to=("classifier", "gated model", "remote model"),
    )
    lower_is_better: bool = option(False, "the model's output is a cost", applies_to=(*HEADS, "remote model"))
    threshold: float | None = option(
        None, "score from which on a step is right, in ProcessBench; 0 by default", applies_to=get_args(Target)
    )
    token: str | None = _token(None, "token whose logit is the reward")
    tokens: tuple[str, ...] | None = _token(
        None,
        "two tokens YES,NO: the reward is their log-odds",
        parse=_two_tokens,
        applies_to=("token model", "process reward model"),
    )
    question: str | None = _token(
        None, "text or file: a user's question after the completion, which the tokens answer", parse=_text_or_file
    )
    generation_prompt: bool = _token(False, "read after the header of the assistant's next turn")
    step_separator: str | None = _process(None, r"text after each step, as in '\n\n'", parse=_with_line_breaks)
    aggregate: Aggregate | None = _process(
        None, f"score of an answer from its steps' probabilities; {DEFAULT_AGGREGATE} by default", choices=AGGREGATES
    )
    reference: str | None = _implicit(None, "model that training started from", is_model=True)
    reference_revision: str | None = _implicit(None, "commit, branch or tag of the reference on the hub")
    beta: float | None = _implicit(None, f"factor of the log-ratio; {DEFAULT_BETA:g} by default", above=0)
    reference_free: ReferenceFree | None = _implicit(None, "score without a reference", choices=REFERENCE_FREE)
    scorer: str | None = _custom(
        None, "function or class of your own: package.module:OBJECT or FILE.py:OBJECT", is_local=True
    )
    scorer_args: Mapping[str, Any] | None = _custom(
        None, "arguments of a class: NAME=VALUE,... with values in JSON or as text", parse=parse_assignments, hash=False
    )
    ensemble: tuple[str, ...] = _ensemble((), "models to combine: A,B,...", parse=_names, is_local=True)
    combine: Combination | None = _ensemble(None, "way to combine their scores; mean by default", choices=COMBINATIONS)
    lambda_: float | None = _ensemble(
        None, f"standard deviations that mean-sd subtracts; {DEFAULT_LAMBDA:g} by default", minimum=0
    )
    scale_by: str | None = _ensemble(
        None, "benchmark on which every member was evaluated: its mean and spread there scale its scores"
    )
    scale_results: Path = _ensemble(DEFAULT_RESULTS, "folder with these evaluations", is_local=True)
    url: str | None = _server(None, "address of the server that scores; its key in RB_REWARD_API_KEY")
    api: ServerApi | None = _server(None, "the server's interface", choices=SERVER_APIS)
    tokenizer: str | None = _server(
        None, "folder or hub id of its tokenizer; by default that of the model's name", is_model=True
    )
    judge: JudgeOptions = field(default_factory=JudgeOptions)

    @property
    def reward_tokens(self) -> tuple[str, ...]:
        """The tokens whose logits are the reward: one, or two whose log-odds are; none for other kinds of model."""
        return self.tokens or (() if self.token is None else (self.token,))


def option_specs(options: type[ModelOptions | JudgeOptions]) -> dict[str, OptionSpec]:
    """Return the declarations of a class's options by field name."""
    return {f.name: f.metadata["spec"] for f in fields(options) if "spec" in f.metadata}


def changed_options(options: ModelOptions | JudgeOptions) -> Iterator[tuple[str, Any, OptionSpec]]:
    """Yield name, value and declaration of the options that differ from their defaults, those of a judge last."""
    for f in fields(options):
        value = getattr(options, f.name)
        if isinstance(value, JudgeOptions):
            yield from changed_options(value)
        elif value != f.default:
            yield f.name, value, f.metadata["spec"]


def command_line_options(options: ModelOptions | JudgeOptions) -> list[str]:
    """Return the options that differ from their defaults as typed on the command line, without a file's text."""
    words: list[str] = []
    for name, value, spec in changed_options(options):
        if not spec.is_file:
            words += [flag(name)] if value is True else [flag(name), _as_text(value)]
    return words


def flag(name: str) -> str:
    """Return the command-line flag of an option."""
    return "--" + name.rstrip("_").replace("_", "-")  # lambda_, as lambda is a keyword


def check_options(options: ModelOptions) -> None:
    """Raise ModelError for the first value that is not allowed by itself or in combination with another."""
    for name, value, spec in changed_options(options):
        _check_value(name, value, spec)
    device, colon, number = options.device.partition(":")
    if device not in DEVICES:
        raise ModelError(f"unknown device {options.device!r}: choose one of {', '.join(DEVICES)}")
    if colon and not number.isdecimal():
        raise ModelError(f"unknown device {options.device!r}: a number follows the colon, as in cuda:0")
    if options.output_index is not None and options.output_weights is not None:
        raise ModelError("give either --output-index or --output-weights, not both")
    if options.device_map is not None and options.device != "auto":
        raise ModelError("--device-map auto chooses the devices: leave --device out")
    if options.template_name is not None and options.chat_template is not None:
        raise ModelError("give either --template-name or --chat-template, not both")
    _check_variables(options.template_vars or {})
    _check_tokens(options)
    for name in ("reference", "reference_revision", "beta"):
        if options.reference_free is not None and getattr(options, name) is not None:
            raise ModelError(f"{flag(name)} has no effect without a reference model: give it or --reference-free")
    if options.lambda_ is not None and options.combine != "mean-sd":
        raise ModelError("--lambda has no effect without --combine mean-sd")
    if options.scorer is not None and not _SCORER.fullmatch(options.scorer):
        raise ModelError(f"--scorer {options.scorer}: expected package.module:OBJECT or FILE.py:OBJECT")
    if (options.url is None) != (options.api is None):
        raise ModelError(f"--url and --api are needed together: --api is one of {', '.join(SERVER_APIS)}")
    _check_judge(options.judge)


def check_applicable(options: ModelOptions, target: Target) -> None:
    """Raise ModelError for the first option that has no effect on such a model."""
    for name, _, spec in changed_options(options):
        if target not in spec.applies_to:
            names = ", ".join(f"{other}s" for other in spec.applies_to).replace("local judges, served judges", "judges")
            names = names.replace("remote models", "models with --url")
            if "local judge" not in spec.applies_to:
                names = names.replace("served judges", "judges with --base-url or --provider")
            names = " and ".join(names.rsplit(", ", 1))
            article = "an" if target[0] in "aeiou" else "a"
            raise ModelError(f"{flag(name)} applies only to {names} (this is {article} {target})")


def _check_value(name: str, value: Any, spec: OptionSpec) -> None:
    if spec.choices and value not in spec.choices:
        raise ModelError(f"unknown {flag(name)[2:]} {value!r}: choose one of {', '.join(spec.choices)}")
    numbers = value if isinstance(value, tuple) else (value,)
    rule = None
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        rule = "finite"
    elif spec.minimum is not None and value < spec.minimum:
        rule = f"at least {spec.minimum:g}"
    elif spec.above is not None and value <= spec.above:
        rule = f"greater than {spec.above:g}"
    if rule is not None:
        raise ModelError(f"{flag(name)} is {_as_text(value)}; it must be {rule}")


def _check_variables(variables: Mapping[str, Any]) -> None:
    for name, value in variables.items():
        if not name.isidentifier():
            raise ModelError(f"--template-vars: {name!r} is no name of a variable")
        if name in RESERVED_VARIABLES:
            raise ModelError(f"--template-vars cannot set {name}: the template gets it from the conversation and model")
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelError(f"--template-vars: {name} has a value that a result cannot record: {error}") from None


def _check_tokens(options: ModelOptions) -> None:
    if options.token is not None and options.tokens is not None:
        raise ModelError("give either --token or --tokens, not both")
    if options.tokens is not None and len(options.tokens) != 2:
        raise ModelError(f"--tokens names {len(options.tokens)} tokens; it must be two, YES,NO")
    if options.question is not None and options.generation_prompt:
        raise ModelError("--question is followed by the header of the next turn: leave --generation-prompt out")
    texts = [("--tokens", token) for token in options.tokens or ()]
    texts += [("--token", options.token)] if options.token is not None else []
    texts += [("--step-separator", options.step_separator)] if options.step_separator is not None else []
    texts += [("--question", options.question.strip())] if options.question is not None else []
    for name, text in texts:
        if not text:
            raise ModelError(f"{name}: expected a text, not an empty one")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ModelError(f"{name} has a character that a result cannot record: {error}") from None


def _check_judge(judge: JudgeOptions) -> None:
    if judge.vote is not None and not judge.judges:
        raise ModelError("--vote applies only to a panel: name its members with --judges")
    if judge.base_url is not None and judge.provider is not None:
        raise ModelError("give either --base-url or --provider, not both")
    if judge.base_url is not None and not judge.base_url.startswith(("http://", "https://")):
        raise ModelError("--base-url: expected the address of a server, such as http://127.0.0.1:8000/v1")
    prices = (judge.price_prompt, judge.price_completion)
    if None in prices and prices != (None, None):
        raise ModelError("--price-prompt and --price-completion are needed together: give both, or neither")
    _ = judge.extra_fields
    if judge.max_cost is not None and None in prices:
        raise ModelError("--max-cost needs the price of tokens: give --price-prompt and --price-completion")


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_variable_text(each)}" for name, each in value.items())
    if isinstance(value, tuple):
        return ",".join(map(_as_text, value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value or math.isnan(value) else repr(value)
    return str(value)


def _variable_text(value: Any) -> str:
    """Return the text that `_json_or_text` reads as this value."""
    return value if isinstance(value, str) and _json_or_text(value) == value else json.dumps(value)
