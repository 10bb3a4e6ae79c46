"""Model records, and what a `--model` stands for: flag first, then record, then the checkpoint's own config.

Nothing is decided by a part of a model's name. A record is looked up by the whole name and only holds what a
checkpoint does not say of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from rb_core.errors import ModelError
from rb_core.models.chat_format import SystemRole
from rb_core.models.checkpoint import Checkpoint, base_checkpoint, locate, name_of
from rb_core.models.options import (
    DEFAULT_BETA,
    MODES,
    NO_OPTIONS,
    NOTHING_SAID,
    JudgeOptions,
    Kind,
    ModelOptions,
    Output,
    check_options,
    flag,
)
from rb_core.models.registry import RECORDS, ModelRecord


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


def resolve(model: str, options: ModelOptions = NO_OPTIONS) -> ModelSpec:
    """What a model's name or folder stands for, with its settings; "" stands for the panel that the options name.

    Raises ModelError when there is no such model, its kind is unclear, or an option does not fit.
    """
    check_options(options)
    if options.judge.judges or not model:
        return _panel(model, options)
    if options.judge.served:
        return _served(model, options)
    record = RECORDS.get(model)
    if record is not None and record.kind == "baseline":
        _check_baseline_options(options)
        return _spec(model, record.kind, Checkpoint(model, None, {}), record, options)
    checkpoint = locate(model, record, options.revision)
    adapter = None
    if "base_model_name_or_path" in checkpoint.config:
        adapter, checkpoint = checkpoint, base_checkpoint(model, checkpoint)
    kind = options.kind or (record.kind if record else _kind_of(model, checkpoint.config, options, adapter))
    name = model if record is not None and record.folder else name_of(model)
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
        reference = locate(options.reference, record, options.reference_revision, "--reference-revision")
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
