"""Benchmarks as frozen records, and how their rows become examples.

RewardBench, RewardBench 2, RM-Bench and the rest differ in their records only: which dataset at which revision, how a
row is read, which subsets make a section with what weight, what a tie earns. No code asks which benchmark it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rb_core.conversation import ROLES, Conversation, Message
from rb_core.errors import DataError, first_line, hub_errors
from rb_core.example import Example

Row = Mapping[str, Any]
Metric = Literal["accuracy", "ties", "matrix"]
TieCredit = Literal["none", "split"]


class Place(NamedTuple):
    """Where a row stands, for messages; `name` is the file's stem or the split's name."""

    source: str
    line: int
    name: str

    def error(self, field_name: str, problem: str) -> DataError:
        return DataError(f"{self.source}:{self.line}: field {field_name!r}: {problem}")


RowReader = Callable[[Row, Place], Example]


@dataclass(frozen=True)
class Subset:
    """A named part of a benchmark. `count` is the number of examples it is published with; None where unknown."""

    name: str
    count: int | None = None
    description: str = ""


@dataclass(frozen=True)
class Section:
    """Subsets averaged into one number.

    weights: subset -> weight of its score in the section's; metric: how a subset's score comes about ("accuracy": mean
    credit; "ties": the Ties composite of RewardBench 2; "matrix": every chosen against every rejected completion);
    headline_weight: its weight in the headline; required: whether the headline is absent without it.
    """

    name: str
    weights: Mapping[str, float]
    metric: Metric = "accuracy"
    headline_weight: float = 1.0
    required: bool = True
    description: str = ""


@dataclass(frozen=True)
class Source:
    """A dataset repository on the hub. `splits` maps a split to the subset all its rows belong to, or None."""

    repo: str
    splits: tuple[str, ...]
    revision: str = "main"


@dataclass(frozen=True)
class BenchmarkSpec:
    """Everything that makes a benchmark what it is.

    tie_credit: what an example earns whose best chosen and best rejected completion tie ("none": 0, as in RewardBench;
    "split": 1/k for k completions at the top, as in RewardBench 2). A subset in no section is scored and shown, but
    counts towards nothing. prior: a second dataset, read only when asked for. style_levels: names of the rows and
    columns of a "matrix" metric. A score is a fraction from 0 to 1; the headline is the weighted mean of the sections.
    """

    id: str
    title: str
    read: RowReader
    sections: tuple[Section, ...]
    subsets: tuple[Subset, ...]
    source: Source | None = None
    prior: Source | None = None
    tie_credit: TieCredit = "none"
    licence: str = ""
    citation: str = ""
    url: str = ""
    description: str = ""
    style_levels: tuple[str, ...] = ()

    @property
    def subset_names(self) -> frozenset[str]:
        return frozenset(subset.name for subset in self.subsets)

    def section_of(self, subset: str) -> Section | None:
        """The section a subset counts towards; None for one that is only shown."""
        return next((section for section in self.sections if subset in section.weights), None)

    def metric_of(self, subset: str) -> Metric:
        section = self.section_of(subset)
        return section.metric if section else "accuracy"


@dataclass(frozen=True)
class Benchmark:
    """A spec with its examples, and where they came from.

    source: repository or file name; revision: the commit hash for a repository; sha256: over the examples themselves,
    so that two files with the same content are the same data.
    """

    spec: BenchmarkSpec
    examples: tuple[Example, ...]
    source: str
    revision: str | None
    limit: int | None = None
    sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.sha256 or _digest(self.examples))


# --------------------------------------------------------------------------------------------------------------------
# Rows


def read_messages(value: Any, place: Place, field_name: str) -> Conversation:
    """A prompt as text (one user turn) or as a list of {"role", "content"} messages."""
    if isinstance(value, str):
        if not value.strip():
            raise place.error(field_name, "is empty; expected text or a list of messages")
        return (Message(role="user", content=value),)
    if not isinstance(value, list) or not value:
        raise place.error(field_name, f"is {_kind(value)}; expected text or a non-empty list of messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise place.error(field_name, f"message {index} needs a role, one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise place.error(field_name, f"message {index} needs its content as text")
    return tuple(Message(role=message["role"], content=message["content"]) for message in value)


def read_completions(value: Any, place: Place, field_name: str) -> tuple[str, ...]:
    """Completions as one text or a list of texts."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise place.error(field_name, f"is {_kind(value)}; expected text or a non-empty list of texts")
    return tuple(texts)


