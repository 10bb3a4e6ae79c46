"""Everything that is known of one model, over all benchmarks, as plain JSON: for its page and for the endpoint.

No gradio, no torch. Scores and bounds are fractions from 0 to 1; None is not known.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from rb_core.errors import ResultError, quoted
from rb_core.leaderboard.board import Board, BoardRow, BoardSection, BoardSubset
from rb_core.leaderboard.weak_spots import WeakSpot, find_weak_spots, rank_of
from rb_core.models.options import JudgeOptions, ModelOptions, command_line_options
from rb_core.results.estimate import Estimate
from rb_core.results.judge_records import JudgeRef
from rb_core.results.schema import KIND_LABELS, Result
from rb_core.scorers.judge.prompt_templates import load_template

Payload = dict[str, Any]


# Where whoever repeats a judge's run has a server with the model.
SERVER = "http://SERVER/v1"


# Where published results were taken from: a commit of a repository, and a file in it.
_SOURCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{7,40})(?::\s*(?P<path>[^\s,]+))?")


_COMMIT = re.compile(r"[0-9a-f]{40}")


_PLACE_ON_A_MACHINE = re.compile(r"(?:[A-Za-z]:)?[/\\~].*[/\\](?P<name>[^/\\]+)[/\\]?")


_OWN_LAYOUT = (
    "allenai/reward-bench-results",
    "allenai/reward-bench-2-results",
)  # what `import rewardbench-results` reads


# Generative models are mostly behind APIs, and what scores without a checkpoint has no page on the hub.
_HUB_KINDS = frozenset(KIND_LABELS[kind] for kind in ("classifier", "custom-classifier", "implicit"))
_NOT_ON_HUB = ("baseline/", "builtin/", "local/", "unknown/")


def hub_page(model: str, kind: str) -> str | None:
    """Return the address of the model's page on the hub; None for a model that has none."""
    if kind not in _HUB_KINDS or "/" not in model or model.startswith(_NOT_ON_HUB):
        return None
    return f"https://huggingface.co/{model}"


class HubPlace(NamedTuple):
    """The place of results on the hub; `address` is that of the repository's files at that commit."""

    repo: str
    commit: str
    address: str


class ModelSource(Protocol):
    """A source of boards and results; the page's ResultsSource is one."""

    def boards(self) -> Mapping[str, Board]:
        """Return the boards by benchmark."""

    def results(self, benchmark: str) -> Mapping[str, Result]:
        """Return the results of a benchmark by model."""

    def on_hub(self) -> HubPlace | None:
        """Return the results' place on the hub; None for those of a folder."""


class UnknownModelError(ResultError):
    """No board has a model of that name."""


def model_names(boards: Iterable[Board]) -> list[str]:
    """Return the names of all models on any board in alphabetical order."""
    return sorted({row.model for board in boards for row in board.rows}, key=lambda name: (name.lower(), name))


def model_page(source: ModelSource, model: str) -> Payload:
    """All that is known of a model: name, kind, parameters, its page on the hub, and `results`, one a benchmark.

    Raises UnknownModelError, naming models that are spelt alike, for a name that no board has.
    """
    boards, hub = source.boards().values(), source.on_hub()
    entries = [
        _entry(board, row, source.results(board.id).get(model), hub)
        for board in boards
        if (row := board.row(model)) is not None
    ]
    if not entries:
        raise UnknownModelError(_unknown(model, model_names(boards)))
    sizes = [entry["parameters"] for entry in entries if entry["parameters"]]
    return {
        "model": model,
        "organisation": model.partition("/")[0] if "/" in model else None,
        "kind": entries[0]["kind"],
        "parameters": sizes[0] if sizes else None,
        "hub": next((entry["hub"] for entry in entries if entry["hub"]), None),
        "results": entries,
    }


def _unknown(model: str, names: Sequence[str]) -> str:
    wanted = model.lower().rpartition("/")[2]
    alike = [name for name in names if wanted and wanted in name.lower()][:5]
    hint = f" Did you mean {', '.join(alike)}?" if alike else ""
    return f"No board has a model named {quoted(model)}.{hint}"


# One benchmark


def _entry(board: Board, row: BoardRow, result: Result | None, hub: HubPlace | None) -> Payload:
    """What one board and the result behind it say. Without a result (it has not come yet) only the board's numbers."""
    entry = {
        "benchmark": {key: getattr(board, key) for key in ("id", "title", "description", "url", "licence", "citation")},
        "kind": row.kind,
        "origin": row.status,
        "parameters": row.parameters,
        "hub": hub_page(row.model, row.kind),
        "rank": row.rank,
        "of": len(board.ranked()),
        "range": list(row.rank_interval) if row.rank_interval else None,
        "score": {"value": row.headline.value, "low": row.headline.low, "high": row.headline.high},
        "parts": _parts(board, row, result),
        "weak_spots": [spot.to_json() for spot in _weak_spots(board, row, result)],
    }
    return entry | (details(result, hub) if result else {})


