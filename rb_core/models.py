"""Model records, and what a `--model` stands for: flag first, then record, then the checkpoint's own config.

Nothing is decided by a part of a model's name. A record is looked up by the whole name and only holds what a
checkpoint does not say of itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from rb_core import judge_options
from rb_core.conversation import SystemRole
from rb_core.errors import ModelError, first_line, hub_errors
from rb_core.judge_options import MODES, NOTHING_SAID, VOTES, JudgeOptions, Mode, Vote, check_choice, flag

__all__ = [
    "ADAPTER_CONFIG",
    "DEFAULT_BETA",
    "DEVICES",
    "DTYPES",
    "KINDS",
    "MODES",
    "RECORDS",
    "REFERENCE_FREE",
    "VOTES",
    "Checkpoint",
    "JudgeOptions",
    "Kind",
    "Mode",
    "ModelOptions",
    "ModelRecord",
    "ModelSpec",
    "Output",
    "ReferenceFree",
    "Vote",
    "resolve",
]

Kind = Literal["classifier", "implicit", "generative", "baseline"]
KINDS: tuple[Kind, ...] = ("classifier", "implicit", "generative", "baseline")
# How the log-probabilities of a completion's tokens become a score where there is no reference model.
ReferenceFree = Literal["sum", "mean", "norm"]
REFERENCE_FREE: tuple[ReferenceFree, ...] = ("sum", "mean", "norm")
DEFAULT_BETA = 0.1
ADAPTER_CONFIG = "adapter_config.json"
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cuda", "mps", "cpu")

# A prompt and an answer as a sentence pair, the way the DeBERTa reward models were trained; the turns of a longer
# prompt are joined by blank lines.
_PAIR_TEMPLATE = (
    "{{ cls_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' and loop.last %}{{ sep_token }}{{ message['content'] }}{{ sep_token }}"
    "{%- else %}{{ message['content'] }}"
    "{%- if not loop.last and not (loop.revindex == 2 and loop.nextitem['role'] == 'assistant') %}{{ '\\n\\n' }}"
    "{%- endif %}{%- endif %}"
    "{%- endfor %}"
)


@dataclass(frozen=True)
class Output:
    """How the outputs of a head become one score: the sum of output x weight. None: the head has exactly one."""

    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return "single" if self.weights is None else "weights " + ",".join(f"{w:g}" for w in self.weights)


@dataclass(frozen=True)
class ModelRecord:
    """What is known of a model beyond its checkpoint."""

    name: str
    kind: Kind
    description: str = ""
    chat_template: str | None = None
    system_role: SystemRole = "native"
    output: Output = Output()
    max_length: int | None = None
    folder: str | None = None  # a package that holds the checkpoint


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


@dataclass(frozen=True)
class Checkpoint:
    """Where weights come from.

    location: hub id or folder; revision: hub commit, or `sha256:` and the digest of a folder's files; config: its
    config.json (of an adapter: adapter_config.json).
    """

    location: str
    revision: str | None
    config: Mapping[str, Any]

    @property
    def hub_revision(self) -> str | None:
        """The commit to load from the hub; None for a folder."""
        return None if Path(self.location).is_dir() else self.revision

    @property
    def name(self) -> str:
        """ORG/NAME on the hub; local/NAME for a folder, whose place on this machine is nobody's business."""
        return _name_of(self.location)


@dataclass(frozen=True)
class ModelSpec:
    """A model ready to be loaded.

    checkpoint: of a baseline, a served model or a panel only its name; adapter: a PEFT adapter to be put on the
    checkpoint; reference: what an implicit reward is measured against (equal to checkpoint: the same without the
    adapter), None without one; judges: the members of a panel.
    """

    name: str
    kind: Kind
    checkpoint: Checkpoint
    options: ModelOptions
    chat_template: str | None
    system_role: SystemRole
    output: Output
    lower_is_better: bool
    max_length: int | None
    adapter: Checkpoint | None = None
    reference: Checkpoint | None = None
    beta: float = 1.0
    judges: tuple[ModelSpec, ...] = ()