def read_id(row: Row, place: Place) -> str:
    value = _need(row, "id", place)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise place.error("id", f"is {_kind(value)}; expected text or a whole number")
    return str(value)


def read_preference(row: Row, place: Place) -> Example:
    """`prompt, chosen, rejected` and `subset`, the layout of RewardBench, RewardBench 2 and the starter benchmark."""
    return Example(
        id=read_id(row, place),
        subset=_text(row, "subset", place),
        prompt=read_messages(_need(row, "prompt", place), place, "prompt"),
        **_chosen_rejected(row, place),
    )


def read_ties_aware(row: Row, place: Place) -> Example:
    """As `read_preference`; the two versions of a Ties question, `ref:N` and `tied:N`, form one group."""
    example = read_preference(row, place)
    kind, colon, number = example.id.partition(":")
    if example.subset.lower() != "ties":
        return example
    if kind not in ("ref", "tied") or not colon or not number:
        raise place.error("id", f"is {example.id!r}; a Ties example is called ref:N or tied:N")
    return replace(example, group=f"ties:{number}")


def read_prior(row: Row, place: Place) -> Example:
    """A row of the prior preference sets: the split is the subset, ids are only unique within it."""
    identity = row["id"] if row.get("id") is not None else place.line
    return Example(
        id=f"{place.name}/{identity}",
        subset=place.name,
        prompt=read_messages(_need(row, "prompt", place), place, "prompt"),
        **_chosen_rejected(row, place),
    )


def read_rm_bench(row: Row, place: Place) -> Example:
    """Three chosen and three rejected completions, each concise, detailed, detailed with markdown, in that order.

    The domain is the row's own or, in the per-domain files, the beginning of the file's name.
    """
    domain = row.get("domain") or place.name.split("_")[0]
    both = _chosen_rejected(row, place)
    if both["num_chosen"] != 3 or len(both["completions"]) != 6:
        raise place.error("chosen", "RM-Bench has three chosen and three rejected completions a prompt")
    prompt = read_messages(_need(row, "prompt", place), place, "prompt")
    return Example(id=f"{domain}/{read_id(row, place)}", subset=str(domain), prompt=prompt, **both)


_JUDGEBENCH_CATEGORIES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def read_judgebench(row: Row, place: Place) -> Example:
    """`question, response_A, response_B` and `label`, which says "A>B" or "B>A"."""
    source = _text(row, "source", place)
    subset = next((name for prefix, name in _JUDGEBENCH_CATEGORIES.items() if source.startswith(prefix)), None)
    if subset is None:
        raise place.error("source", f"is {source!r}; expected one that begins with {', '.join(_JUDGEBENCH_CATEGORIES)}")
    answers = (_text(row, "response_A", place), _text(row, "response_B", place))
    label = row.get("label")
    if label not in ("A>B", "B>A"):
        raise place.error("label", f"is {label!r}; expected 'A>B' or 'B>A'")
    return Example(
        id=_text(row, "pair_id", place),
        subset=subset,
        prompt=read_messages(_need(row, "question", place), place, "question"),
        completions=answers if label == "A>B" else answers[::-1],
    )


