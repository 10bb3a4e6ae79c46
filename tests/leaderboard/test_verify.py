"""The audit: nothing to find in what is bundled, and every fault that is planted, by file and field."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.cli import main
from rb_core.errors import ResultError
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.leaderboard import derived_files
from rb_core.leaderboard.verify import Mismatch, verify
from rb_core.results.score_table import read_scores, write_scores
from rb_core.scorers.function import FunctionScorer
from tests.fakes.hub_server import serve
from tests.paths import ROOT

BUNDLED = ROOT / "leaderboard_data"
RUN = "results/starter/builtin/tiny-rm.json"
SCORES = "scores/starter/builtin/tiny-rm.parquet"
MATRIX = "results/rm-bench/me/calm.json"
V1 = "results/rewardbench/weqweasdas/RM-Gemma-2B.json"
V2 = "results/rewardbench-2/Skywork/Skywork-Reward-Llama-3.1-8B-v0.2.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small board: a bundled run, one of matrices that lacks a section, two published results. Not to be changed."""
    root = tmp_path_factory.mktemp("board")
    for name in (RUN, SCORES, V1, V2):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUNDLED / name, root / name)
    rows = [
        {
            "id": f"{i}",
            "domain": domain,
            "prompt": f"q{i}",
            "chosen": ["a" * i, "b!", "c"],
            "rejected": ["d", "ee", "f!"],
        }
        for domain in ("chat", "math", "code")
        for i in range(1, 6)
    ]
    data = root / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scorer = FunctionScorer(lambda prompt, completion: float(len(completion) - 2 * completion.count("!")))
    evaluate_scorer(scorer, "me/calm", load_benchmark("rm-bench", data=data), out=root)
    return root


@pytest.fixture
def board(sound: Path, tmp_path: Path) -> Path:
    """A copy of the small board that a test may damage."""
    return Path(shutil.copytree(sound, tmp_path / "board"))


def change(root: Path, name: str, place: Sequence[str | int], value: Any) -> None:
    """Put a value into a result file; a function is applied to what stands there, None takes it out."""
    content = json.loads((root / name).read_text(encoding="utf-8"))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value(inner[place[-1]]) if callable(value) else value
    (root / name).write_text(json.dumps(content), encoding="utf-8")


def rewrite(root: Path, edit: Callable[[pd.DataFrame, dict[str, Any]], pd.DataFrame]) -> None:
    """Write the run's score file again with other rows or another description; its result stays as it is."""
    frame, about = read_scores(root / SCORES)
    write_scores(root / SCORES, edit(frame, about), about)


def found(root: Path) -> set[str]:
    return {f"{each.path}: {each.field}" for each in verify(root).differences}


def of(path: str, *fields: str) -> set[str]:
    return {f"{path}: {field}" for field in fields}


def more(value: float) -> float:
    return value + 0.01


def test_the_bundled_results_can_all_be_derived_again() -> None:
    """No number of the bundled boards differs from what its scores, or its other numbers, give."""
    report = verify(BUNDLED)
    assert [str(each) for each in report.differences] == []
    assert report.with_scores >= 6
    assert report.results == report.with_scores + report.without_scores
    assert report.numbers > 10_000


def test_the_small_board_is_sound(sound: Path) -> None:
    """What the faults are planted into has none; the run has the parts that they are planted in."""
    assert verify(sound).differences == ()
    content = json.loads((sound / MATRIX).read_text(encoding="utf-8"))
    assert content["matrices"].keys() == {"Chat", "Math", "Code"}
    assert content["absent"].keys() == {"Safety", "headline"}


