"""The commands that reproduce a result."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from rb_core.leaderboard.hub_links import REWARD_BENCH_DATASETS, HubPlace, source_files
from rb_core.models.options import REFERENCE_FREE, SERVER_APIS, JudgeOptions, Kind, ModelOptions, command_line_options
from rb_core.results.judge_records import JudgeRef
from rb_core.results.schema import EnsembleRef, ModelRef, Result, kind_label
from rb_core.scorers.judge.prompt_templates import load_template

SERVER = "http://SERVER/v1"  # placeholder for the address of a judge's server
REWARD_SERVER = "http://SERVER"  # and for that of a reward model
OUT = ("--out", "mine")
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ABSOLUTE_PATH = re.compile(r"(?:[A-Za-z]:)?[/\\~].*[/\\](?P<name>[^/\\]+)[/\\]?")
# Purpose and options of an evaluation of a published model, by the kinds that `evaluate` can load.
_EVALUATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "classifier": ("Evaluate the model", ()),
    "implicit": (
        "Evaluate the model, with the reference that its training started from",
        ("--kind", "implicit", "--reference", "ORG/BASE"),
    ),
    "generative": (
        "Evaluate the model as a judge on a server, with the prompts of this package",
        ("--kind", "generative", "--mode", "pairwise", "--base-url", SERVER),
    ),
}


class ReproduceCommand(NamedTuple):
    """A command line and its purpose."""

    purpose: str
    command: str


def reproduce_commands(result: Result, hub: HubPlace | None) -> list[ReproduceCommand]:
    """Return the commands that reproduce a result. hub: the place of the results, None for those of a folder."""
    if result.status == "run":
        commands = [_command("Score again with the recorded options", "evaluate", *_evaluate_arguments(result), *OUT)]
        if hub:
            commands.append(_command("Recompute the numbers from the scores on the hub", "verify", *_at(hub)))
        else:
            commands.append(_command("Recompute the numbers in the folder that you wrote", "verify", "mine"))
        return commands
    commands = [_import_command(result)]
    if hub:
        pull = ("sync", "pull", *_at(hub), "--out", "pulled")
        commands.insert(0, _command("Download all results of the repository", *pull))
    if result.model.kind in _EVALUATIONS and "/" in result.model.name:
        purpose, options = _EVALUATIONS[result.model.kind]
        names = ("--model", result.model.name, "--benchmark", result.benchmark.id)
        commands.append(_command(purpose, "evaluate", *names, *options, *OUT))
    return commands


def _command(purpose: str, *arguments: str) -> ReproduceCommand:
    # Everything is quoted: names and options come from files that others wrote.
    return ReproduceCommand(purpose, "python -m rb_core " + shlex.join(arguments))


def _at(hub: HubPlace) -> tuple[str, ...]:
    return "--repo", hub.repo, "--revision", hub.commit


def _import_command(result: Result) -> ReproduceCommand:
    source = result.published.source if result.published else ""
    files = source_files(source)
    if files and files[0].repo in REWARD_BENCH_DATASETS and source.startswith(files[0].repo):
        arguments = ("rewardbench-results", files[0].repo, "--revision", files[0].commit)
        return _command("Import the published scores", "import", *arguments, "--out", "theirs")
    return _command(
        "Import published tables (their columns are described in rb_core/importers/published_tables.py)",
        *("import", "published-tables", "FOLDER_WITH_TABLES", "--out", "theirs"),
    )


# Runs


def _evaluate_arguments(result: Result) -> list[str]:
    """Return the recorded arguments of `evaluate`, with model and data at the recorded commits."""
    words = _split(result.run.command) if result.run else []
    if "evaluate" in words:
        options = _without(words[words.index("evaluate") + 1 :], {"--out": True, "--overwrite": False})
        options = [_without_path(option) for option in _without_addresses(options)]
        if result.model.question:  # in place of a file
            options = [*_without(options, {"--question": True}), "--question", result.model.question]
    else:
        options = _recorded_words(result)  # of a run that was started from Python
    if result.model.revision and _COMMIT.fullmatch(result.model.revision):
        options = [*_without(options, {"--revision": True}), "--revision", result.model.revision]
    if result.benchmark.revision and not any(option.partition("=")[0] == "--data" for option in options):
        options = [*_without(options, {"--data-revision": True}), "--data-revision", result.benchmark.revision]
    return options


def _split(command: str) -> list[str]:
    """Return the words of a recorded command; none for unclosed quotes, as a file of others may have."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def loading_options(result: Result, base_model: str | None = None) -> ModelOptions:
    """Return the options that load a result's model: as recorded, or of a published result those of its kind.

    base_model: that a DPO model was trained from, if known. Addresses of servers are placeholders.
    """
    if result.status == "run":
        return recorded_options(result)
    kind = result.model.kind
    if kind == "implicit" and "reference-free" in kind_label(result.model):
        return ModelOptions(kind="implicit", reference_free="mean")  # as in RewardBench's published results
    if kind == "implicit":
        return ModelOptions(kind="implicit", reference=base_model or "ORG/BASE")
    if kind == "generative":
        return ModelOptions(kind="generative", judge=JudgeOptions(mode="pairwise", base_url=SERVER))
    return ModelOptions()