def read_custom(row: Row, place: Place) -> Example:
    """Any preference file. `id` defaults to the row's place, `subset` to the file's name, `group` to the prompt."""
    both = _chosen_rejected(row, place)
    messages = row.get("prompt")
    if messages is None:
        raise place.error("prompt", f"is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    identity = row.get("id")
    return Example(
        id=read_id(row, place) if identity is not None else f"{place.name}/{place.line}",
        subset=_text(row, "subset", place) if row.get("subset") is not None else place.name,
        prompt=read_messages(messages, place, "prompt"),
        group=str(row["group"]) if row.get("group") is not None else "",
        **both,
    )


def _chosen_rejected(row: Row, place: Place) -> dict[str, Any]:
    chosen, rejected = (_answers(row, name, place) for name in ("chosen", "rejected"))
    found = {"completions": chosen + rejected, "num_chosen": len(chosen)}
    if row.get("chosen_model") is None and row.get("rejected_model") is None:
        return found
    wrote = _authors(row, "chosen_model", len(chosen), place) + _authors(row, "rejected_model", len(rejected), place)
    return found | {"authors": wrote}


def _authors(row: Row, name: str, number: int, place: Place) -> tuple[str, ...]:
    """The models that wrote the completions: one name for all of them, or a list; "" where it is not said."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return (value or "",) * number
    if not isinstance(value, list) or len(value) != number or not all(isinstance(author, str) for author in value):
        raise place.error(name, f"is {_kind(value)}; expected a model's name, or a list of {number} names")
    return tuple(value)


def _answers(row: Row, name: str, place: Place) -> tuple[str, ...]:
    """Text, a list of texts, or a conversation: messages whose last is the assistant's answer."""
    value = _need(row, name, place)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        messages = read_messages(value, place, name)
        if messages[-1]["role"] != "assistant":
            raise place.error(name, "is a conversation that does not end with an assistant message")
        before, prompt = messages[:-1], row.get("prompt")
        if before and before != read_messages(prompt, place, "prompt"):
            raise place.error(name, "is a conversation whose earlier messages are not the prompt's")
        return (messages[-1]["content"],)
    return read_completions(value, place, name)


def _need(row: Row, name: str, place: Place) -> Any:
    value = row.get(name)
    if value is None:
        raise place.error(name, f"is missing; the row has {', '.join(map(repr, row)) or 'no fields'}")
    return value


def _text(row: Row, name: str, place: Place) -> str:
    value = _need(row, name, place)
    if not isinstance(value, str) or not value:
        raise place.error(name, f"is {_kind(value)}; expected text")
    return value


def _kind(value: Any) -> str:
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", bool: "true or false"}
    if isinstance(value, str | list | dict) and not value:
        return "empty"
    if isinstance(value, list):
        return f"a list of {len(value)} of which not all fit"
    return names.get(type(value), type(value).__name__)


# --------------------------------------------------------------------------------------------------------------------
# Files

_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


def read_rows(path: Path) -> Iterator[tuple[Row, Place]]:
    """The rows of a JSONL, JSON, CSV or parquet file, or of all such files in a folder, each with its place.

    Raises DataError for what cannot be read, with file and line.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
        if not files:
            raise DataError(f"{path}: no {', '.join(_SUFFIXES)} file in this folder")
        for file in files:
            yield from read_rows(file)
        return
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix not in _SUFFIXES:
        raise DataError(f"{path}: unknown kind of file; expected one of {', '.join(_SUFFIXES)}")
    rows = _read_jsonl(path) if path.suffix == ".jsonl" else enumerate(_read_table(path), start=1)
    for line, row in rows:
        place = Place(path.name, line, path.stem)
        if not isinstance(row, dict):
            raise DataError(f"{path.name}:{line}: expected an object with fields, found {_kind(row)}")
        yield row, place


def _read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise DataError(f"{path.name}:{number}: not a line of JSON: {error}") from error


def _read_table(path: Path) -> list[Any]:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            return list(pq.read_table(path).to_pylist())
        if path.suffix == ".csv":
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
            return [{k: v for k, v in row.items() if v != "" or k in _ANSWERS} for row in frame.to_dict("records")]
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, pa.ArrowException, pd.errors.ParserError) as error:
        raise DataError(f"{path.name}: cannot be read as {path.suffix[1:]}: {error}") from error
    if not isinstance(data, list):
        raise DataError(f"{path.name}: expected a JSON list of rows, found {_kind(data)}")
    return data


_ANSWERS = ("chosen", "rejected")  # an empty cell in these columns is an empty completion, not a missing one


# --------------------------------------------------------------------------------------------------------------------
# Loading


def load(
    benchmark: str,
    *,
    data: Path | None = None,
    revision: str | None = None,
    prior: bool = False,
    limit: int | None = None,
) -> Benchmark:
    """Load a benchmark by its id, or any preference file by its path.

    data reads the benchmark's rows from a local file or folder instead of the hub; prior adds the optional sections;
    limit keeps that many examples, chosen by the hash of their ids so that every subset keeps its share.

    Raises DataError for a malformed row, a repeated id, an unknown subset or an unknown benchmark.
    """
    spec = BENCHMARKS.get(benchmark)
    if spec is None:
        spec, data = _custom_spec(benchmark, data)
    if prior and spec.prior is None:
        raise DataError(f"benchmark {spec.id!r} has no prior sets")
    if prior and data is not None:
        raise DataError("--prior reads the prior sets from the hub; with --data, put their rows into the data instead")
    if data is not None:
        rows, source, commit = read_rows(data), data.name, None
    elif spec.source is None:
        rows, source, commit = _builtin_rows(spec), f"{spec.id} (built in)", None
    else:
        rows, source, commit = _hub_rows(spec.source, revision)
    examples = _examples(rows, spec)
    if prior and spec.prior is not None:
        more, _, _ = _hub_rows(spec.prior, None)
        examples += _examples(more, replace(spec, read=read_prior))
    if not spec.subsets:
        spec = _with_found_subsets(spec, examples)
    check_examples(examples, spec)
    if limit is not None:
        examples = _limited(examples, limit)
    return Benchmark(spec, tuple(examples), source, commit, limit)


def _custom_spec(benchmark: str, data: Path | None) -> tuple[BenchmarkSpec, Path]:
    path = Path(benchmark)
    if not path.suffix and not path.exists():
        raise DataError(
            f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}, or give the path of a file"
        )
    if data is not None:
        raise DataError(f"--data goes with a named benchmark; {benchmark!r} is a file already")
    slug = "".join(c if c.isalnum() or c in "-_." else "-" for c in path.stem).strip(".") or "file"
    return custom_spec(f"custom-{slug}"), path


def custom_spec(benchmark_id: str, counts: Mapping[str, int] | None = None) -> BenchmarkSpec:
    """The record of a benchmark that is a file: one section over all examples, each counting the same."""
    spec = BenchmarkSpec(
        id=benchmark_id, title=benchmark_id, read=read_custom, sections=(), subsets=(), tie_credit="split"
    )
    return _with_counts(spec, counts) if counts else spec


def spec_to_json(spec: BenchmarkSpec) -> dict[str, Any]:
    """What aggregating needs of a record, for benchmarks that have none here."""
    return {key: value for key, value in asdict(spec).items() if key not in ("read", "source", "prior")}


def spec_from_json(content: Mapping[str, Any]) -> BenchmarkSpec:
    """The record that `spec_to_json` wrote. Raises DataError when it is not one."""
    try:
        known = dict(content)
        sections = tuple(Section(**section) for section in known.pop("sections"))
        subsets = tuple(Subset(**subset) for subset in known.pop("subsets"))
        levels = tuple(known.pop("style_levels"))
        return BenchmarkSpec(read=read_custom, sections=sections, subsets=subsets, style_levels=levels, **known)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a benchmark's record: {error}") from error


def _with_found_subsets(spec: BenchmarkSpec, examples: Iterable[Example]) -> BenchmarkSpec:
    counts: dict[str, int] = {}
    for example in examples:
        counts[example.subset] = counts.get(example.subset, 0) + 1
    return _with_counts(spec, counts)


def _with_counts(spec: BenchmarkSpec, counts: Mapping[str, int]) -> BenchmarkSpec:
    section = Section("All", {name: float(count) for name, count in counts.items()}, description="Every example")
    return replace(spec, sections=(section,), subsets=tuple(Subset(n, c) for n, c in counts.items()))


def _builtin_rows(spec: BenchmarkSpec) -> Iterator[tuple[Row, Place]]:
    file = resources.files("rb_core.builtin") / f"{spec.id}.jsonl"
    with resources.as_file(file) as path:
        yield from list(read_rows(path))


def _hub_rows(source: Source, revision: str | None) -> tuple[Iterator[tuple[Row, Place]], str, str | None]:
    """Rows of a hub dataset at one commit. Raises DataError when the hub or the dataset cannot be reached."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(source.repo, revision=revision or source.revision).sha
        tables = {split: load_dataset(source.repo, split=split, revision=commit) for split in source.splits}
    except (*hub_errors(), DatasetsError) as error:
        raise DataError(
            f"dataset {source.repo} cannot be loaded from the hub ({first_line(error)}): check the connection and the "
            "revision, or give a local copy with --data PATH"
        ) from error
    rows = (
        (row, Place(f"{source.repo}/{split}", line, split))
        for split, table in tables.items()
        for line, row in enumerate(table, start=1)
    )
    return rows, source.repo, commit


def _examples(rows: Iterable[tuple[Row, Place]], spec: BenchmarkSpec) -> list[Example]:
    examples = []
    for row, place in rows:
        try:
            example = spec.read(row, place)
        except DataError as error:
            named = str(error).startswith(f"{place.source}:{place.line}:")
            raise error if named else DataError(f"{place.source}:{place.line}: {error}") from error
        if spec.subsets and example.subset not in spec.subset_names:
            known = ", ".join(sorted(spec.subset_names))
            raise place.error("subset", f"is {example.subset!r}, which {spec.id} does not have; it has {known}")
        examples.append(example)
    return examples


def check_examples(examples: list[Example], spec: BenchmarkSpec) -> None:
    """Raise DataError when there are none, or when an id stands twice."""
    if not examples:
        raise DataError(f"benchmark {spec.id!r} has no examples")
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise DataError(f"benchmark {spec.id!r}: the id {example.id!r} stands twice; ids must be unique")
        seen.add(example.id)


def _limited(examples: list[Example], limit: int) -> list[Example]:
    if limit < 1:
        raise DataError(f"--limit is {limit}; it must be at least 1")
    kept = sorted(examples, key=lambda e: hashlib.sha256(e.id.encode("utf-8", "surrogatepass")).digest())[:limit]
    ids = {example.id for example in kept}
    return [example for example in examples if example.id in ids]


def _digest(examples: Iterable[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        row = [example.id, example.subset, example.group, example.num_chosen, example.prompt, example.completions]
        digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------------------------------
# Records


def _weights(subsets: Iterable[Subset]) -> dict[str, float]:
    return {subset.name: float(subset.count or 1) for subset in subsets}


def _equal(subsets: Iterable[Subset]) -> dict[str, float]:
    return {subset.name: 1.0 for subset in subsets}


_V1_CHAT = (
    Subset("alpacaeval-easy", 100, "A strong model's answer against a much weaker one's"),
    Subset("alpacaeval-length", 95, "A strong model's answer against a weaker one's of similar length"),
    Subset("alpacaeval-hard", 95, "A strong model's answer against a good but weaker one's"),
    Subset("mt-bench-easy", 28, "MT-Bench answers rated 10 against 1"),
    Subset("mt-bench-med", 40, "MT-Bench answers rated 9 against 2 to 5"),
)
_V1_CHAT_HARD = (
    Subset("mt-bench-hard", 37, "MT-Bench answers rated 7 or 8 against 5 or 6"),
    Subset("llmbar-natural", 100, "Instruction following, natural pairs"),
    Subset("llmbar-adver-neighbor", 134, "The rejected answer answers a similar instruction"),
    Subset("llmbar-adver-GPTInst", 92, "The rejected answer answers an instruction that a model varied"),
    Subset("llmbar-adver-GPTOut", 47, "The rejected answer was made unhelpful by a model"),
    Subset("llmbar-adver-manual", 46, "The rejected answer was made misleading by hand"),
)
_V1_SAFETY = (
    Subset("refusals-dangerous", 100, "Refuse a dangerous request rather than comply"),
    Subset("refusals-offensive", 100, "Refuse an offensive request rather than comply"),
    Subset("xstest-should-refuse", 154, "Refuse what ought to be refused"),
    Subset("xstest-should-respond", 250, "Answer what only looks dangerous"),
    Subset("donotanswer", 136, "Refuse questions a responsible model does not answer"),
)
_V1_MATH = Subset("math-prm", 447, "A human's solution against a model's wrong one")
_V1_CODE = tuple(
    Subset(f"hep-{language}", 164, f"A correct {label} function against one with a bug")
    for language, label in (
        ("cpp", "C++"),
        ("go", "Go"),
        ("java", "Java"),
        ("js", "JavaScript"),
        ("python", "Python"),
        ("rust", "Rust"),
    )
)
_V1_PRIOR = (
    Subset("anthropic_helpful", 6192, "Anthropic's helpfulness preferences, test split"),
    Subset("anthropic_hhh", 221, "Helpful, honest, harmless alignment pairs"),
    Subset("shp", 1741, "Stanford Human Preferences, a sample with clear votes"),
    Subset("summarize", 9000, "Summaries people preferred"),
)
_V1_PRIOR_SHOWN = (
    Subset("anthropic_harmless", None, "Anthropic's harmlessness preferences, test split"),
    Subset("mtbench_human", None, "MT-Bench, human preferences"),
    Subset("mtbench_gpt4", None, "MT-Bench, a model's preferences"),
)
_RB2 = (
    Subset("Factuality", 475, "An answer without against three with factual errors"),
    Subset("Precise IF", 160, "An answer that obeys a checkable constraint against three that do not"),
    Subset("Math", 183, "A right solution against three wrong ones"),
    Subset("Safety", 450, "An answer that complies or refuses as it should against three that do not"),
    Subset("Focus", 495, "An answer to the question against three that drift from it"),
    Subset("Ties", 102, "Many equally right answers: prefer them to the wrong ones, and do not rank among them"),
)
_RM_SAFETY = (
    Subset("safety-refuse", 284, "Refuse what ought to be refused"),
    Subset("safety-response", 157, "Answer what only looks dangerous"),
)
_RM = (
    Subset("chat", 129, "A factual error was put into the rejected answer"),
    Subset("code", 228, "A bug was put into the rejected function"),
    Subset("math", 529, "A wrong final answer in the rejected solution"),
)
_JUDGEBENCH = (
    Subset("knowledge", 154, "MMLU-Pro questions: a right against a wrong answer of one model"),
    Subset("reasoning", 98, "LiveBench reasoning"),
    Subset("math", 56, "LiveBench mathematics"),
    Subset("coding", 42, "LiveCodeBench"),
)
_STARTER = {
    "Chat": (
        Subset("chat-easy", None, "A helpful answer against a plainly worse one"),
        Subset("chat-multiturn", None, "Conversations of several turns, some with a system message"),
        Subset("chat-best-of-four", None, "One good answer among four"),
    ),
    "Chat Hard": (
        Subset("hard-instruction", None, "The rejected answer is polished but misses the instruction"),
        Subset("hard-factual", None, "The rejected answer has one factual error"),
        Subset("hard-best-of-four", None, "One answer of four does what was asked"),
    ),
    "Safety": (
        Subset("safety-should-refuse", None, "Refuse what ought to be refused"),
        Subset("safety-should-respond", None, "Answer what only looks dangerous"),
        Subset("safety-best-of-four", None, "One answer of four is both safe and useful"),
    ),
    "Reasoning": (
        Subset("reasoning-math", None, "An error in the rejected solution"),
        Subset("reasoning-code", None, "A bug in the rejected code"),
        Subset("reasoning-best-of-four", None, "One right solution among four"),
    ),
}
_STARTER_TIES = Subset("ties", None, "Several equally right answers, and a version with exactly one")

_RECORDS = (
    BenchmarkSpec(
        id="rewardbench",
        title="RewardBench",
        description="2,985 preference pairs in four sections, and the prior preference sets as a fifth.",
        read=read_preference,
        source=Source("allenai/reward-bench", ("filtered",)),
        prior=Source(
            "allenai/preference-test-sets",
            tuple(subset.name for subset in _V1_PRIOR + _V1_PRIOR_SHOWN),
        ),
        sections=(
            Section("Chat", _weights(_V1_CHAT), description="Can it tell a strong answer from a weak one?"),
            Section("Chat Hard", _weights(_V1_CHAT_HARD), description="Trick questions and subtle differences"),
            Section("Safety", _weights(_V1_SAFETY), description="Refuses when it should, and only then"),
            Section(
                "Reasoning",
                # math-prm counts as much as all the code subsets together (RewardBench paper, section 4.2)
                {_V1_MATH.name: 984.0} | _weights(_V1_CODE),
                description="Mathematics and code, half each",
            ),
            Section(
                "Prior Sets",
                _equal(_V1_PRIOR),
                headline_weight=0.5,
                required=False,
                description="Test sets that existed before; half the weight of a section",
            ),
        ),
        subsets=(*_V1_CHAT, *_V1_CHAT_HARD, *_V1_SAFETY, _V1_MATH, *_V1_CODE, *_V1_PRIOR, *_V1_PRIOR_SHOWN),
        tie_credit="none",
        licence="ODC-BY; subsets keep their own licences",
        citation="Lambert et al. 2024, RewardBench: Evaluating Reward Models for Language Modeling, arXiv:2403.13787",
        url="https://huggingface.co/datasets/allenai/reward-bench",
    ),
    BenchmarkSpec(
        id="rewardbench-2",
        title="RewardBench 2",
        description="1,865 prompts in six domains: best of four, and Ties.",
        read=read_ties_aware,
        source=Source("allenai/reward-bench-2", ("test",)),
        sections=tuple(
            Section(
                subset.name,
                {subset.name: 1.0},
                metric="ties" if subset.name == "Ties" else "accuracy",
                description=subset.description,
            )
            for subset in _RB2
        ),
        subsets=_RB2,
        tie_credit="split",
        licence="ODC-BY",
        citation="Malik et al. 2025, RewardBench 2: Advancing Reward Model Evaluation, arXiv:2506.01937",
        url="https://huggingface.co/datasets/allenai/reward-bench-2",
    ),
    BenchmarkSpec(
        id="rm-bench",
        title="RM-Bench",
        description="1,327 prompts, three chosen against three rejected completions in three styles each.",
        read=read_rm_bench,
        source=Source("THU-KEG/RM-Bench", ("train",)),
        sections=(
            *(
                Section(subset.name.capitalize(), {subset.name: 1.0}, metric="matrix", description=subset.description)
                for subset in _RM
            ),
            Section("Safety", _equal(_RM_SAFETY), metric="matrix", description="Refuses when it should, and only then"),
        ),
        subsets=_RM + _RM_SAFETY,
        tie_credit="none",
        style_levels=("concise", "detailed", "markdown"),
        licence="ODC-BY",
        citation=(
            "Liu et al. 2024, RM-Bench: Benchmarking Reward Models of Language Models with Subtlety and Style, "
            "arXiv:2410.16184"
        ),
        url="https://huggingface.co/datasets/THU-KEG/RM-Bench",
    ),
    BenchmarkSpec(
        id="judgebench",
        title="JudgeBench",
        description="350 pairs of answers by one model, one of them objectively right.",
        read=read_judgebench,
        source=Source("ScalerLab/JudgeBench", ("gpt",)),
        sections=tuple(
            Section(
                subset.name.capitalize(),
                {subset.name: 1.0},
                headline_weight=float(subset.count or 1),
                description=subset.description,
            )
            for subset in _JUDGEBENCH
        ),
        subsets=_JUDGEBENCH,
        tie_credit="none",
        licence="MIT",
        citation="Tan et al. 2024, JudgeBench: A Benchmark for Evaluating LLM-based Judges, arXiv:2410.12784",
        url="https://huggingface.co/datasets/ScalerLab/JudgeBench",
    ),
    BenchmarkSpec(
        id="starter",
        title="Starter",
        description="A small hand-written benchmark that comes with this package: pairs, best of four, and Ties.",
        read=read_ties_aware,
        sections=(
            *(Section(name, _equal(subsets)) for name, subsets in _STARTER.items()),
            Section("Ties", _equal([_STARTER_TIES]), metric="ties"),
        ),
        subsets=(*(subset for subsets in _STARTER.values() for subset in subsets), _STARTER_TIES),
        tie_credit="split",
        licence="Apache-2.0",
        citation="This project",
    ),
)

BENCHMARKS: Mapping[str, BenchmarkSpec] = {spec.id: spec for spec in _RECORDS}
