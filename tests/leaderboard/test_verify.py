from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from rb_core.errors import ResultError
from rb_core.evaluation.evaluate import evaluate_scorer
from rb_core.hub.push import push
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard import derived_files
from rb_core.leaderboard.verify import Mismatch, verify
from rb_core.results.score_table import read_scores, write_scores
from rb_core.results.storage import read_result, write_result
from rb_core.scorers.function import FunctionScorer
from tests.cli.command_line import rb
from tests.fakes.benchmarks import few_examples
from tests.fakes.hub_server import serve
from tests.paths import BUNDLED

WRITER = "hf_write"
RUN = "results/starter/builtin/tiny-rm.json"
SCORES = "scores/starter/builtin/tiny-rm.parquet"
MATRIX = "results/rm-bench/me/calm.json"
V1 = "results/rewardbench/weqweasdas/RM-Gemma-2B.json"
V2 = "results/rewardbench-2/Skywork/Skywork-Reward-Llama-3.1-8B-v0.2.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundled run, a run with style matrices that lacks a section, two published results. Not to be changed."""
    root = tmp_path_factory.mktemp("board")
    for name in (RUN, SCORES, V1, V2):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUNDLED / name, root / name)
    rows = [
        {"id": f"{i}", "domain": domain, "prompt": f"q{i}"}
        | {"chosen": ["a" * i, "b!", "c"], "rejected": ["d", "ee", "f!"]}
        for domain in ("chat", "math", "code")
        for i in range(1, 6)
    ]
    data = root / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scorer = FunctionScorer(lambda prompt, completion: float(len(completion) - 2 * completion.count("!")))
    evaluate_scorer(scorer, "me/calm", few_examples("rm-bench", data), out=root)
    return root