_RECORDS = (
    ModelRecord(
        "builtin/tiny-rm",
        "classifier",
        "A toy-size reward model that comes with this package: for demonstration and tests",
        folder="rb_core.builtin/tiny_rm",
    ),
    ModelRecord("baseline/longest", "baseline", "Prefers the completion with the most characters"),
    ModelRecord("baseline/shortest", "baseline", "Prefers the completion with the fewest characters"),
    ModelRecord("baseline/random", "baseline", "A number from the hash of seed, prompt and completion"),
    ModelRecord("baseline/constant", "baseline", "The same score for every completion: ties everywhere"),
    ModelRecord("baseline/prompt-overlap", "baseline", "The share of the completion's words that the prompt has"),
    ModelRecord(
        "Skywork/Skywork-Reward-V2-Qwen3-0.6B", "classifier", "A small, strong classifier on Qwen3", max_length=16384
    ),
    ModelRecord(
        "Skywork/Skywork-Reward-V2-Llama-3.1-8B", "classifier", "A strong classifier on Llama 3.1", max_length=16384
    ),
    ModelRecord(
        "Skywork/Skywork-Reward-Gemma-2-27B-v0.2",
        "classifier",
        "A classifier on Gemma 2, whose template refuses system messages",
        system_role="fold",
    ),
    ModelRecord(
        "OpenAssistant/reward-model-deberta-v3-large-v2",
        "classifier",
        "An encoder that reads prompt and answer as a sentence pair",
        chat_template=_PAIR_TEMPLATE,
        system_role="fold",
        max_length=512,
    ),
)

RECORDS: Mapping[str, ModelRecord] = {record.name: record for record in _RECORDS}


def resolve(model: str, options: ModelOptions = ModelOptions()) -> ModelSpec:
    """What a model's name or folder stands for, with its settings; "" stands for the panel that the options name.

    Raises ModelError when there is no such model, its kind is unclear, or an option does not fit.
    """
    _check_options(options)
    if options.judge.judges or not model:
        return _panel(model, options)
    if options.judge.served:
        return _served(model, options)
    record = RECORDS.get(model)
    if record is not None and record.kind == "baseline":
        _check_baseline_options(options)
        return _spec(model, record.kind, Checkpoint(model, None, {}), record, options)
    checkpoint = _locate(model, record, options.revision)
    adapter = None
    if "base_model_name_or_path" in checkpoint.config:
        adapter, checkpoint = checkpoint, _base_of(model, checkpoint)
    kind = options.kind or (record.kind if record else _kind_of(model, checkpoint.config, options, adapter))
    name = model if record is not None and record.folder else _name_of(model)
    spec = _spec(name, kind, checkpoint, record, options)
    if kind == "implicit":
        return _implicit(spec, adapter)
    return _checked_judge(spec, adapter) if kind == "generative" else _checked_classifier(spec, adapter)


def _spec(
    name: str, kind: Kind, checkpoint: Checkpoint, record: ModelRecord | None, options: ModelOptions
) -> ModelSpec:
    record = record or ModelRecord(name, kind)
    return ModelSpec(
        name=options.name or name,
        kind=kind,
        checkpoint=checkpoint,
        options=options,
        chat_template=options.chat_template or record.chat_template,
        system_role="fold" if options.fold_system else record.system_role,
        output=_output(options) or record.output,
        lower_is_better=options.lower_is_better,
        max_length=options.max_length or record.max_length,
    )


_IMPLICIT_OPTIONS = ("reference", "reference_revision", "beta", "reference_free")
_CLASSIFIER_OPTIONS = ("output_index", "output_weights", "lower_is_better")
_SERVER_OPTIONS = (
    *("structured", "concurrency", "deadline"),
    *("price_prompt", "price_completion", "max_cost", "max_tokens_total"),
)
_CHECKPOINT_OPTIONS = (
    *("revision", "dtype", "device", "max_length", "chat_template", "batch_tokens", "device_map"),
    *_IMPLICIT_OPTIONS,
    *_CLASSIFIER_OPTIONS,
)


def _refuse(options: ModelOptions, names: Sequence[str], kind: str) -> None:
    """What says nothing of this kind of model is refused rather than ignored."""
    if said := _said(options, names):
        raise ModelError(f"{said} says nothing of a model of kind {kind}")


def _refuse_judge(options: ModelOptions, kind: str) -> None:
    if said := _said(options.judge, [option.name for option in fields(JudgeOptions)]):
        raise ModelError(f"{said} says how a generative judge is asked; the model is of kind {kind}")


def _said(options: ModelOptions | JudgeOptions, names: Sequence[str]) -> str | None:
    """The first of these options that was given, as it is typed; None where none was."""
    default = type(options)()
    return next((flag(name) for name in names if getattr(options, name) != getattr(default, name)), None)


def _served(model: str, options: ModelOptions) -> ModelSpec:
    """A judge that answers from a server, which alone knows what stands behind the name."""
    if options.kind not in (None, "generative"):
        raise ModelError(f"--base-url and --provider ask a generative judge; not one of kind {options.kind}")
    if options.judge.base_url is not None and options.judge.provider is not None:
        raise ModelError("give either --base-url or --provider, not both")
    if model.startswith(("baseline/", "builtin/")):
        raise ModelError(f"{model} is a name of this package's own: give the server's model another with --name")
    _refuse(options, _CHECKPOINT_OPTIONS, "generative that a server answers for")
    record = ModelRecord(model, "generative")
    return _spec(model, "generative", Checkpoint(model, None, {}), record, _with_mode(options))


