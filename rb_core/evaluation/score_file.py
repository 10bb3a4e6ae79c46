"""Score the rows of a file, window by window: killed runs resume, and memory does not grow with the file.

While a run is not finished, a folder beside the output holds a description of the run and the scores of the windows
that are complete; the window in work has journals, as an evaluation has. The output is written when all are complete,
so it does not depend on where a run was killed, nor on the number of processes. If requests to a server have failed,
the folder stays, and the same command sends these again and replaces the output.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
from tqdm import tqdm

from rb_core.errors import FileError, ResultError, ScoreTableError
from rb_core.evaluation.distributed import Process, this_process
from rb_core.evaluation.evaluate import check_seed, common_budget, describe_model, plan_fingerprint, run_settings
from rb_core.evaluation.journal import Journal
from rb_core.evaluation.prompt_input import PromptInput, RowCheck, Survey, open_input
from rb_core.evaluation.prompt_windows import (
    WINDOW_CHARACTERS,
    WINDOW_COMPLETIONS,
    Window,
    plan_window,
    prompt_windows,
)
from rb_core.evaluation.score import missing_share, score_share
from rb_core.evaluation.scored_prompts import PromptWriter, ScoredPrompt
from rb_core.files import check_writable, differing_keys, read_table, remove_leftovers, write_atomically, write_table
from rb_core.models.options import ModelOptions
from rb_core.models.resolve import resolve
from rb_core.results.failures import FAILED
from rb_core.results.schema import ModelRef
from rb_core.results.score_table import Score
from rb_core.results.storage import check_model_name
from rb_core.scorers.base import Scorer
from rb_core.scorers.load import load_scorer

log = logging.getLogger(__name__)

# Bytes of a score in the folder of the unfinished run, and of all columns that are added in the output.
BYTES_PER_SCORE = 200

FINISHED = "finished"  # file in the folder of a run that has written its output, and that some requests failed in

_WINDOW_SCHEMA = pa.schema(
    [
        pa.field("score", pa.float64()),
        pa.field("num_tokens", pa.int64(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("num_completion_tokens", pa.int64(), nullable=False),
    ]
)


def unfinished_folder(out: Path) -> Path:
    """Return the folder of the unfinished run of an output file."""
    return out.with_name(f"{out.name}.unfinished")


def check_output_file(out: Path, size: int, *, overwrite: bool, inputs: Sequence[str | Path] = ()) -> None:
    """Raise ResultError if the output exists, unless it may be replaced, and FileError if it cannot be written.

    size: what the output and the unfinished run will take at most, in bytes; inputs: files and folders that are read,
    of which the output must not be one or a part.
    """
    if out.is_dir():
        raise FileError(f"{out}: is a folder; give the name of a file")
    for path in inputs:
        if Path(path).resolve() in (out.resolve(), *out.resolve().parents):
            raise FileError(f"{out}: is the input, or in the folder that is read; name another place for the output")
    if out.exists() and not overwrite:
        raise ResultError(f"{out}: this file exists already; replace it with --overwrite")
    check_writable(out.parent, size)


def score_file(
    model: str,
    data: str,
    make_writer: Callable[[Survey, ModelRef], PromptWriter],
    out: Path,
    *,
    check_row: RowCheck | None = None,
    options: ModelOptions | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    data_revision: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Score the completions in a file, folder or dataset of the hub, and hand them to a writer in the main process.

    data: a path or `hf://ORG/NAME:SPLIT`; make_writer: called in the main process when the model is loaded and before
    anything is scored; out: the file that the writer writes, beside which the unfinished run is kept; check_row: is
    called with every row before the model is loaded.
    A killed run resumes when it is started again with the same arguments, by the same or another number of processes.
    Raises RewardBenchError for a user's mistakes, in all processes, before the model is loaded where possible.
    """
    process = this_process()
    folder = unfinished_folder(out)
    replaces = overwrite or process.on_main((folder / FINISHED).exists)
    process.on_main(lambda: check_output_file(out, 0, overwrite=replaces, inputs=[data]))
    with process.share_errors():
        spec = resolve(model, options or ModelOptions())
        check_model_name(spec.name)
        check_seed(seed)
    with process.share_errors():
        if process.is_local_main:  # a dataset of the hub is streamed once on each machine
            open_input(data, columns or {}, split, data_revision, folder)
    with process.share_errors():
        source = open_input(data, columns or {}, split, data_revision, folder)
        survey = source.survey(check_row, progress=progress and process.is_main)
    process.on_main(
        lambda: check_output_file(out, survey.characters + BYTES_PER_SCORE * survey.completions, overwrite=replaces)
    )
    with process.share_errors():
        scorer = load_scorer(process.place(spec), seed)
        described = describe_model(scorer, spec.name)
    run = FileRun.open(scorer, described, source, survey, folder, seed=seed, discard=overwrite, process=process)
    with process.share_errors():
        if process.is_main:
            write = make_writer(survey, described)
    run.score(progress=progress)
    process.on_main(lambda: write(run.scored_prompts()))
    process.on_main(run.close)
    process.on_main(lambda: remove_leftovers(out))


