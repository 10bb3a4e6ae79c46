"""Find the model that a name stands for, and its settings: options first, then its record, then its checkpoint.

Nothing is decided by a part of a model's name. A record is looked up by the whole name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rb_core.errors import ModelError, quoted
from rb_core.models.chat_format import ChatFormat, SystemRole
from rb_core.models.checkpoint import (
    ADAPTER_CONFIG,
    Checkpoint,
    base_checkpoint,
    locate,
    value_head_prefix,
    weight_shapes,
)
from rb_core.models.options import (
    DEFAULT_BETA,
    DEFAULT_RESULTS,
    MODES,
    JudgeOptions,
    Kind,
    ModelOptions,
    Output,
    Target,
    check_applicable,
    check_options,
    flag,
)
from rb_core.models.registry import RECORDS, ModelRecord
from rb_core.models.step_format import StepFormat

_TARGETS: Mapping[Kind, Target] = {
    "classifier": "classifier",
    "value-head": "value-head model",
    "gated": "gated model",
    "token": "token model",
    "process": "process reward model",
    "implicit": "implicit-reward model",
    "generative": "local judge",
}
TWO_LAYER_PROCESS = "Qwen2ForProcessRewardModel"  # of Qwen/Qwen2.5-Math-PRM
PROCESS_ARCHITECTURES = ("ForTokenClassification", TWO_LAYER_PROCESS)  # ends of their names
GATED_ARCHITECTURE = "LlamaForRewardModelWithGating"  # of RLHFlow/ArmoRM-Llama3-8B-v0.1
# The kinds that an adapter of a task can have.
_KINDS_OF_TASKS: Mapping[str, tuple[Kind, ...]] = {
    "SEQ_CLS": ("classifier",),
    "CAUSAL_LM": ("implicit", "value-head", "gated", "token", "process", "generative"),
}


@dataclass(frozen=True)
class ModelSpec:
    """A model that is ready to be loaded."""

    name: str
    kind: Kind
    checkpoint: Checkpoint  # only a name for baselines, custom scorers, judges on a server, panels and ensembles
    options: ModelOptions
    chat_template: str | None
    system_role: SystemRole
    output: Output
    lower_is_better: bool
    max_length: int | None
    adapter: Checkpoint | None = None  # PEFT adapter to be put on the checkpoint
    # Reference of an implicit reward, None without one. Equal to `checkpoint`: the checkpoint without its adapter.
    reference: Checkpoint | None = None
    beta: float = 1.0
    members: tuple[ModelSpec, ...] = ()  # judges of a panel, models of an ensemble
    served_name: str = ""  # of a remote model: its name for the server

    def chat_format(self, tokenizer: Any, max_length: int, *, sanitize: bool = False) -> ChatFormat:
        """Return the model's chat format. Raises ModelError when there is no template, or several and none chosen."""
        make = (
            partial(StepFormat, separator=self.options.step_separator or "") if self.kind == "process" else ChatFormat
        )
        return make(
            tokenizer,
            max_length,
            self.chat_template,
            self.system_role,
            sanitize=sanitize,
            template_name=self.options.template_name,
            variables=self.options.template_vars or {},
            question=self.options.question,
            generation_prompt=self.options.generation_prompt or self.options.question is not None,
        )


def resolve(model: str, options: ModelOptions | None = None) -> ModelSpec:
    """Return the model of a name or folder with its settings; without a name, what the options name instead.

    Raises ModelError when there is no such model, its kind is unclear, or an option does not apply to it.
    """
    options = options or ModelOptions()
    check_options(options)
    if options.scorer is not None:
        return _custom_scorer(model, options)
    if options.ensemble:
        return _ensemble(model, options)
    if options.judge.judges or not model:
        return _panel(model, options)
    if options.url is not None:
        return _remote_model(model, options)
    if options.judge.served:
        return _served_judge(model, options)
    record = RECORDS.get(model)
    if record is not None and record.kind == "baseline":
        check_applicable(options, "baseline")
        return _spec(model, record.kind, Checkpoint(model, None, {}), record, options)
    adapter, checkpoint = None, locate(model, record, options.revision)
    if checkpoint.is_adapter:
        adapter, checkpoint = checkpoint, base_checkpoint(checkpoint)
    kind = _kind(model, checkpoint, adapter, record, options)
    check_applicable(options, _TARGETS[kind])
    name = model if record is not None and record.folder else (adapter or checkpoint).name
    if kind == "generative":
        options = _as_judge(options)
    spec = replace(_spec(name, kind, checkpoint, record, options), adapter=adapter)
    if kind == "implicit":
        return _with_reference(spec)
    _check_declared(name, kind, options)
    if adapter is not None and kind == "generative":
        raise ModelError(f"{name} is an adapter; a judge is loaded as one checkpoint: merge it into its base")
    return spec