def _checked_judge(spec: ModelSpec, adapter: Checkpoint | None) -> ModelSpec:
    """A judge that is loaded here."""
    _refuse(spec.options, (*_IMPLICIT_OPTIONS, *_CLASSIFIER_OPTIONS), spec.kind)
    if said := _said(spec.options.judge, _SERVER_OPTIONS):
        raise ModelError(f"{said} says something of a server: give it with --base-url or --provider")
    if adapter is not None:
        raise ModelError(f"{spec.name} is an adapter; a judge is loaded as one checkpoint: merge it into its base")
    return replace(spec, options=_with_mode(spec.options))


def _panel(model: str, options: ModelOptions) -> ModelSpec:
    """Several judges that are asked alike, as one model."""
    if model and options.judge.judges:
        raise ModelError("give either --model or --judges, not both")
    if len(options.judge.judges) < 2:
        raise ModelError("give --model, or at least two --judges for a panel")
    for name, said in (("revision", options.revision), ("author", options.judge.author)):
        if said is not None:
            raise ModelError(f"{flag(name)} is of one model, and --judges names several")
    options = _with_mode(options)
    alone = replace(options, name=None, kind="generative", judge=replace(options.judge, judges=(), vote=None))
    members = tuple(_member(judge, alone) for judge in options.judge.judges)
    names = [member.name for member in members]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ModelError(f"--judges names {', '.join(sorted(repeated))} twice")
    name = "panel/" + "+".join(member.name.rpartition("/")[2] for member in members)
    options = replace(options, judge=replace(options.judge, vote=options.judge.vote or "majority"))
    spec = _spec(name, "generative", Checkpoint(name, None, {}), ModelRecord(name, "generative"), options)
    return replace(spec, judges=members)


def _member(judge: str, options: ModelOptions) -> ModelSpec:
    """A judge of a panel: NAME, or NAME@BASE_URL where each has a server of its own."""
    name, at, base_url = judge.partition("@http")
    if not name:
        raise ModelError("--judges names a server without a model: write MODEL@BASE_URL")
    if at:
        options = replace(options, judge=replace(options.judge, base_url=f"http{base_url}"))
    return resolve(name, options)


def _with_mode(options: ModelOptions) -> ModelOptions:
    """The options with what a judge does unless it is told otherwise."""
    return replace(options, kind="generative", judge=replace(options.judge, mode=options.judge.mode or "pairwise"))


def _checked_classifier(spec: ModelSpec, adapter: Checkpoint | None) -> ModelSpec:
    _refuse(spec.options, _IMPLICIT_OPTIONS, spec.kind)
    _refuse_judge(spec.options, spec.kind)
    if adapter is not None:
        raise ModelError(
            f"{spec.name} is an adapter; a classifier is scored as one checkpoint: merge the adapter into its base"
        )
    return spec


def _implicit(spec: ModelSpec, adapter: Checkpoint | None) -> ModelSpec:
    """The spec with its reference: the one that is named, or the base of an adapter."""
    options = spec.options
    _refuse(options, _CLASSIFIER_OPTIONS, spec.kind)
    _refuse_judge(options, spec.kind)
    if options.reference_free is not None:
        _refuse(options, ("reference", "reference_revision", "beta"), f"implicit, {options.reference_free} without one")
        return replace(spec, adapter=adapter)
    if options.reference is not None:
        record = RECORDS.get(options.reference)
        reference = _locate(options.reference, record, options.reference_revision, "--reference-revision")
        if "base_model_name_or_path" in reference.config:
            raise ModelError(f"--reference {options.reference} is an adapter; give a whole checkpoint")
    elif adapter is not None and options.reference_revision is None:
        reference = spec.checkpoint
    else:
        raise ModelError(
            f"{spec.name}: an implicit reward is measured against the model the training started from: give it with "
            "--reference, or say --reference-free sum, mean or norm"
        )
    beta = DEFAULT_BETA if options.beta is None else options.beta
    return replace(spec, adapter=adapter, reference=reference, beta=beta)


def _check_options(options: ModelOptions) -> None:
    """Raise ModelError for the first option whose value makes no sense by itself or beside another."""
    _check_numbers(options)
    judge_options.check(options.judge)
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


def _check_baseline_options(options: ModelOptions) -> None:
    """A baseline has no checkpoint: what only makes sense for one is refused rather than ignored."""
    _refuse_judge(options, "baseline")
    allowed = ("name", "dtype", "device", "batch_tokens")
    if said := _said(options, [option.name for option in fields(options) if option.name not in allowed]):
        raise ModelError(f"{said} says something of a checkpoint; a baseline has none")