INTERVAL = ("stderr", "low", "high")
EDITS: dict[str, tuple[str, Sequence[str | int], Any, set[str]]] = {
    "headline": (RUN, ("headline", "value"), more, of(RUN, "headline.value")),
    "headline in the ninth digit": (RUN, ("headline", "value"), lambda v: v + 3e-9, of(RUN, "headline.value")),
    "headline removed": (RUN, ("headline",), None, of(RUN, "headline")),
    "section": (RUN, ("sections", "Chat", "value"), more, of(RUN, "sections.Chat.value")),
    "subset": (RUN, ("subsets", "chat-easy", "value"), more, of(RUN, "subsets.chat-easy.value")),
    "subset removed": (RUN, ("subsets", "chat-easy"), None, of(RUN, "subsets.chat-easy")),
    "interval bound": (RUN, ("sections", "Ties", "high"), more, of(RUN, "sections.Ties.high")),
    "standard error": (RUN, ("subsets", "ties", "stderr"), more, of(RUN, "subsets.ties.stderr")),
    "method": (RUN, ("headline", "method"), "wilson", of(RUN, "headline.method")),
    "floor": (RUN, ("headline", "floor"), more, of(RUN, "headline.floor")),
    "unscored": (RUN, ("counts", "unscored"), 1, of(RUN, "counts.unscored")),
    "ties": (RUN, ("counts", "ties"), 7, of(RUN, "counts.ties")),
    "ties of a section": (RUN, ("sections", "Chat", "ties"), 7, of(RUN, "sections.Chat.ties")),
    "reasons": (RUN, ("counts", "reasons"), {"too long": 1}, of(RUN, "counts.reasons.too long")),
    "margins": (RUN, ("margins", "mean"), more, of(RUN, "margins.mean")),
    "a quantile": (RUN, ("margins", "quantiles", "0.05"), more, of(RUN, "margins.quantiles.0.05")),
    "length": (RUN, ("length", "chosen longer", "value"), more, of(RUN, "length.chosen longer.value")),
    "notes": (RUN, ("notes", "empty_completions"), 1, of(RUN, "notes.empty_completions")),
    "model revision": (RUN, ("model", "revision"), "abc", of(RUN, "model.revision")),
    "model kind": (RUN, ("model", "kind"), "implicit", of(RUN, "model.kind")),
    "benchmark digest": (RUN, ("benchmark", "sha256"), "0" * 64, of(RUN, "benchmark.sha256")),
    "command": (RUN, ("run", "command"), "rb evaluate", of(RUN, "run.command")),
    "seed": (RUN, ("run", "seed"), 1, of(RUN, "run.seed")),
    "digest of the scores": (RUN, ("scores", "sha256"), "0" * 64, of(RUN, "scores.sha256")),
    "scores that are not there": (RUN, ("scores", "path"), "scores/none.parquet", of(RUN, "scores.path")),
    "scores outside": (RUN, ("scores", "path"), "../rows.parquet", of(RUN, "scores.path")),
    "matrix cell": (
        MATRIX,
        ("matrices", "Chat", "cells", 0, 1, "value"),
        more,
        of(MATRIX, "matrices.Chat.cells[0][1].value"),
    ),
    "matrix summary": (MATRIX, ("matrices", "Math", "hard", "low"), more, of(MATRIX, "matrices.Math.hard.low")),
    "absent entry": (MATRIX, ("absent", "Safety"), None, of(MATRIX, "absent.Safety")),
    "not the schema": (RUN, ("counts", "ties"), "many", of(RUN, "")),
    # What is published: the interval of a changed value follows from it, and so does what is composed of it.
    "published headline": (
        V1,
        ("headline", "value"),
        more,
        of(V1, "headline.value", "headline.low", "headline.high"),
    ),
    "published section": (
        V1,
        ("sections", "Chat", "value"),
        more,
        of(V1, "sections.Chat.value", "sections.Chat.low", "sections.Chat.high", "headline.value"),
    ),
    "published subset": (
        V1,
        ("subsets", "hep-go", "value"),
        more,
        of(V1, *(f"subsets.hep-go.{i}" for i in INTERVAL), "sections.Reasoning.value")
        | of(V1, *(f"sections.Reasoning.{i}" for i in INTERVAL)),
    ),
    "published interval": (V1, ("sections", "Safety", "low"), more, of(V1, "sections.Safety.low")),
    "published headline's interval": (V2, ("headline", "high"), more, of(V2, "headline.high")),
    "published headline of another benchmark": (
        V2,
        ("headline", "value"),
        more,
        of(V2, "headline.value", "headline.low", "headline.high"),
    ),
    "published section that no record has": (
        V2,
        ("sections", "Poetry"),
        {"value": 0.5},
        of(V2, "sections.Poetry"),
    ),
    "published headline that is gone": (V2, ("headline",), None, of(V2, "absent.headline")),
}


@pytest.mark.parametrize("fault", EDITS)
def test_a_changed_field_is_named_and_nothing_else(board: Path, fault: str) -> None:
    """Each field that is changed alone is named, with its file, and only it and what follows from it."""
    name, place, value, expected = EDITS[fault]
    change(board, name, place, value)
    assert found(board) == expected


def test_the_scores_of_another_model_are_not_taken_for_its_own(board: Path) -> None:
    """A result that names another's score file differs in whose it is, and in all the rest."""
    change(board, RUN, ("scores", "path"), "scores/rm-bench/me/calm.parquet")
    assert of(RUN, "model.name", "benchmark.id", "scores.sha256", "headline") <= found(board)


def test_a_published_section_that_is_gone_is_missed(board: Path) -> None:
    """A section that a published result lacks has to be in `absent`; the headline cannot be without it."""
    change(board, V2, ("sections", "Math"), None)
    assert of(V2, "absent.Math", "headline") <= found(board)