def _spec(
    name: str, kind: Kind, checkpoint: Checkpoint, record: ModelRecord | None, options: ModelOptions
) -> ModelSpec:
    record = record or ModelRecord(name, kind)
    output = record.output
    if options.output_weights is not None:
        output = Output(options.output_weights)
    elif options.output_index is not None:
        output = Output((*[0.0] * options.output_index, 1.0))
    return ModelSpec(
        name=options.name or name,
        kind=kind,
        checkpoint=checkpoint,
        options=options,
        chat_template=options.chat_template or (None if options.template_name else record.chat_template),
        system_role="fold" if options.fold_system else record.system_role,
        output=output,
        lower_is_better=options.lower_is_better,
        max_length=options.max_length or record.max_length,
    )


def _kind(
    model: str, checkpoint: Checkpoint, adapter: Checkpoint | None, record: ModelRecord | None, options: ModelOptions
) -> Kind:
    """Return the kind by the options, the record, or what the checkpoint declares.

    Raises ModelError when the checkpoint declares another kind than the options, or none.
    """
    task = None if adapter is None else adapter.config.get("task_type")
    if options.kind is None and (adapter or checkpoint).value_head is not None:
        return "value-head"
    if task is not None:
        kinds = _KINDS_OF_TASKS.get(task)
        if kinds is None:
            raise ModelError(
                f"{model}: its {ADAPTER_CONFIG} declares the task {quoted(task)}; only adapters for "
                f"{' and '.join(_KINDS_OF_TASKS)} can be scored"
            )
        if options.kind not in (None, *kinds):
            raise ModelError(
                f"{model}: its {ADAPTER_CONFIG} declares the task {task}, which is not of the kind {options.kind}"
            )
        if kinds == ("classifier",):
            return "classifier"
    is_process = any(name.endswith(PROCESS_ARCHITECTURES) for name in checkpoint.architectures)
    if is_process and options.kind not in (None, "process"):
        raise ModelError(
            f"{model}: its config names {', '.join(checkpoint.architectures)}, a process reward model, which is not of "
            f"the kind {options.kind}"
        )
    if options.kind is not None:
        return options.kind
    return record.kind if record else _declared_kind(model, checkpoint, adapter, options)


def _declared_kind(model: str, checkpoint: Checkpoint, adapter: Checkpoint | None, options: ModelOptions) -> Kind:
    """Return the kind by the config's architecture; for a language model, by options, adapter, or a value head among
    its weights."""
    architectures = checkpoint.architectures
    if any(name.endswith("ForSequenceClassification") for name in architectures):
        return "classifier"
    if GATED_ARCHITECTURE in architectures:
        return "gated"
    if any(name.endswith(PROCESS_ARCHITECTURES) for name in architectures):
        return "process"
    named = ", ".join(architectures) or "no architecture"
    is_language_model = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures)
    if is_language_model:
        if options.step_separator is not None:
            return "process"
        if options.reward_tokens:
            return "token"
        if options.reference is not None or options.reference_free is not None or adapter is not None:
            return "implicit"
        if options.judge != JudgeOptions():
            return "generative"
    if value_head_prefix(checkpoint.config, weight_shapes(checkpoint)) is not None:
        return "value-head"
    if not is_language_model:
        raise ModelError(
            f"{model}: its config names {named}, not a sequence classifier; if it has a reward head that transformers "
            "can load as one, pass --kind classifier; if it has a value head, pass --kind value-head"
        )
    raise ModelError(
        f"{model}: its config names {named}, a language model. For its implicit reward, pass --reference with the "
        "model that its training started from, or --reference-free sum, mean or norm. For a reward that is a token's "
        "logit, or the log-odds of two tokens, pass --token or --tokens. To ask it as a judge, pass "
        f"--mode {', '.join(MODES[:-1])} or {MODES[-1]}"
    )


def _check_declared(name: str, kind: Kind, options: ModelOptions) -> None:
    """Raise ModelError unless the options declare what cannot be found in a checkpoint of this kind."""
    if kind == "token" and not options.reward_tokens:
        raise ModelError(f"{name}: which token is its reward? Pass --token TEXT, or --tokens YES,NO for their log-odds")
    if kind == "process" and options.step_separator is None:
        raise ModelError(
            f"{name} is a process reward model: give the text that follows each step, at which its score is read, with "
            r"--step-separator, such as '<extra_0>' or '\n\n'"
        )


def _with_reference(spec: ModelSpec) -> ModelSpec:
    """Return the spec of an implicit reward with its reference: the one in the options, or the base of an adapter."""
    options = spec.options
    if options.reference_free is not None:
        return spec
    if options.reference is not None:
        record = RECORDS.get(options.reference)
        reference = locate(options.reference, record, options.reference_revision, "--reference-revision")
        if reference.is_adapter:
            raise ModelError(f"--reference {options.reference} is an adapter; give a whole checkpoint")
    elif spec.adapter is not None and options.reference_revision is None:
        reference = spec.checkpoint
    else:
        raise ModelError(
            f"{spec.name}: an implicit reward needs a reference model: pass --reference with the model that its "
            "training started from, or --reference-free sum, mean or norm"
        )
    return replace(spec, reference=reference, beta=DEFAULT_BETA if options.beta is None else options.beta)