def _parts(board: Board, row: BoardRow, result: Result | None) -> list[Payload]:
    """Sections and subsets of the board, in its order, each with the model's estimate, rank and number of models."""
    parts = []
    for section in board.sections:
        scores = {
            other.model: other.sections[section.name] for other in board.ranked() if section.name in other.sections
        }
        estimate = (result.sections.get(section.name) if result else None) or Estimate(
            value=row.sections.get(section.name)
        )
        parts.append(_part(section, "section", None, row.model, scores, estimate))
    for subset in board.subsets:
        scores = {other.model: other.subsets[subset.name] for other in board.ranked() if subset.name in other.subsets}
        estimate = (result.subsets.get(subset.name) if result else None) or Estimate(value=row.subsets.get(subset.name))
        parts.append(_part(subset, "subset", subset.section, row.model, scores, estimate))
    return parts


def _part(
    part: BoardSection | BoardSubset,
    level: str,
    section: str | None,
    model: str,
    scores: Mapping[str, float],
    estimate: Estimate,
) -> Payload:
    rank = rank_of(scores[model], scores.values()) if model in scores else None
    return {
        "name": part.name,
        "level": level,
        "section": section,
        "description": part.description,
        "rank": rank,
        "of": len(scores),
        "estimate": _plain(estimate),
    }


def _weak_spots(board: Board, row: BoardRow, result: Result | None) -> list[WeakSpot]:
    """Weak spots among the subsets, and among the sections of which the board shows the model no subset."""
    ranked = board.ranked()
    covered = {subset.section for subset in board.subsets if subset.name in row.subsets}
    scores_by_part = {
        section.name: {other.model: other.sections[section.name] for other in ranked if section.name in other.sections}
        for section in board.sections
        if section.name not in covered
    } | {
        subset.name: {other.model: other.subsets[subset.name] for other in ranked if subset.name in other.subsets}
        for subset in board.subsets
    }
    estimates = (result.sections | result.subsets) if result else {}
    headlines = {other.model: other.headline.value for other in ranked if other.headline.value is not None}
    return find_weak_spots(row.model, headlines, scores_by_part, estimates)


# One result


def details(result: Result, hub: HubPlace | None) -> Payload:
    """What a result says beside its scores: settings, counts, what is absent, matrices, length, and how to get it."""
    return {
        "headline": _plain(result.headline) if result.headline else None,
        "absent": result.absent,
        "length": {name: _plain(estimate) for name, estimate in result.length.items()},
        "matrices": {
            name: matrix.model_dump(mode="json", exclude_none=True) for name, matrix in result.matrices.items()
        },
        "margins": result.margins.model_dump(mode="json") if result.margins else None,
        "counts": result.counts.model_dump(mode="json") if result.counts else None,
        "judging": result.judging.model_dump(mode="json") if result.judging else None,
        "notes": result.notes.model_dump(mode="json") if result.notes else None,
        "settings": settings(result),
        "data": result.benchmark.model_dump(mode="json", exclude={"subsets"}, exclude_none=True),
        "run": result.run.model_dump(mode="json", exclude={"command"}, exclude_none=True) if result.run else None,
        "published": _published(result),
        "commands": [{"what": what, "command": command} for what, command in commands(result, hub)],
        "files": _files(result, hub),
    }


def settings(result: Result) -> Payload:
    """How the model was run, as recorded: its result's fields that are known, but name and kind's label."""
    known = result.model.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    return known | {"kind": KIND_LABELS[result.model.kind]}


def commands(result: Result, hub: HubPlace | None) -> list[tuple[str, str]]:
    """What to type to get these numbers again, each with what it does."""
    if result.status == "run":
        found = [("Score it again, with the recorded options", _evaluate_again(result))]
        if hub:
            return [*found, ("Recompute these numbers from the scores on the hub", _command("verify", *_at(hub)))]
        return [*found, ("Recompute the numbers of the folder that you have written", _command("verify", "mine"))]
    pulled = (
        [("Take all results of the repository", _command("sync", "pull", *_at(hub), "--out", "pulled"))] if hub else []
    )
    return [*pulled, *_import_again(result), *_score_it_yourself(result)]


def _at(hub: HubPlace) -> tuple[str, ...]:
    return "--repo", hub.repo, "--revision", hub.commit


def _evaluate_again(result: Result) -> str:
    """The recorded command with model and data at the recorded commits, written to a folder of one's own."""
    typed = _words(result.run.command) if result.run else []
    if "evaluate" in typed:
        options = _without(typed[typed.index("evaluate") + 1 :], {"--out": True, "--overwrite": False})
        options = [_portable(option) for option in _at_a_server(options)]
    else:  # scored from Python: what the record says
        options = _recorded_options(result)
    if result.model.revision and _COMMIT.fullmatch(result.model.revision):
        options = [*_without(options, {"--revision": True}), "--revision", result.model.revision]
    if result.benchmark.revision and not any(option.partition("=")[0] == "--data" for option in options):
        options = [*_without(options, {"--data-revision": True}), "--data-revision", result.benchmark.revision]
    return _command("evaluate", *options, "--out", "mine")