def recorded_options(result: Result) -> ModelOptions:
    """Return the options that the result of a run records, with placeholders for paths and addresses of servers."""
    model, judge = result.model, result.model.judge
    options = ModelOptions(
        kind=_recorded_kind(model),
        dtype=model.dtype or "auto",
        max_length=model.max_length,
        template_name=model.template_name,
        template_vars=model.template_vars,
        token=model.tokens[0] if model.tokens and len(model.tokens) == 1 else None,
        tokens=tuple(model.tokens) if model.tokens and len(model.tokens) > 1 else None,
        question=model.question,
        generation_prompt=bool(model.generation_prompt) and model.question is None,
        reference=model.reference,
        reference_revision=model.reference_revision,
        beta=model.beta,
        threshold=model.threshold,
        step_separator=model.step_separator,
        aggregate=model.aggregate,
        fold_system=model.system_role == "fold" and (judge is None or judge.backend != "local"),
        judge=_judge_options(judge) if judge else JudgeOptions(),
        **_options_in_texts(model),
    )
    if model.ensemble is not None:
        options = replace(options, **_ensemble_options(model.ensemble))
    if api := next((api for api in SERVER_APIS if model.tokenizer and api == model.kind_detail), None):
        options = replace(options, url=REWARD_SERVER, api=api, tokenizer=model.tokenizer)
    return options


def _recorded_words(result: Result) -> list[str]:
    model, options = result.model, recorded_options(result)
    words = [] if options.judge.judges or options.ensemble else ["--model", model.name]
    words += ["--benchmark", result.benchmark.id, *command_line_options(options)]
    words += ["--limit", str(result.benchmark.limit)] if result.benchmark.limit else []
    return words + (["--seed", str(result.run.seed)] if result.run else [])


def _recorded_kind(model: ModelRef) -> Kind | None:
    """Return the kind that a command has to name; None where the checkpoint declares it."""
    if model.kind == "custom-classifier":
        return "gated" if (model.kind_detail or "").startswith("gated ") else "value-head"
    return model.kind if model.kind in ("implicit", "token", "process", "generative") else None


def _options_in_texts(model: ModelRef) -> dict[str, Any]:
    """Return the options that a result records in words: of outputs, and the pad token that was declared."""
    output = model.output or ""
    pad = re.search(r"pad token \S+ that of the (config|tokenizer), as declared", "; ".join(model.loading or ()))
    weights = re.search(f"weights ({_NUMBER}(?:,{_NUMBER})*)", output)
    index = re.search(r"of output (\d+)", output)
    variant = next((variant for variant in REFERENCE_FREE if output == f"reference-free {variant}"), None)
    return {
        "output_weights": tuple(map(float, weights[1].split(","))) if weights else None,
        "output_index": int(index[1]) if index else None,
        "reference_free": variant,
        "lower_is_better": "lower is better" in output,
        "pad_token": pad[1] if pad else None,
    }


def _judge_options(judge: JudgeRef) -> JudgeOptions:
    """Return the options of a judge or a panel, with placeholders for paths and for the address of a server."""
    backends = judge.backend.split(", ")
    template = judge.templates.get(judge.mode)
    own_template = template is not None and template.sha256 != load_template(judge.mode).sha256
    return JudgeOptions(
        mode=judge.mode,
        template=f"PATH/TO/{template.name}.md" if template and own_template else None,
        base_url=SERVER if judge.backend == "served" and not judge.panel else None,
        provider=None if {"local", "served"} & set(backends) else judge.backend,
        judges=tuple(f"{name}@{SERVER}" if "served" in backends else name for name in judge.panel),
        vote=judge.vote,
        temperature=judge.temperature,
        max_new_tokens=judge.max_new_tokens,
        structured=judge.structured,
        expected=judge.expected,
        extra_body=json.dumps(judge.extra_body) if judge.extra_body else None,
    )


def _ensemble_options(ensemble: EnsembleRef) -> dict[str, Any]:
    return {
        "ensemble": tuple(member.model.name for member in ensemble.members),
        "combine": ensemble.combine,
        "lambda_": ensemble.penalty,
        "scale_by": ensemble.scale_by,
    }


def _without(options: Iterable[str], unwanted: Mapping[str, bool]) -> list[str]:
    """Return the options without the unwanted ones; the mapping has True for those that take a value."""
    kept: list[str] = []
    skip_value = False
    for option in options:
        name, equals, _ = option.partition("=")
        if skip_value or name in unwanted:
            skip_value = not skip_value and unwanted.get(name, False) and not equals
        else:
            kept.append(option)
    return kept


def _without_addresses(options: list[str]) -> Iterator[str]:
    """Yield the options with a placeholder for the address of a server, which may contain a key."""
    for previous, option in zip(["", *options], options, strict=False):
        name, equals, value = option.partition("=") if option.startswith("--") else (previous, "", option)
        if name == "--base-url" and option != name:
            value = SERVER
        elif name == "--url" and option != name:
            value = REWARD_SERVER
        elif name in ("--judges", "--ensemble") and option != name:
            members = (re.sub(r"@https?://.*", f"@{SERVER}", member) for member in value.split(","))
            value = ",".join(map(_without_path, members))
        yield f"{name}={value}" if equals else value or option


def _without_path(option: str) -> str:
    """Return the option with a placeholder for the folder of an absolute path."""
    name, equals, value = option.rpartition("=") if option.startswith("--") else ("", "", option)
    path = _ABSOLUTE_PATH.fullmatch(value)
    return f"{name}{equals}PATH/TO/{path['name']}" if path else option