@pytest.fixture
def board(sound: Path, tmp_path: Path) -> Path:
    """A copy of `sound` that a test may damage."""
    return Path(shutil.copytree(sound, tmp_path / "board"))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The two published results alone, which are verified quickly."""
    for name in (V1, V2):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(BUNDLED / name, tmp_path / name)
    return tmp_path


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


def mismatches(root: Path) -> set[str]:
    return {f"{m.path}: {m.field}" for m in verify(root).differences}


def of(path: str, *fields: str) -> set[str]:
    return {f"{path}: {field}" for field in fields}


def more(value: float) -> float:
    return value + 0.01


def test_the_bundled_results_have_no_mismatch() -> None:
    report = verify(BUNDLED)
    assert [str(m) for m in report.differences] == []
    assert report.with_scores >= 6
    assert report.results == report.with_scores + report.without_scores
    assert report.numbers > 10_000


def test_the_small_board_has_no_mismatch_and_all_parts_that_tests_damage(sound: Path) -> None:
    assert verify(sound).differences == ()
    content = json.loads((sound / MATRIX).read_text(encoding="utf-8"))
    assert content["matrices"].keys() == {"Chat", "Math", "Code"}
    assert content["absent"].keys() == {"Safety", "headline"}


def nine_digits(value: float) -> float:
    return value + 3e-9


# Changes of results with scores: file, place in it, new value, and the field that must be reported.
CHANGES: tuple[tuple[str, tuple[str | int, ...], Any, str], ...] = (
    (RUN, ("headline", "value"), nine_digits, "headline.value"),
    (RUN, ("headline", "method"), "wilson", "headline.method"),
    (RUN, ("headline", "floor"), more, "headline.floor"),
    (RUN, ("sections", "Chat", "value"), more, "sections.Chat.value"),
    (RUN, ("sections", "Chat", "ties"), 7, "sections.Chat.ties"),
    (RUN, ("sections", "Ties", "high"), more, "sections.Ties.high"),
    (RUN, ("subsets", "chat-easy", "value"), more, "subsets.chat-easy.value"),
    (RUN, ("subsets", "ties", "stderr"), more, "subsets.ties.stderr"),
    (RUN, ("subsets", "chat-multiturn"), None, "subsets.chat-multiturn"),
    (RUN, ("counts", "unscored"), 1, "counts.unscored"),
    (RUN, ("counts", "ties"), 7, "counts.ties"),
    (RUN, ("counts", "reasons"), {"too long": 1}, "counts.reasons.too long"),
    (RUN, ("margins", "mean"), more, "margins.mean"),
    (RUN, ("margins", "quantiles", "0.05"), more, "margins.quantiles.0.05"),
    (RUN, ("length", "chosen longer", "value"), more, "length.chosen longer.value"),
    (RUN, ("notes", "empty_completions"), 1, "notes.empty_completions"),
    (RUN, ("model", "revision"), "abc", "model.revision"),
    (RUN, ("model", "kind"), "implicit", "model.kind"),
    (RUN, ("benchmark", "sha256"), "0" * 64, "benchmark.sha256"),
    (RUN, ("run", "command"), "rb evaluate", "run.command"),
    (RUN, ("run", "seed"), 1, "run.seed"),
    (RUN, ("scores", "sha256"), "0" * 64, "scores.sha256"),
    (MATRIX, ("matrices", "Chat", "cells", 0, 1, "value"), more, "matrices.Chat.cells[0][1].value"),
    (MATRIX, ("matrices", "Math", "hard", "low"), more, "matrices.Math.hard.low"),
    (MATRIX, ("absent", "Safety"), None, "absent.Safety"),
)


def test_every_changed_field_of_a_run_is_reported_and_no_other(board: Path) -> None:
    for name, place, value, _ in CHANGES:
        change(board, name, place, value)
    assert mismatches(board) == {f"{name}: {field}" for name, _, _, field in CHANGES}


def test_a_missing_headline_of_a_run_is_reported(board: Path) -> None:
    change(board, RUN, ("headline",), None)
    assert mismatches(board) == of(RUN, "headline")


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("scores", "path"), "scores/starter/none.parquet", "scores.path"),
        (("scores", "path"), "../rows.parquet", ""),
        (("counts", "ties"), "many", ""),  # not the schema
    ],
)
def test_scores_that_do_not_exist_and_other_schemas_are_reported(
    board: Path, place: tuple[str, ...], value: str, field: str
) -> None:
    change(board, RUN, place, value)
    assert mismatches(board) == of(RUN, field)


INTERVAL = ("stderr", "low", "high")
# Changes of published results: a changed value does not fit its interval, nor the numbers that are composed of it.
PUBLISHED_CHANGES: dict[str, tuple[str, tuple[str, ...], Any, set[str]]] = {
    "headline": (V1, ("headline", "value"), more, of(V1, "headline.value", *(f"headline.{i}" for i in INTERVAL))),
    "section": (
        V1,
        ("sections", "Chat", "value"),
        more,
        of(V1, "sections.Chat.value", *(f"sections.Chat.{i}" for i in INTERVAL), "headline.value"),
    ),
    "subset": (
        V1,
        ("subsets", "hep-go", "value"),
        more,
        of(V1, *(f"subsets.hep-go.{i}" for i in INTERVAL), "sections.Reasoning.value")
        | of(V1, *(f"sections.Reasoning.{i}" for i in INTERVAL)),
    ),
    "interval": (V1, ("sections", "Safety", "low"), more, of(V1, "sections.Safety.low")),
    "interval of the headline": (V2, ("headline", "high"), more, of(V2, "headline.high")),
    "narrowed interval that claims to be a bootstrap's": (
        V2,
        ("headline",),
        lambda headline: headline | {"stderr": 1e-3, "low": headline["value"] - 2e-3, "method": "bootstrap"},
        of(V2, "headline.method", "headline.stderr", "headline.low"),
    ),
    "interval of another method": (V2, ("sections", "Math", "method"), "wilson", of(V2, "sections.Math.method")),
    "removed interval": (
        V1,
        ("sections", "Safety"),
        lambda section: {"value": section["value"]},
        of(V1, "sections.Safety.method", *(f"sections.Safety.{i}" for i in INTERVAL))
        | of(V1, "headline.method", *(f"headline.{i}" for i in (*INTERVAL, "no_interval"))),
    ),
    "invented floor": (V2, ("headline", "floor"), 0.99, of(V2, "headline.floor")),
    "invented number of examples": (V1, ("headline", "scored"), 2985, of(V1, "headline.scored")),
    "interval without a value": (
        V2,
        ("headline",),
        lambda headline: {key: value for key, value in headline.items() if key != "value"},
        of(V2, "headline.value"),
    ),
    "numbers that only scores give": (
        V2,
        ("length",),
        {"chosen longer": {"value": 0.9, "low": 0.8, "high": 0.95}},
        of(V2, "length"),
    ),
    "unknown section": (V2, ("sections", "Poetry"), {"value": 0.5}, of(V2, "sections.Poetry")),
    "missing headline": (V2, ("headline",), None, of(V2, "absent.headline")),
}


@pytest.mark.parametrize("fault", PUBLISHED_CHANGES)
def test_a_changed_field_of_a_published_result_is_reported_and_no_other(published: Path, fault: str) -> None:
    name, place, value, expected = PUBLISHED_CHANGES[fault]
    change(published, name, place, value)
    assert mismatches(published) == expected


def test_intervals_on_an_unknown_benchmark_are_reported(published: Path) -> None:
    change(published, V2, ("benchmark", "id"), "mine")
    assert of(V2, "headline.method", *(f"headline.{i}" for i in INTERVAL)) <= mismatches(published)


def test_the_scores_of_another_model_are_reported(board: Path) -> None:
    change(board, RUN, ("scores", "path"), "scores/rm-bench/me/calm.parquet")
    assert of(RUN, "model.name", "benchmark.id", "scores.sha256", "headline") <= mismatches(board)


def test_a_missing_published_section_must_be_absent_and_leaves_no_headline(published: Path) -> None:
    change(published, V2, ("sections", "Math"), None)
    assert of(V2, "absent.Math", "headline") <= mismatches(published)


def changed_score_and_seed(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    worst = frame.index[(frame["subset"] == "chat-easy") & frame["is_chosen"]][0]
    frame.loc[worst, "score"] = -1000.0
    about["run"]["seed"] = 5
    return frame


def swapped_labels(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    pair = frame.index[frame["subset"] == "chat-easy"][:2]
    frame.loc[pair, "is_chosen"] = ~frame.loc[pair, "is_chosen"]
    return frame


def flipped_label(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
    frame.loc[frame.index[frame["is_chosen"]][0], "is_chosen"] = False
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


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", [RUN, V1])
def test_a_changed_bit_of_a_result_is_named_or_changes_no_value(
    board: Path, published: Path, name: str, count: int
) -> None:
    root = board if name == RUN else published
    path, chance = root / name, random.Random(14)
    whole = path.read_bytes()
    for bit in chance.sample(range(8 * len(whole)), count):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if name not in {mismatch.path for mismatch in verify(root).differences}:
            assert json.loads(damaged) == json.loads(whole)


def test_a_changed_text_is_named_by_the_checksum_and_a_file_without_one_is_accepted(published: Path) -> None:
    change(published, V1, ("published", "note"), "As it was not.")
    assert mismatches(published) == of(V1, "checksum")
    fields = json.loads((published / V1).read_text(encoding="utf-8"))
    del fields["checksum"]
    (published / V1).write_text(json.dumps(fields), encoding="utf-8")
    assert mismatches(published) == set()


@pytest.mark.parametrize(
    ("edit", "fields"),
    [
        (
            changed_score_and_seed,
            ("subsets.chat-easy.value", "headline.value", "margins.mean", "run.seed"),
        ),
        (swapped_labels, ("subsets.chat-easy.value", "sections.Chat.value", "headline.value")),
        (flipped_label, ("scores",)),
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
    differing = mismatches(board)
    assert of(RUN, "scores.sha256", *fields) <= differing
    assert all(each.startswith(f"{RUN}: ") for each in differing)
    if fields == ("scores",):  # it cannot be aggregated at all
        assert differing == of(RUN, "scores.sha256", "scores")


def test_a_changed_score_that_changes_no_outcome_changes_margins_and_hash(board: Path) -> None:
    def nudged(frame: pd.DataFrame, about: dict[str, Any]) -> pd.DataFrame:
        pairs = frame[frame["subset"] == "chat-easy"].groupby("example_id")["score"]
        best = next(rows.idxmax() for _, rows in pairs)
        frame.loc[best, "score"] += 0.5
        return frame

    rewrite(board, nudged)
    fields = {m.field for m in verify(board).differences}
    assert "scores.sha256" in fields
    assert all(field.startswith(("scores.sha256", "margins")) for field in fields)


def test_a_missing_score_file_is_named(board: Path) -> None:
    (board / SCORES).unlink()
    assert [str(each) for each in verify(board).differences] == [f"{RUN}: scores.path: {SCORES} does not exist"]


def test_a_damaged_score_file_is_named(board: Path) -> None:
    (board / SCORES).write_bytes(b"PAR1")
    assert mismatches(board) == of(RUN, "scores", "scores.sha256")


def test_a_result_in_the_place_of_another_is_reported_but_not_its_scores(board: Path) -> None:
    (board / RUN).rename(board / "results/starter/builtin/other.json")
    (mismatch,) = verify(board).differences
    assert str(mismatch) == f"results/starter/builtin/other.json: says it is {RUN}"


def test_scores_without_a_result_are_reported_unless_their_result_is_unreadable(board: Path) -> None:
    shutil.copy(board / SCORES, board / "scores/starter/builtin/again.parquet")
    (board / RUN).write_text("{", encoding="utf-8")
    assert mismatches(board) == of(RUN, "") | {"scores/starter/builtin/again.parquet: "}


def test_a_published_headline_may_differ_by_rounding_to_four_digits(published: Path) -> None:
    change(published, V2, ("headline", "value"), lambda v: round(v + 0.0003, 6))
    assert f"{V2}: headline.value" in mismatches(published)
    change(published, V2, ("headline", "value"), lambda v: round(v - 0.00029, 6))
    assert f"{V2}: headline.value" not in mismatches(published)


def test_scores_behind_a_link_are_found(board: Path, tmp_path: Path) -> None:
    """A snapshot of a repository is a folder of links to files elsewhere."""
    (board / SCORES).rename(tmp_path / "elsewhere")
    (board / SCORES).symlink_to(tmp_path / "elsewhere")
    assert verify(board).differences == ()


@pytest.fixture
def with_derived(published: Path) -> Path:
    """The published results with their derived files, as in a repository."""
    for path, content in derived_files.derive_from_folder(published).items():
        (published / path).parent.mkdir(exist_ok=True)
        (published / path).write_bytes(content)
    return published


def test_derived_files_are_compared_by_their_values(with_derived: Path) -> None:
    leaderboard = with_derived / derived_files.LEADERBOARD
    table = with_derived / derived_files.table_path("rewardbench")
    content = json.loads(leaderboard.read_bytes())
    leaderboard.write_text(json.dumps(content, indent=2), encoding="utf-8")
    rows = pq.read_table(table)
    pq.write_table(rows, table, compression="none")
    assert verify(with_derived, whole=True).differences == ()
    content["boards"][0]["rows"][0][4] = 0.999
    leaderboard.write_text(json.dumps(content), encoding="utf-8")
    column = rows.column_names.index("score")
    pq.write_table(rows.set_column(column, "score", pa.array([0.5] * rows.num_rows)), table)
    first, second = (str(m) for m in verify(with_derived).differences)
    assert first.startswith("leaderboard.json: boards[0].rows[0][4]: says 0.999, the results give")
    assert second.startswith("tables/rewardbench.parquet: [0].score: says 0.5")
    leaderboard.write_text("{", encoding="utf-8")
    assert "leaderboard.json: not a leaderboard" in str(verify(with_derived).differences[0])


def test_derived_files_of_other_results_are_wrong_only_in_a_whole_repository(with_derived: Path) -> None:
    """A user may add results to a pulled folder, whose boards are then older."""
    result = read_result(with_derived / V2)
    other = result.model.model_copy(update={"kind_detail": "other"})
    write_result(with_derived, result.model_copy(update={"model": other}), overwrite=True)
    assert verify(with_derived).differences == ()
    (mismatch,) = verify(with_derived, whole=True).differences
    assert (mismatch.path, mismatch.field) == ("leaderboard.json", "results")


def test_a_repository_on_the_hub_is_verified(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --repo a commit is downloaded; it has no mismatch as pushed, and each wrong file is reported."""
    with serve(tokens={WRITER: "write"}) as server:
        repo = ResultsRepo("me/results", HfApi(endpoint=server.url, token=WRITER))
        monkeypatch.setattr("rb_core.cli.verify.ResultsRepo", lambda name: repo)
        server.add_repo("datasets/me/results")
        push("me/results", published, repo=repo)
        assert rb(["verify", "--repo", "me/results"], monkeypatch) == 0
        assert capsys.readouterr().out.startswith("2 results, 0 with scores")
        content = server.repo("datasets/me/results").files()[V1]
        server.commit("datasets/me/results", {V1: content.replace(b'"value": 0.', b'"value": 0.1', 1)})
        server.repo("datasets/me/results").forge("results/../../evil.json", b"{}")
        assert rb(["verify", "--repo", "me/results"], monkeypatch) == 1
    out = capsys.readouterr().out
    assert f"{V1}: headline.value: says" in out
    assert "refused: 'results/../../evil.json'" in out
    assert "leaderboard.json: results: says" in out


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    assert str(Mismatch("a\x1b[2Jb.json", "x", "\x9b", None)).isprintable()


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no results here"):
        verify(tmp_path)


def test_the_command_says_what_differs_by_line_and_exit_code(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 for no difference, 1 for one, which is a line; 2 for a mistake. The last line sums up."""
    assert rb(["verify", str(board)], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("4 results, 2 with scores and 2 without; ")
    change(board, RUN, ("sections", "Chat", "value"), 0.912)
    assert rb(["verify", str(board)], monkeypatch) == 1
    first, last = capsys.readouterr().out.splitlines()
    chat = read_result(BUNDLED / RUN).sections["Chat"].value
    assert first == f"{RUN}: sections.Chat.value: says 0.912, its scores give {chat}"
    assert last.endswith("; 1 differences")
    assert rb(["verify", str(board), "--json"], monkeypatch) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["results"] == 4
    assert report["differences"][0]["field"] == "sections.Chat.value"
    assert rb(["verify", str(tmp_path / "none")], monkeypatch) == 2
    assert "no results here" in capsys.readouterr().err


def test_verifying_changes_nothing(board: Path) -> None:

    def digests() -> dict[Path, str]:
        files = (p for p in board.rglob("*") if p.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    verify(board)
    assert digests() == before