def _output(options: ModelOptions) -> Output | None:
    if options.output_weights is not None:
        return Output(options.output_weights)
    if options.output_index is not None:
        return Output((*[0.0] * options.output_index, 1.0))
    return None


def _locate(model: str, record: ModelRecord | None, revision: str | None, flag: str = "--revision") -> Checkpoint:
    """Where the checkpoint of that name is, at which revision, and its config."""
    if model.startswith("baseline/") or (record is None and model.startswith("builtin/")):
        known = ", ".join(name for name in RECORDS if name.startswith(("baseline/", "builtin/")))
        raise ModelError(f"unknown model {model!r}: choose one of {known}")
    if record is not None and record.folder is not None:
        package, _, folder = record.folder.partition("/")
        path = Path(str(resources.files(package))) / folder
        if not path.is_dir():  # its name must never be looked up on the hub
            raise ModelError(f"{model} is not part of this installation: {path} is missing")
    else:
        path = Path(model).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ModelError(f"{flag} names a commit on the hub; {model!r} is a folder")
        return Checkpoint(str(path), "sha256:" + _folder_digest(path), _folder_config(path))
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{model!r} is neither a folder nor a hub id (ORG/NAME)")
    return _locate_on_hub(model, revision)


def _base_of(model: str, adapter: Checkpoint) -> Checkpoint:
    """The checkpoint that an adapter says it belongs to."""
    base = adapter.config["base_model_name_or_path"]
    if not isinstance(base, str) or not base:
        raise ModelError(f"{model}: {ADAPTER_CONFIG} names no base model")
    revision = None if Path(base).expanduser().is_dir() else adapter.config.get("revision")
    return _locate(base, RECORDS.get(base), revision or None)


def _locate_on_hub(model: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, hf_hub_download

    try:
        info = HfApi().model_info(model, revision=revision)
        files = {sibling.rfilename for sibling in info.siblings or ()}
        file = _config_file(model, files)
        config = json.loads(Path(hf_hub_download(model, file, revision=info.sha)).read_text(encoding="utf-8"))
    except hub_errors() as error:
        raise ModelError(
            f"model {model} is no folder here and cannot be reached on the hub ({first_line(error)}): "
            "check the name, the revision and the connection"
        ) from error
    return Checkpoint(model, info.sha, _checked_config(f"{model}: {file}", config))


def _config_file(model: str, files: Collection[str]) -> str:
    """Which of its files says what it is. Raises ModelError when it says to be a whole model and an adapter."""
    if ADAPTER_CONFIG not in files:
        return "config.json"
    if "config.json" in files:
        raise ModelError(
            f"{model} has a config.json and an {ADAPTER_CONFIG}: transformers would load the one and put the other on "
            "it without a word; take one of them away"
        )
    return ADAPTER_CONFIG


def _checked_config(place: str, config: Any) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise ModelError(f"{place}: expected an object")
    return config


def _folder_config(path: Path) -> Mapping[str, Any]:
    file = path / _config_file(str(path), {each.name for each in path.iterdir()})
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no config.json; this is not the folder of a model") from None
    except ValueError as error:
        raise ModelError(f"{file}: not readable JSON: {error}") from error
    return _checked_config(str(file), config)


def _folder_digest(path: Path) -> str:
    """SHA-256 over names and contents of the files a model is loaded from."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in (".safetensors", ".json", ".model", ".txt", ".jinja"):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _kind_of(model: str, config: Mapping[str, Any], options: ModelOptions, adapter: Checkpoint | None) -> Kind:
    """What a config's architecture says: a classifier; a language model if it is said, or clear, what its reward is
    measured against."""
    architectures = [str(name) for name in config.get("architectures") or []]
    if any(name.endswith("ForSequenceClassification") for name in architectures):
        return "classifier"
    found = ", ".join(architectures) or "no architecture"
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures):
        if options.reference is not None or options.reference_free is not None or adapter is not None:
            return "implicit"
        if options.judge != NOTHING_SAID:
            return "generative"
        raise ModelError(
            f"{model}: its config names {found}, a language model; for its implicit reward say --kind implicit with "
            "--reference, the model its training started from, or with --reference-free sum, mean or norm; to ask it "
            f"as a judge say --mode {', '.join(MODES[:-1])} or {MODES[-1]}"
        )
    raise ModelError(
        f"{model}: its config names {found}, not a sequence classifier; "
        "if it has a reward head that transformers can load as one, say --kind classifier"
    )


def _name_of(model: str) -> str:
    path = Path(model).expanduser()
    if path.is_dir():
        return "local/" + "".join(c if c.isalnum() or c in "._-+" else "-" for c in path.resolve().name)
    return model