def changed_score(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    worst = frame.index[(frame["subset"] == "chat-easy") & frame["is_chosen"]][0]
    frame.loc[worst, "score"] = -1000.0
    return frame


def swapped_labels(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    pair = frame.index[frame["subset"] == "chat-easy"][:2]
    frame.loc[pair, "is_chosen"] = ~frame.loc[pair, "is_chosen"]
    return frame


def flipped_label(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    frame.loc[frame.index[frame["is_chosen"]][0], "is_chosen"] = False
    return frame


def other_seed(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    about["run"]["seed"] = 5
    return frame


def without_example(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    return frame[frame["example_id"] != frame["example_id"].iloc[0]]


def without_row(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    return frame.drop(index=1)


def foreign_subset(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    return frame.assign(subset="poetry")


def no_description(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    del about["model"]
    return frame


def wrong_ties(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    ties = frame["subset"] == "ties"
    return frame.assign(example_id=frame["example_id"].where(~ties, "other-" + frame["example_id"]))


@pytest.mark.parametrize(
    ("edit", "fields"),
    [
        (changed_score, ("subsets.chat-easy.value", "sections.Chat.value", "headline.value", "margins.mean")),
        (swapped_labels, ("subsets.chat-easy.value", "sections.Chat.value", "headline.value")),
        (flipped_label, ("scores",)),
        (other_seed, ("run.seed", "headline.low", "sections.Chat.stderr")),
        (without_example, ("counts.examples", "counts.completions")),
        (without_row, ("scores",)),
        (foreign_subset, ("scores",)),
        (no_description, ("scores",)),
        (wrong_ties, ("scores",)),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_changed_score_file_is_named(
    board: Path, edit: Callable[[pd.DataFrame, dict[str, Any]], pd.DataFrame], fields: Sequence[str]
) -> None:
    """Its result's digest no longer fits, nor what is derived from it; other results are not named."""
    rewrite(board, edit)
    differing = found(board)
    assert of(RUN, "scores.sha256", *fields) <= differing
    assert all(each.startswith(f"{RUN}: ") for each in differing)
    if fields == ("scores",):  # it cannot be aggregated at all
        assert differing == of(RUN, "scores.sha256", "scores")


def test_a_changed_score_that_changes_no_outcome_is_still_found(board: Path) -> None:
    """A score that wins by a little more changes margins and digest alone."""

    def nudged(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
        pairs = frame[frame["subset"] == "chat-easy"].groupby("example_id")["score"]
        best = next(rows.idxmax() for _, rows in pairs)
        frame.loc[best, "score"] += 0.5
        return frame

    rewrite(board, nudged)
    assert "scores.sha256" in {each.partition(": ")[2] for each in found(board)}
    assert all(each.partition(": ")[2].startswith(("scores.sha256", "margins")) for each in found(board))


def test_a_missing_score_file_is_named(board: Path) -> None:
    """A result whose scores are not there is a difference of its own."""
    (board / SCORES).unlink()
    assert [str(each) for each in verify(board).differences] == [f"{RUN}: scores.path: {SCORES} does not exist"]


def test_a_damaged_score_file_is_named(board: Path) -> None:
    """What is no parquet file cannot be aggregated, and the audit goes on."""
    (board / SCORES).write_bytes(b"PAR1")
    assert found(board) == of(RUN, "scores", "scores.sha256")


def test_a_result_in_another_place_is_named(board: Path) -> None:
    """A result that lies where another belongs says so; its scores are no orphan for that."""
    other = board / "results/starter/builtin/other.json"
    (board / RUN).rename(other)
    (difference,) = verify(board).differences
    assert str(difference) == f"results/starter/builtin/other.json: says it is {RUN}"


def test_scores_without_a_result_are_named(board: Path) -> None:
    """A score file that no result is derived from is an orphan, unless its result stands there and is unreadable."""
    shutil.copy(board / SCORES, board / "scores/starter/builtin/again.parquet")
    assert found(board) == {"scores/starter/builtin/again.parquet: "}
    (board / "scores/starter/builtin/again.parquet").unlink()
    (board / RUN).write_text("{", encoding="utf-8")
    assert found(board) == of(RUN, "")


def test_a_rounded_headline_is_no_difference(board: Path) -> None:
    """A published headline may differ by what rounding to four digits explains, and not by more."""
    change(board, V2, ("headline", "value"), lambda v: round(v + 0.0003, 6))
    assert "headline.value" in {each.field for each in verify(board).differences}
    change(board, V2, ("headline", "value"), lambda v: round(v - 0.00029, 6))
    assert "headline.value" not in {each.field for each in verify(board).differences}


def test_a_link_to_the_scores_is_followed(board: Path, tmp_path: Path) -> None:
    """A snapshot of a repository is a folder of links into a store beside it."""
    store = tmp_path / "store"
    (board / SCORES).rename(store)
    (board / SCORES).symlink_to(store)
    assert verify(board).differences == ()


def with_derived(board: Path) -> Path:
    """The board with the files that a repository has beside its results."""
    for path, content in derived_files.derive_from_folder(board).items():
        (board / path).parent.mkdir(exist_ok=True)
        (board / path).write_bytes(content)
    return board


def test_derived_files_are_compared_by_their_values(board: Path) -> None:
    """JSON and parquet in other bytes are no difference; another value is, and names its place."""
    leaderboard = with_derived(board) / derived_files.LEADERBOARD
    table = board / derived_files.table_path("starter")
    content = json.loads(leaderboard.read_bytes())
    leaderboard.write_text(json.dumps(content, indent=2), encoding="utf-8")
    rows = pq.read_table(table)
    pq.write_table(rows, table, compression="none")
    assert verify(board, whole=True).differences == ()
    content["boards"][0]["rows"][0][4] = 0.999
    leaderboard.write_text(json.dumps(content), encoding="utf-8")
    column = rows.column_names.index("score")
    pq.write_table(rows.set_column(column, "score", pa.array([0.5] * rows.num_rows)), table)
    said = [str(each) for each in verify(board).differences]
    assert said[0].startswith("leaderboard.json: boards[0].rows[0][4]: says 0.999, the results give")
    assert all(each.startswith("tables/starter.parquet: [") and ".score: says 0.5" in each for each in said[1:])
    assert len(said) > 1
    leaderboard.write_text("{", encoding="utf-8")
    assert "leaderboard.json: not a leaderboard" in str(verify(board).differences[0])


def test_derived_files_of_other_results_are_wrong_in_a_whole_repository_only(board: Path) -> None:
    """Where results of one's own were added to a folder, its boards are of before; in a repository they must fit."""
    with_derived(board)
    change(board, V2, ("model", "kind_detail"), lambda _: "other")
    assert verify(board).differences == ()
    (difference,) = verify(board, whole=True).differences
    assert (difference.path, difference.field) == ("leaderboard.json", "results")


def test_a_repository_on_the_hub_is_audited(tmp_path: Path) -> None:
    """With --repo a commit is fetched and verified: no difference as pushed, and each planted file is named."""
    with serve(tokens={"hf_write": "write"}) as server:
        environment = server.environment(tmp_path, "hf_write", COLUMNS="200")

        def rb(*arguments: str) -> tuple[int, str]:
            command = [sys.executable, "-m", "rb_core", *arguments, "--repo", "me/results"]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

        assert rb("sync", "push", "--create")[0] == 0
        code, said = rb("verify")
        assert (code, said.count("\n")) == (0, 1)
        assert "415 results, 6 with scores" in said
        there = server.repo("datasets/me/results")
        path = "results/starter/baseline/longest.json"
        server.commit(there.key, {path: there.files()[path].replace(b'"value": 0.', b'"value": 0.1', 1)})
        there.forge("results/../../evil.json", b"{}")
        code, said = rb("verify")
        assert code == 1
        assert f"{path}: headline.value: says" in said
        assert "refused: 'results/../../evil.json'" in said
        assert "leaderboard.json: results: says" in said


def test_names_are_not_obeyed_by_the_terminal() -> None:
    """Control characters in what a file from elsewhere says are spelled out."""
    assert str(Mismatch("a\x1b[2Jb.json", "x", "\x9b", None)).isprintable()


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    """Nothing to verify is a mistake, not a success."""
    with pytest.raises(ResultError, match="no results here"):
        verify(tmp_path)


def rb(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command line in this process; returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["rb", *arguments])
    with pytest.raises(SystemExit) as stop:
        main.main()
    return int(stop.value.code or 0)


def test_the_command_says_what_differs_by_line_and_exit_code(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 for no difference, 1 for one, which is a line; 2 for a mistake. The last line sums up."""
    assert rb(["verify", str(board)], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("4 results, 2 with scores and 2 without; ")
    change(board, RUN, ("sections", "Chat", "value"), 0.912)
    assert rb(["verify", str(board)], monkeypatch) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{RUN}: sections.Chat.value: says 0.912, its scores give 0.5083333333333333"
    assert last.endswith("; 1 differences")
    assert rb(["verify", str(board), "--json"], monkeypatch) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["results"] == 4
    assert report["differences"][0]["field"] == "sections.Chat.value"
    assert rb(["verify", str(tmp_path / "none")], monkeypatch) == 2
    assert "no results here" in capsys.readouterr().err


def test_verifying_changes_nothing(board: Path) -> None:
    """An audit only reads."""

    def digests() -> dict[Path, str]:
        files = (p for p in board.rglob("*") if p.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    verify(board)
    assert digests() == before
