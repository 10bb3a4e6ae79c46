"""Model records, and what a `--model` stands for: flag first, then record, then the checkpoint's own config.

Nothing is decided by a part of a model's name. A record is looked up by the whole name and only holds what a
checkpoint does not say of itself.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from rb_core.conversation import SystemRole
from rb_core.errors import ModelError, first_line, hub_errors

Kind = Literal["classifier", "baseline"]
KINDS: tuple[Kind, ...] = ("classifier", "baseline")
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
    batch_tokens: int = 8192


@dataclass(frozen=True)
class ModelSpec:
    """A model ready to be loaded.

    location: hub id, folder, or a baseline's name; revision: hub commit, or `sha256:` and the digest of a folder's
    files; config: the checkpoint's config.json, empty for a baseline.
    """

    name: str
    kind: Kind
    location: str
    revision: str | None
    config: Mapping[str, Any]
    options: ModelOptions
    chat_template: str | None
    system_role: SystemRole
    output: Output
    lower_is_better: bool
    max_length: int | None

    @property
    def hub_revision(self) -> str | None:
        """The commit to load from the hub; None for a folder."""
        return None if Path(self.location).is_dir() else self.revision


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
    """What a model's name or folder stands for, with its settings.

    Raises ModelError when there is no such model, its kind is unclear, or an option does not fit.
    """
    _check_options(options)
    record = RECORDS.get(model)
    if record is None and model.startswith(("baseline/", "builtin/")):
        known = ", ".join(name for name in RECORDS if name.startswith(("baseline/", "builtin/")))
        raise ModelError(f"unknown model {model!r}: choose one of {known}")
    if record is not None and record.kind == "baseline":
        _check_baseline_options(options)
        return _spec(record.name, record.kind, model, None, {}, record, options)
    location, revision, config = _locate(model, record, options)
    kind = options.kind or (record.kind if record else _kind_of(model, config))
    name = model if record is not None and record.folder else _name_of(model, location)
    return _spec(name, kind, location, revision, config, record, options)


def _spec(
    name: str,
    kind: Kind,
    location: str,
    revision: str | None,
    config: Mapping[str, Any],
    record: ModelRecord | None,
    options: ModelOptions,
) -> ModelSpec:
    record = record or ModelRecord(name, kind)
    return ModelSpec(
        name=options.name or name,
        kind=kind,
        location=location,
        revision=revision,
        config=config,
        options=options,
        chat_template=options.chat_template or record.chat_template,
        system_role="fold" if options.fold_system else record.system_role,
        output=_output(options) or record.output,
        lower_is_better=options.lower_is_better,
        max_length=options.max_length or record.max_length,
    )


def _check_options(options: ModelOptions) -> None:
    if options.dtype not in DTYPES:
        raise ModelError(f"unknown dtype {options.dtype!r}: choose one of {', '.join(DTYPES)}")
    if options.device.split(":")[0] not in DEVICES:
        raise ModelError(f"unknown device {options.device!r}: choose one of {', '.join(DEVICES)}")
    _, colon, number = options.device.partition(":")
    if colon and not number.isdecimal():
        raise ModelError(f"unknown device {options.device!r}: a number follows the colon, as in cuda:0")
    if options.output_weights is not None and not all(map(math.isfinite, options.output_weights)):
        raise ModelError("--output-weights has a number that is not finite")
    if options.max_length is not None and options.max_length < 1:
        raise ModelError(f"--max-length is {options.max_length}; it must be at least 1")
    if options.batch_tokens < 1:
        raise ModelError(f"--batch-tokens is {options.batch_tokens}; it must be at least 1")
    if options.kind is not None and options.kind not in KINDS:
        raise ModelError(f"unknown kind {options.kind!r}: choose one of {', '.join(KINDS)}")
    if options.output_index is not None and options.output_weights is not None:
        raise ModelError("give either --output-index or --output-weights, not both")
    if options.output_index is not None and options.output_index < 0:
        raise ModelError(f"--output-index is {options.output_index}; outputs are counted from 0")


def _check_baseline_options(options: ModelOptions) -> None:
    """A baseline has no checkpoint: what only makes sense for one is refused rather than ignored."""
    for option in fields(options):
        allowed = option.name in ("name", "dtype", "device", "batch_tokens")
        if not allowed and getattr(options, option.name) != option.default:
            raise ModelError(f"--{option.name.replace('_', '-')} says something of a checkpoint; a baseline has none")


def _output(options: ModelOptions) -> Output | None:
    if options.output_weights is not None:
        return Output(options.output_weights)
    if options.output_index is not None:
        return Output((*[0.0] * options.output_index, 1.0))
    return None


def _locate(model: str, record: ModelRecord | None, options: ModelOptions) -> tuple[str, str | None, Mapping[str, Any]]:
    """Folder or hub id, revision, and the checkpoint's config."""
    if record is not None and record.folder is not None:
        package, _, folder = record.folder.partition("/")
        path = Path(str(resources.files(package))) / folder
        if not path.is_dir():  # its name must never be looked up on the hub
            raise ModelError(f"{model} is not part of this installation: {path} is missing")
    else:
        path = Path(model).expanduser()
    if path.is_dir():
        if options.revision is not None:
            raise ModelError(f"--revision names a commit on the hub; {model!r} is a folder")
        return str(path), "sha256:" + _folder_digest(path), _folder_config(path)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{model!r} is neither a folder nor a hub id (ORG/NAME)")
    return _locate_on_hub(model, options.revision)


def _locate_on_hub(model: str, revision: str | None) -> tuple[str, str | None, Mapping[str, Any]]:
    from huggingface_hub import HfApi, hf_hub_download

    try:
        commit = HfApi().model_info(model, revision=revision).sha
        config = json.loads(Path(hf_hub_download(model, "config.json", revision=commit)).read_text(encoding="utf-8"))
    except hub_errors() as error:
        raise ModelError(
            f"model {model} is no folder here and cannot be reached on the hub ({first_line(error)}): "
            "check the name, the revision and the connection"
        ) from error
    return model, commit, _checked_config(f"{model}: config.json", config)


def _checked_config(place: str, config: Any) -> Mapping[str, Any]:
    if not isinstance(config, dict):
        raise ModelError(f"{place}: expected an object")
    return config


def _folder_config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no config.json; this is not the folder of a model") from None
    except ValueError as error:
        raise ModelError(f"{path / 'config.json'}: not readable JSON: {error}") from error
    return _checked_config(str(path / "config.json"), config)


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


def _kind_of(model: str, config: Mapping[str, Any]) -> Kind:
    architectures = config.get("architectures") or []
    if any(str(name).endswith("ForSequenceClassification") for name in architectures):
        return "classifier"
    found = ", ".join(map(str, architectures)) or "no architecture"
    raise ModelError(
        f"{model}: its config names {found}, not a sequence classifier; "
        "if it has a reward head that transformers can load as one, say --kind classifier"
    )


def _name_of(model: str, location: str) -> str:
    if Path(location).is_dir():
        folder = Path(location).resolve().name
        return "local/" + "".join(c if c.isalnum() or c in "._-+" else "-" for c in folder)
    return model
