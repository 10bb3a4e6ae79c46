"""The command line: `rb`, or `python -m rb_core`. A user's mistake is one line and exit code 2."""

from __future__ import annotations

import csv
import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from rb_core import doctor
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.cli import hub
from rb_core.cli.hub import DEFAULT_ROOT, console
from rb_core.errors import DataError, ModelError, ResultError, RewardBenchError
from rb_core.evaluation import aggregate as aggregation
from rb_core.evaluation import evaluate as evaluation
from rb_core.evaluation.distributed import this_process
from rb_core.files import write_atomically
from rb_core.leaderboard.board import Board, build_board, load_boards
from rb_core.leaderboard.board_table import Column, board_columns, board_to_json
from rb_core.models.options import DEFAULT_BETA, KINDS, MODES, REFERENCE_FREE, VOTES, JudgeOptions, ModelOptions
from rb_core.models.registry import RECORDS
from rb_core.results import schema as result_schema
from rb_core.results.estimate import Estimate, Matrix
from rb_core.results.judge_records import Judging
from rb_core.results.schema import Result, to_json
from rb_core.results.storage import read_result
from rb_core.scorers.judge.reparse import write_reparsed
from rb_core.scorers.judge.transcript import is_transcript

app = typer.Typer(
    name="rb",
    help="Evaluate reward models on preference benchmarks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


hub.add_to(app)


class Format(StrEnum):
    table = "table"
    csv = "csv"
    json = "json"
    md = "md"


# The options that say how a model is to be loaded, for every command that loads one.
Revision = Annotated[str | None, typer.Option(help="the model's commit, branch or tag on the hub")]


KindName = Annotated[str | None, typer.Option("--kind", help=f"{', '.join(KINDS)}; else record or config decide")]


Dtype = Annotated[str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16")]


Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu")]


DeviceMap = Annotated[str | None, typer.Option(help="auto spreads a model over all GPUs of the machine")]


MaxLength = Annotated[int | None, typer.Option(help="tokens; the model's own limit by default")]


ChatTemplate = Annotated[Path | None, typer.Option(help="a file with the Jinja chat template to use")]


FoldSystem = Annotated[bool, typer.Option("--fold-system", help="put system messages into the first user turn")]


OutputIndex = Annotated[int | None, typer.Option(help="which of several outputs is the reward")]


OutputWeights = Annotated[str | None, typer.Option(help="weights that add up several outputs: A,B,...")]


LowerIsBetter = Annotated[bool, typer.Option("--lower-is-better", help="the model gives a cost")]


Reference = Annotated[str | None, typer.Option(help="the model that an implicit reward is measured against")]


ReferenceRevision = Annotated[str | None, typer.Option(help="the reference's commit, branch or tag on the hub")]


Beta = Annotated[float | None, typer.Option(help=f"the factor of an implicit reward; {DEFAULT_BETA:g} by default")]


WithoutReference = Annotated[
    str | None, typer.Option("--reference-free", help=f"an implicit reward without one: {', '.join(REFERENCE_FREE)}")
]


BatchTokens = Annotated[
    int | None, typer.Option(help="tokens through the model at once; by default from the memory that is free")
]


# The options that say how a generative judge is asked.
JudgeMode = Annotated[
    str | None, typer.Option("--mode", help=f"how a generative judge is asked: {', '.join(MODES)}; pairwise by default")
]


JudgeTemplate = Annotated[str | None, typer.Option("--template", help="a built-in template's name, or a file's path")]


BaseUrl = Annotated[str | None, typer.Option(help="an OpenAI-compatible server; its key in RB_JUDGE_API_KEY")]


Provider = Annotated[str | None, typer.Option(help="an inference provider of the hub, with your own login")]


Judges = Annotated[str | None, typer.Option(help="a panel: A,B,... each a model or MODEL@BASE_URL")]


VoteRule = Annotated[str | None, typer.Option("--vote", help=f"how a panel decides: {' or '.join(VOTES)}")]


Temperature = Annotated[float | None, typer.Option(help="of the judge's replies; 0 by default")]


MaxNewTokens = Annotated[int | None, typer.Option(help="tokens of a reply, its reasoning included; 1024 by default")]


Structured = Annotated[bool, typer.Option("--structured", help="ask the server for JSON by a schema")]


Expected = Annotated[bool, typer.Option("--expected", help="read ratings from the probabilities of all ratings")]


Author = Annotated[str | None, typer.Option(help="the judge's name among the completions' authors")]


Concurrency = Annotated[int | None, typer.Option(help="requests to a server at once; 64 by default")]


Deadline = Annotated[float | None, typer.Option(help="seconds for one request, all tries included; 600 by default")]


PricePrompt = Annotated[float | None, typer.Option(help="US dollars for a million tokens of prompts")]


PriceCompletion = Annotated[float | None, typer.Option(help="US dollars for a million tokens of replies")]


MaxCost = Annotated[float | None, typer.Option(help="US dollars: stop before more is spent")]


MaxTokensTotal = Annotated[int | None, typer.Option(help="stop before more tokens are used, of prompts and replies")]


@app.command("benchmarks")
def list_benchmarks() -> None:
    """List the benchmarks: id, examples, sections, where they come from, licence."""
    table = Table("id", "title", "examples", "sections", "source", "licence")
    for spec in BENCHMARKS.values():
        required = {name for section in spec.sections if section.required for name in section.weights}
        counts = [subset.count for subset in spec.subsets if subset.name in required]
        known = str(sum(c for c in counts if c)) if all(counts) else "-"
        sections = ", ".join(section.name for section in spec.sections)
        table.add_row(
            spec.id, spec.title, known, sections, spec.source.repo if spec.source else "built in", spec.licence
        )
    console.print(table)
    console.print("Any other preference file is a benchmark of its own: --benchmark path/to/file.jsonl")


@app.command("models")
def list_models() -> None:
    """List the models with a record. Any classifier on the hub or in a folder works without one."""
    table = Table("name", "kind", "what it is")
    for record in RECORDS.values():
        table.add_row(record.name, record.kind, record.description)
    console.print(table)


@app.command()
def evaluate(
    benchmark: Annotated[str, typer.Option(help="a benchmark's id, or the path of a preference file")],
    model: Annotated[
        str, typer.Option(help="builtin/tiny-rm, baseline/NAME, a folder, a hub id ORG/NAME, or a server's model")
    ] = "",
    data: Annotated[Path | None, typer.Option(help="read the benchmark's rows from this file or folder")] = None,
    data_revision: Annotated[str | None, typer.Option(help="the dataset's commit, branch or tag on the hub")] = None,
    prior: Annotated[bool, typer.Option("--prior", help="evaluate RewardBench's Prior Sets as well")] = False,
    name: Annotated[str | None, typer.Option(help="the model's name in the result")] = None,
    revision: Revision = None,
    kind: KindName = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = None,
    max_length: MaxLength = None,
    chat_template: ChatTemplate = None,
    fold_system: FoldSystem = False,
    output_index: OutputIndex = None,
    output_weights: OutputWeights = None,
    lower_is_better: LowerIsBetter = False,
    reference: Reference = None,
    reference_revision: ReferenceRevision = None,
    beta: Beta = None,
    reference_free: WithoutReference = None,
    batch_tokens: BatchTokens = None,
    mode: JudgeMode = None,
    template: JudgeTemplate = None,
    base_url: BaseUrl = None,
    provider: Provider = None,
    judges: Judges = None,
    vote: VoteRule = None,
    temperature: Temperature = None,
    max_new_tokens: MaxNewTokens = None,
    structured: Structured = False,
    expected: Expected = False,
    author: Author = None,
    concurrency: Concurrency = None,
    deadline: Deadline = None,
    price_prompt: PricePrompt = None,
    price_completion: PriceCompletion = None,
    max_cost: MaxCost = None,
    max_tokens_total: MaxTokensTotal = None,
    limit: Annotated[int | None, typer.Option(help="score only this many examples")] = None,
    seed: Annotated[int, typer.Option(help="of completion order, bootstrap and the random baseline")] = 0,
    out: Annotated[Path, typer.Option(help="the folder that results and scores are written below")] = DEFAULT_ROOT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a result that stands there")] = False,
) -> None:
    """Score a benchmark with a model and aggregate the result. A killed run resumes when started again.

    `accelerate launch --num_processes 8 -m rb_core evaluate ...` shares the work among eight GPUs.
    """
    process = this_process()
    with process.share_errors():
        options = _options(
            name=name,
            revision=revision,
            kind=kind,
            dtype=dtype,
            device=device,
            device_map=device_map,
            max_length=max_length,
            chat_template=chat_template,
            fold_system=fold_system,
            output_index=output_index,
            output_weights=output_weights,
            lower_is_better=lower_is_better,
            reference=reference,
            reference_revision=reference_revision,
            beta=beta,
            reference_free=reference_free,
            batch_tokens=batch_tokens,
            judge=_judge_options(
                judges,
                mode=mode,
                template=template,
                base_url=base_url,
                provider=provider,
                vote=vote,
                temperature=temperature,
                max_new_tokens=max_new_tokens,
                structured=structured,
                expected=expected,
                author=author,
                concurrency=concurrency,
                deadline=deadline,
                price_prompt=price_prompt,
                price_completion=price_completion,
                max_cost=max_cost,
                max_tokens_total=max_tokens_total,
            ),
        )
    finished = evaluation.evaluate(
        model,
        benchmark,
        options=options,
        data=data,
        data_revision=data_revision,
        prior=prior,
        limit=limit,
        seed=seed,
        out=out,
        overwrite=overwrite,
        progress=True,
    )
    if process.is_main:
        print_result(finished.result)
        console.print(f"written to {finished.path}", soft_wrap=True)


@app.command("doctor")
def examine(
    model: Annotated[str, typer.Option(help="builtin/tiny-rm, a folder, or a hub id ORG/NAME")],
    revision: Revision = None,
    kind: KindName = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = None,
    max_length: MaxLength = None,
    chat_template: ChatTemplate = None,
    fold_system: FoldSystem = False,
    output_index: OutputIndex = None,
    output_weights: OutputWeights = None,
    lower_is_better: LowerIsBetter = False,
    reference: Reference = None,
    reference_revision: ReferenceRevision = None,
    beta: Beta = None,
    reference_free: WithoutReference = None,
    batch_tokens: BatchTokens = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Examine a model: does it load whole, what is it fed, where is its score read, and do other ways of running it
    give the same numbers? The exit code is 1 when a check fails."""
    options = _options(
        revision=revision,
        kind=kind,
        dtype=dtype,
        device=device,
        device_map=device_map,
        max_length=max_length,
        chat_template=chat_template,
        fold_system=fold_system,
        output_index=output_index,
        output_weights=output_weights,
        lower_is_better=lower_is_better,
        reference=reference,
        reference_revision=reference_revision,
        beta=beta,
        reference_free=reference_free,
        batch_tokens=batch_tokens,
    )
    report = doctor.examine(model, options)
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        doctor.show(report, console)
    raise typer.Exit(1 if report.failed else 0)


@app.command()
def aggregate(
    scores: Annotated[Path, typer.Argument(help="a score file, or a judge's transcript to be read anew")],
    out: Annotated[Path | None, typer.Option(help="write the result below this folder")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a result that stands there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result file instead of a table")] = False,
) -> None:
    """Derive a result again from its scores alone, or from a judge's replies: no model, no GPU, nobody is asked."""
    if is_transcript(scores):
        if out is None:
            raise ResultError(f"{scores}: to read replies anew gives new scores: say with --out where they are written")
        reparsed = write_reparsed(scores, out, overwrite=overwrite)
        result = aggregation.write_aggregate(reparsed, out, overwrite=overwrite).result
    elif out is None:
        result = aggregation.aggregate_scores(scores)
    else:
        result = aggregation.write_aggregate(scores, out, overwrite=overwrite).result
    if as_json:
        sys.stdout.write(to_json(result).decode())
    else:
        print_result(result)


@app.command()
def show(
    paths: Annotated[list[Path] | None, typer.Argument(help="result files, or folders of them")] = None,
    format: Annotated[Format, typer.Option(help="how to print")] = Format.table,
    benchmark: Annotated[str | None, typer.Option(help="only this benchmark")] = None,
    subsets: Annotated[bool, typer.Option("--subsets", help="with the subsets' columns")] = False,
) -> None:
    """Show results as tables, best first. Without a path: those in leaderboard_data."""
    places = paths or [DEFAULT_ROOT]
    found = [b for b in _boards(places) if benchmark in (None, b.id)]
    if not found:
        raise ResultError(f"no results{f' of {benchmark}' if benchmark else ''} in {', '.join(map(str, places))}")
    if format is Format.json:
        print(json.dumps([board_to_json(board) for board in found], indent=1))
        return
    for board in found:
        _show_board(board, format, subsets)


@app.command("schema")
def schema(
    out: Annotated[Path, typer.Option(help="the folder the JSON Schema is written to")] = DEFAULT_ROOT,
) -> None:
    """Write the JSON Schema of a result file."""
    write_atomically(out / result_schema.SCHEMA_FILE, result_schema.json_schema())
    console.print(f"written to {out / result_schema.SCHEMA_FILE}", soft_wrap=True)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except RewardBenchError as error:
        process = this_process()
        if process.is_main:
            print(f"error: {error}", file=sys.stderr, flush=True)
        process.wait_before_exit()
        sys.exit(2)


# Options and tables


def _options(*, chat_template: Path | None, output_weights: str | None, **plain: Any) -> ModelOptions:
    """The options as they were typed; `models.resolve` refuses what makes no sense."""
    return ModelOptions(chat_template=_read_template(chat_template), output_weights=_weights(output_weights), **plain)


def _judge_options(judges: str | None, **plain: Any) -> JudgeOptions:
    members = tuple(name.strip() for name in judges.split(",") if name.strip()) if judges else ()
    return JudgeOptions(judges=members, **plain)


def _weights(value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ModelError(f"--output-weights is {value!r}; expected numbers separated by commas") from None


def _read_template(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--chat-template {path}: cannot be read: {error}") from error


def _boards(paths: list[Path]) -> list[Board]:
    by_benchmark: dict[str, list[Result]] = {}
    found: list[Board] = []
    for path in paths:
        if path.is_dir():
            here, refused = load_boards(path)
            found += here.values()
            for message in refused:
                print(f"refused: {message}", file=sys.stderr)
        else:
            result = read_result(path)
            by_benchmark.setdefault(result.benchmark.id, []).append(result)
    return found + [build_board(group) for group in by_benchmark.values()]


def _show_board(board: Board, format: Format, subsets: bool) -> None:
    columns = [column for column in board_columns(board) if subsets or column.role != "subset"]
    labels = [column.label for column in columns]
    if format is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["Benchmark", *labels])
        writer.writerows([board.id, *(column.cell(row) for column in columns)] for row in board.rows)
        return
    rows = [[_cell_text(column, column.cell(row)) for column in columns] for row in board.rows]
    if format is Format.md:
        print(f"## {board.title}\n")
        for line in [labels, ["---"] * len(labels), *rows]:
            print("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |")
        print()
        return
    table = Table(*labels, title=board.title)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _cell_text(column: Column, cell: object) -> str:
    return _size(cell) if column.role == "parameters" else _text(cell)


def _text(cell: object) -> str:
    """A score in percent with one digit, anything else as it is; missing as a dash."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return f"{100 * cell:.1f}" if isinstance(cell, float) else str(cell)


def _size(cell: object) -> str:
    """A number of parameters as in models' names, 8B or 600M; missing as a dash."""
    if not isinstance(cell, int):
        return "-"
    return f"{cell / 1e9:.3g}B" if cell >= 1e9 else f"{cell / 1e6:.3g}M"


def print_result(result: Result) -> None:
    """The sections of a result with their intervals, as a table; then matrices and counts."""
    table = Table("", "score", "95% interval", "scored", "unscored", "ties", title=_title(result))
    lines = {"Score": result.headline} if result.headline else {}
    for name, estimate in {**lines, **result.sections}.items():
        table.add_row(name, *_estimate_cells(estimate))
    if not result.sections:
        for name, estimate in result.subsets.items():
            table.add_row(name, *_estimate_cells(estimate))
    console.print(table)
    for name, matrix in result.matrices.items():
        console.print(_matrix_table(name, matrix))
    for name, reason in result.absent.items():
        console.print(f"{name} is absent: {reason}", style="dim", soft_wrap=True)
    if result.counts is not None:
        counts = result.counts
        console.print(
            f"{counts.examples} examples, {counts.completions} completions: {counts.unscored} examples unscored, "
            f"{counts.ties} tied, {counts.truncated_completions} completions truncated",
            soft_wrap=True,
        )
        for reason, number in counts.reasons.items():
            console.print(f"{number} completions unscored: {reason}", soft_wrap=True)
    if result.judging is not None:
        console.print(_judging_table(result.judging))


def _judging_table(judging: Judging) -> Table:
    """How reliable a judge was; of a panel a column for each member."""
    columns = judging.members or {"": judging}
    table = Table("Judging", *columns)
    shares = ("position_consistency", "first_position", "length_preference", "self_preference", "self_deserved")
    for name in shares:
        found = [getattr(each, name) for each in columns.values()]
        if any(found):
            table.add_row(name.replace("_", " "), *("-" if each is None else _text(each.value) for each in found))
    for name in ("requests", "prompt_tokens", "completion_tokens", "flips", "injections"):
        values = [getattr(each, name) for each in columns.values()]
        table.add_row(name.replace("_", " "), *("-" if value is None else str(value) for value in values))
    costs = [each.cost for each in columns.values()]
    if any(cost is not None for cost in costs):
        table.add_row("cost", *("-" if cost is None else f"${cost:.4f}" for cost in costs))
    if judging.agreement is not None:
        kappa, alpha = judging.agreement.fleiss_kappa, judging.agreement.krippendorff_alpha
        table.caption = f"agreement: Fleiss' kappa {_two(kappa)}, Krippendorff's alpha {_two(alpha)}"
    return table


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _title(result: Result) -> str:
    limited = f" (limited to {result.benchmark.limit} examples)" if result.benchmark.limit else ""
    return f"{result.model.name} on {result.benchmark.title}{limited}"


def _estimate_cells(estimate: Estimate) -> list[str]:
    interval = "-" if estimate.low is None else f"{_text(estimate.low)} to {_text(estimate.high)}"
    counts = (estimate.scored, estimate.unscored, estimate.ties)
    return [_text(estimate.value), interval, *("-" if c is None else str(c) for c in counts)]


def _matrix_table(name: str, matrix: Matrix) -> Table:
    title = f"{name}: chosen (rows) over rejected (columns)"
    table = Table("", *matrix.levels, title=title, caption=_difficulties(matrix))
    for level, row in zip(matrix.levels, matrix.cells, strict=True):
        table.add_row(level, *(_text(cell.value) for cell in row))
    return table


def _difficulties(matrix: Matrix) -> str:
    parts = {"easy": matrix.easy, "normal": matrix.normal, "hard": matrix.hard}
    return ", ".join(f"{name} {_text(estimate.value)}" for name, estimate in parts.items())