def _words(command: str) -> list[str]:
    """The words of a recorded command; none where its quotes do not close: files of others may hold any text."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _recorded_options(result: Result) -> list[str]:
    model, judge = result.model, result.model.judge
    options = ModelOptions(
        kind="generative" if judge else "implicit" if model.kind == "implicit" else None,
        dtype=model.dtype or "auto",
        max_length=model.max_length,
        reference=model.reference,
        reference_revision=model.reference_revision,
        beta=model.beta,
        judge=_judge_options(judge) if judge else JudgeOptions(),
    )
    words = [] if options.judge.judges else ["--model", model.name]
    words += ["--benchmark", result.benchmark.id, *command_line_options(options)]
    words += ["--limit", str(result.benchmark.limit)] if result.benchmark.limit else []
    return words + (["--seed", str(result.run.seed)] if result.run else [])


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
    )


def _at_a_server(options: Sequence[str]) -> list[str]:
    """The options with a place for the address of a judge's server: the one of the run is nobody's business, and may
    have had a key in it."""
    found = []
    for before, option in zip(["", *options], options, strict=False):
        name, equals, value = option.partition("=") if option.startswith("--") else (before, "", option)
        if name == "--base-url" and option != name:
            value = SERVER
        elif name == "--judges" and option != name:
            value = ",".join(_portable(re.sub(r"@https?://.*", f"@{SERVER}", each)) for each in value.split(","))
        found.append(f"{name}={value}" if equals else value or option)
    return found


def _without(options: Iterable[str], unwanted: Mapping[str, bool]) -> list[str]:
    """The options without these, which take a value where the mapping says so: `--out mine` or `--out=mine`."""
    kept: list[str] = []
    skip = False
    for option in options:
        name, equals, _ = option.partition("=")
        if skip or name in unwanted:
            skip = not skip and unwanted.get(name, False) and not equals
            continue
        kept.append(option)
    return kept


def _portable(option: str) -> str:
    """An absolute path of the machine of the run as one that the reader fills in."""
    name, equals, value = option.rpartition("=") if option.startswith("--") else ("", "", option)
    found = _PLACE_ON_A_MACHINE.fullmatch(value)
    return f"{name}{equals}PATH/TO/{found['name']}" if found else option


def _import_again(result: Result) -> list[tuple[str, str]]:
    source = _SOURCE.match(result.published.source) if result.published else None
    if source and source["repo"] in _OWN_LAYOUT:
        where = ["rewardbench-results", source["repo"], "--revision", source["commit"], "--out", "theirs"]
        return [("Import the published scores", _command("import", *where))]
    return [
        (
            "Import published tables (their columns are described in rb_core/importers/published_tables.py)",
            _command("import", "published-tables", "FOLDER_WITH_TABLES", "--out", "theirs"),
        )
    ]


def _score_it_yourself(result: Result) -> list[tuple[str, str]]:
    """For a kind that `evaluate` can load from its name alone, or with its reference, or ask at a server."""
    kinds: Mapping[str, tuple[str, list[str]]] = {
        "classifier": ("Score it yourself", []),
        "implicit": (
            "Score it yourself, with the model that its training started from",
            ["--kind", "implicit", "--reference", "ORG/BASE"],
        ),
        "generative": (
            "Score it yourself, at a server that has it and in this package's words",
            ["--kind", "generative", "--mode", "pairwise", "--base-url", SERVER],
        ),
    }
    if result.model.kind not in kinds or "/" not in result.model.name:
        return []
    what, options = kinds[result.model.kind]
    where = ["--model", result.model.name, "--benchmark", result.benchmark.id, *options, "--out", "mine"]
    return [(what, _command("evaluate", *where))]


def _command(*arguments: str) -> str:
    """A line for the shell. Everything is quoted: names and options come from files that others wrote."""
    return "python -m rb_core " + shlex.join(arguments)


def _published(result: Result) -> Payload | None:
    """Source, date and note of a published result, with links to those sources that are files on GitHub or the hub."""
    if result.published is None:
        return None
    found = result.published.model_dump(mode="json")
    return found | {"links": [link for part in result.published.source.split("; ") if (link := _source_link(part))]}


def _source_link(source: str) -> Payload | None:
    found = _SOURCE.search(source)
    if found is None:
        return None
    repo, commit, path = found["repo"], found["commit"], found["path"] or ""
    on_hub = repo in _OWN_LAYOUT
    host = f"https://huggingface.co/datasets/{repo}" if on_hub else f"https://github.com/{repo}"
    folder = "blob" if "." in path.rpartition("/")[2] else "tree"
    return {"text": f"{repo} at {commit[:9]}", "url": "/".join(part for part in (host, folder, commit, path) if part)}


def _files(result: Result, hub: HubPlace | None) -> list[Payload]:
    """The files of the result below the results' root, with their addresses where they lie on the hub."""
    paths = [("Result (JSON)", result.path().as_posix())]
    paths += [("Scores (parquet)", result.scores.path)] if result.scores else []
    return [{"what": what, "path": path, "url": f"{hub.address}/{path}" if hub else None} for what, path in paths]


def _plain(estimate: Estimate) -> Payload:
    return estimate.model_dump(mode="json")