def _custom_scorer(model: str, options: ModelOptions) -> ModelSpec:
    """Return the scorer that --scorer names: the location of its checkpoint is MODULE:OBJECT."""
    if model:
        raise ModelError("give either --model or --scorer, not both")
    check_applicable(options, "custom scorer")
    location = options.scorer or ""
    name = "custom/" + location.rpartition(":")[2]
    return _spec(name, "custom", Checkpoint(location, None, {}), None, options)


def _ensemble(model: str, options: ModelOptions) -> ModelSpec:
    """Return several models that the other options apply to, as one model."""
    if model:
        raise ModelError("give either --model or --ensemble, not both")
    if len(options.ensemble) < 2:
        raise ModelError("--ensemble needs at least two models: A,B,...")
    if options.scale_by is None:
        raise ModelError("--ensemble needs --scale-by with a benchmark on which every member was evaluated")
    if options.revision is not None:
        raise ModelError("--revision applies to a single model, and --ensemble names several")
    if options.judge.judges:
        raise ModelError("give either --ensemble or --judges, not both")
    member_options = replace(options, name=None, ensemble=(), combine=None, lambda_=None, scale_by=None)
    member_options = replace(member_options, scale_results=DEFAULT_RESULTS, threshold=None)
    members = tuple(resolve(member, member_options) for member in options.ensemble)
    for member in members:
        if member.kind == "generative":
            raise ModelError(f"--ensemble: {member.name} is a judge: combine judges with --judges")
    name = _joined_name("ensemble", members, "--ensemble")
    return replace(_spec(name, "ensemble", Checkpoint(name, None, {}), None, options), members=members)


def _joined_name(prefix: str, members: Sequence[ModelSpec], option: str) -> str:
    """Return PREFIX/A+B+C. Raises ModelError, naming the option, if a member is there twice."""
    names = [member.name for member in members]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ModelError(f"{option} names {', '.join(sorted(repeated))} twice")
    return f"{prefix}/" + "+".join(name.rpartition("/")[2] for name in names)


def _served_judge(model: str, options: ModelOptions) -> ModelSpec:
    if model.startswith(("baseline/", "builtin/")):
        raise ModelError(f"{model} is the name of a model of this package: name the server's model in another way")
    options = _as_judge(options)
    check_applicable(options, "served judge")
    return _spec(model, "generative", Checkpoint(model, None, {}), None, options)


def _remote_model(model: str, options: ModelOptions) -> ModelSpec:
    """Return a reward model behind a server, with the checkpoint whose tokenizer and template write its input."""
    if options.kind is not None:
        raise ModelError("--url names a reward model behind a server: leave --kind out")
    if model.startswith("baseline/"):
        raise ModelError(f"{model} is a baseline of this package: name the server's model with --model")
    check_applicable(options, "remote model")
    named = options.tokenizer or model
    try:
        checkpoint = locate(named, RECORDS.get(named), options.revision)
    except ModelError as error:
        advice = "" if options.tokenizer else "; give the folder or hub id of the model's tokenizer with --tokenizer"
        raise ModelError(f"{error}{advice}") from error
    if checkpoint.is_adapter:
        checkpoint = base_checkpoint(checkpoint)
    return replace(_spec(model, "remote", checkpoint, RECORDS.get(named), options), served_name=model)


def _panel(model: str, options: ModelOptions) -> ModelSpec:
    """Return several judges that are asked in the same way, as one model."""
    if model and options.judge.judges:
        raise ModelError("give either --model or --judges, not both")
    if len(options.judge.judges) < 2:
        raise ModelError("give --model, --scorer, --ensemble, or at least two --judges for a panel")
    for name, value in (("revision", options.revision), ("author", options.judge.author)):
        if value is not None:
            raise ModelError(f"{flag(name)} applies to a single model, and --judges names several")
    options = _as_judge(options)
    member_options = replace(options, name=None, judge=replace(options.judge, judges=(), vote=None))
    members = tuple(_panel_member(judge, member_options) for judge in options.judge.judges)
    name = _joined_name("panel", members, "--judges")
    options = replace(options, judge=replace(options.judge, vote=options.judge.vote or "majority"))
    return replace(_spec(name, "generative", Checkpoint(name, None, {}), None, options), members=members)


def _panel_member(judge: str, options: ModelOptions) -> ModelSpec:
    """Return the judge of NAME or NAME@BASE_URL."""
    name, at, address = judge.partition("@http")
    if not name:
        raise ModelError("--judges names a server without a model: write MODEL@BASE_URL")
    if at:
        options = replace(options, judge=replace(options.judge, base_url=f"http{address}"))
    return resolve(name, options)


def _as_judge(options: ModelOptions) -> ModelOptions:
    """Return the options with the defaults of a judge filled in."""
    if options.kind not in (None, "generative"):
        raise ModelError(f"--kind is {options.kind}; --base-url, --provider and --judges name a generative judge")
    return replace(options, kind="generative", judge=replace(options.judge, mode=options.judge.mode or "pairwise"))