@dataclass(frozen=True)
class FileRun:
    """A run over one input, with one scorer, into one folder. Every process of the run has the same.

    settings: everything that the scores depend on but the plans of the windows.
    """

    scorer: Scorer
    source: PromptInput
    survey: Survey
    folder: Path
    seed: int
    settings: dict[str, Any]
    process: Process

    @classmethod
    def open(
        cls,
        scorer: Scorer,
        model: ModelRef,
        source: PromptInput,
        survey: Survey,
        folder: Path,
        *,
        seed: int,
        discard: bool,
        process: Process,
    ) -> FileRun:
        """Begin a run, or continue the one in the folder. Sets the scorer's token budget to that of all processes.

        Raises ScoreTableError if the folder holds a run with other settings, unless `discard` allows replacing it.
        """
        settings = {
            **run_settings(scorer, model, seed),
            "data": survey.sha256,
            "columns": dict(source.columns),
            "windows": [WINDOW_COMPLETIONS, WINDOW_CHARACTERS],
        }
        earlier = process.on_main(lambda: _read_run(folder, settings, discard=discard))
        scorer.batch_tokens = common_budget(scorer, [earlier.get("batch_tokens")], process)
        run = {**settings, "batch_tokens": scorer.batch_tokens}
        if not earlier:
            process.on_main(lambda: write_atomically(folder / "run.json", json.dumps(run, indent=1).encode()))
        return cls(scorer, source, survey, folder, seed, settings, process)

    def score(self, *, progress: bool = False) -> None:
        """Score the windows that are not complete; the processes share the batches of each window."""
        complete = self.process.on_main(lambda: _whole_windows(self.folder))
        hidden = not (progress and self.process.is_main)
        with tqdm(total=self.survey.completions, unit="completion", disable=hidden) as bar:
            end = 0
            for number, window in enumerate(prompt_windows(self.source.rows())):
                if self._window_path(number) not in complete:
                    self._score_window(number, window, bar)
                end += window.num_completions
                bar.update(end - bar.n)  # with what other processes, or earlier runs, have scored

    def scored_prompts(self) -> Iterator[ScoredPrompt]:
        """Yield the rows of the input with their scores, once all are scored. For the main process, which has them."""
        for number, window in enumerate(prompt_windows(self.source.rows())):
            yield from window.scored_prompts(_read_window(self._window_path(number), window.num_completions))

    def close(self) -> None:
        """Delete the folder, once the output is written; keep it if requests failed, whose windows have journals."""
        if any(self.folder.glob("window-*.journal*")):
            write_atomically(self.folder / FINISHED, b"")
            return
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def _window_path(self, number: int) -> Path:
        return self.folder / f"window-{number:06d}.parquet"

    def _score_window(self, number: int, window: Window, bar: tqdm[NoReturn]) -> None:
        scorer, process, path = self.scorer, self.process, self._window_path(number)
        with process.share_errors():
            planned = plan_window(scorer, window, self.seed)
        plan = planned.plan
        fingerprint = plan_fingerprint(self.settings, scorer, plan)
        with process.share_errors():
            replies = scorer.keep_replies(path.with_suffix(".replies"), fingerprint, process.count)
        with Journal(path, fingerprint, process=process) as journal, replies:
            journal.keep(_all_answered)
            with process.share_errors(long=True):
                score_share(scorer, plan, missing_share(plan, journal, process), journal, bar)
            journal.collect()

            def write() -> None:
                scores = (journal.done[index].scores for index in range(len(plan.batches)))
                _write_window(path, planned.scores_in_order(scores))

            process.on_main(write)
            if not all(_all_answered(entry.scores) for entry in journal.done.values()):
                return
            journal.remove()
        process.on_main(lambda: path.with_suffix(".replies").unlink(missing_ok=True))


def _all_answered(scores: Sequence[Score]) -> bool:
    """Return False if a request to a server failed."""
    return not any(score.reason in FAILED for score in scores)


def _read_run(folder: Path, settings: dict[str, Any], *, discard: bool) -> dict[str, Any]:
    """Return the description of the run in the folder; empty without one, or if it scored nothing or is discarded."""
    if not any(folder.glob("window-*")):
        return {}
    path, expected = folder / "run.json", json.loads(json.dumps(settings))
    try:
        run = json.loads(path.read_bytes())
        differing = differing_keys(run | {"batch_tokens": None}, expected | {"batch_tokens": None})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        differing = ["description, which is not readable"]
    if not differing:
        return dict(run)
    if not discard:
        raise ScoreTableError(
            f"{folder}: this unfinished run has a different {', '.join(differing)}; "
            "finish it with the same settings, or discard it with --overwrite"
        )
    for leftover in [*folder.glob("window-*"), folder / FINISHED, path]:
        leftover.unlink(missing_ok=True)
    return {}


def _whole_windows(folder: Path) -> set[Path]:
    """Return the files of complete windows, which have no journal; a damaged one is deleted, to be scored again."""
    whole = set()
    for path in folder.glob("window-*.parquet"):
        if any(folder.glob(f"{path.stem}.journal*")):
            continue
        try:
            read_table(path, "window of scores", _WINDOW_SCHEMA)
            whole.add(path)
        except ScoreTableError as error:
            log.warning("%s; it is scored again", error)
            path.unlink()
    return whole


def _write_window(path: Path, scores: list[Score]) -> None:
    columns = [
        pa.array(values, kind) for values, kind in zip(zip(*scores, strict=True), _WINDOW_SCHEMA.types, strict=True)
    ]
    write_table(path, pa.Table.from_arrays(columns, schema=_WINDOW_SCHEMA), {})


def _read_window(path: Path, num_completions: int) -> list[Score]:
    """Return the scores of a complete window. Raises ScoreTableError for a damaged file."""
    table, _ = read_table(path, "window of scores", _WINDOW_SCHEMA)
    if table.num_rows != num_completions:
        raise ScoreTableError(f"{path}: has {table.num_rows} scores for {num_completions} completions")
    return [Score(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
