"""Audits of models: the user's own file, the result, the self-test, push, pull, verify and the page's entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rb_core import retries
from rb_core.audits import self_test
from rb_core.audits.model_audit import ModelAudit, Planted
from rb_core.audits.property_file import PropertyAudit, read_property
from rb_core.audits.registry import AUDITS, audit_views
from rb_core.audits.result import SelfTest, parse_audit_result, read_audit_results
from rb_core.audits.run import aggregate_audit, audit_scorer, read_audit_scores, run_audit
from rb_core.audits.self_test import run_self_test
from rb_core.audits.verify import verify_audits
from rb_core.errors import DataError, ResultError, ScoreTableError
from rb_core.hub.companions import read_companions, valid_companions
from rb_core.scorers.function import FunctionScorer
from rb_core.space.results_source import ResultsFolder
from rb_core.stats.item_outcomes import Floats
from tests.cli.command_line import rb
from tests.fakes.judge_server import Fault
from tests.fakes.reward_server import NAME, RewardServer

BUNDLED = Path(__file__).parents[2] / "leaderboard_data"
QUESTION = "Does a word of thanks raise the score?"
WORDS = ("Seven.", "Blue.", "The Rhine.", "Iron.", "Oak.", "Salt.", "A spoon.", "Monday.")


def shift_file(folder: Path, **fields: object) -> Path:
    pairs = [
        {"group": group, "prompt": f"Say {word}", "original": word, "changed": f"{words} {word}"}
        for group, words in (("thanks", "Thank you for asking!"), ("colon", "Answer:"))
        for word in WORDS
    ]
    path = folder / "thanks.yaml"
    path.write_text(json.dumps({"name": "thanks", "question": QUESTION, "effect": "shift", "pairs": pairs} | fields))
    return path


def thankful() -> FunctionScorer:
    return FunctionScorer(lambda prompt, completion: len(completion) % 7 + 5.0 * completion.startswith("Thank"))


def test_an_audit_of_ones_own_finds_the_bias_that_is_there(tmp_path: Path) -> None:
    written = audit_scorer(thankful(), "me/thankful", read_property(shift_file(tmp_path)), out=tmp_path)
    thanks, colon = written.result.effects
    assert (thanks.group, thanks.units, thanks.adjusted_p and thanks.adjusted_p < 0.05) == ("thanks", 8, True)
    assert (thanks.value or 0) > 2 > abs(colon.value or 0)
    assert written.result.self_test.passed
    assert written.result.counts.completions == 32


def test_accuracy_is_compared_between_groups(tmp_path: Path) -> None:
    rows = [
        {"group": group, "prompt": f"{group} {n}", "chosen": "right", "rejected": "wrong" * (1 + (group == "hard"))}
        for group in ("easy", "hard", "middle")
        for n in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.yaml").write_text("name: own\nquestion: Is it fair?\ndata: rows.jsonl\n")
    shortest = FunctionScorer(lambda prompt, completion: len(completion) + (hash_of(prompt[0]["content"]) % 3))
    audit = read_property(tmp_path / "own.yaml")
    result = audit_scorer(shortest, "me/longest", audit, out=tmp_path).result
    values = {effect.key: effect.value for effect in result.effects}
    assert values["accuracy", "hard"] == 0.0
    assert values["accuracy", "easy"] == 0.5  # ties
    contrast = next(effect for effect in result.effects if effect.null is not None and effect.group == "hard")
    assert contrast.value == -0.5


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def test_a_result_follows_from_its_score_table_alone(tmp_path: Path) -> None:
    written = run_audit("builtin/tiny-rm", read_property(shift_file(tmp_path)), out=tmp_path)
    scores = tmp_path / written.result.scores.path
    assert aggregate_audit(scores) == written.result
    assert parse_audit_result(written.path.read_bytes(), "it") == written.result
    frame, _ = read_audit_scores(scores)
    assert list(frame["variant"].unique()) == ["original", "changed"]
    check = verify_audits(tmp_path)
    assert (check.results, check.mismatches) == (1, ())
    assert check.numbers > 20


def test_a_result_is_not_replaced_without_being_asked(tmp_path: Path) -> None:
    audit = read_property(shift_file(tmp_path))
    audit_scorer(thankful(), "me/thankful", audit, out=tmp_path)
    with pytest.raises(ResultError, match="replace it with --overwrite"):
        audit_scorer(thankful(), "me/thankful", audit, out=tmp_path)
    audit_scorer(thankful(), "me/thankful", audit, out=tmp_path, overwrite=True)


def test_a_changed_result_is_found_out(tmp_path: Path) -> None:
    written = audit_scorer(thankful(), "me/thankful", read_property(shift_file(tmp_path)), out=tmp_path)
    fields = json.loads(written.path.read_text())
    fields["effects"][0]["value"] = 0.0
    written.path.write_text(json.dumps(fields))
    (mismatch,) = verify_audits(tmp_path).mismatches
    assert mismatch.field == "effects[0].value"
    written.path.unlink()
    (mismatch,) = verify_audits(tmp_path).mismatches
    assert mismatch.problem == "no result was computed from it"


@pytest.mark.usefixtures("short_self_test")
def test_a_folder_of_audits_alone_is_verified_with_one_self_test_for_all_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (1, 2):  # two audits of the same name and other rows
        pairs = json.loads(shift_file(tmp_path).read_text())["pairs"][: 8 * count]
        audit = read_property(shift_file(tmp_path, pairs=pairs))
        for model in ("one", "two"):
            audit_scorer(thankful(), f"me/{model}-{count}", audit, out=tmp_path)
    tested: list[int] = []
    original = self_test.run_self_test

    def counting(audit: ModelAudit, rows: pd.DataFrame) -> SelfTest:
        tested.append(len(rows))
        return original(audit, rows)

    monkeypatch.setattr(self_test, "run_self_test", counting)
    capsys.readouterr()
    assert rb(["verify", str(tmp_path)], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("4 results, 4 with scores and 0 without; ")
    assert tested == [16, 32]


def test_the_bundled_results_follow_from_their_score_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    results, refused = read_audit_results(BUNDLED)
    assert refused == []
    assert {result.audit.kind for result in results} == AUDITS.keys() - {"property"}
    assert all(result.self_test.passed for result in results)
    monkeypatch.setattr(self_test, "run_self_test", lambda audit, rows: SelfTest(runs=0))
    fields = {mismatch.field.partition(".")[0] for mismatch in verify_audits(BUNDLED).mismatches}
    assert fields == {"self_test"}


def test_results_travel_with_their_score_tables(tmp_path: Path) -> None:
    written = audit_scorer(thankful(), "me/thankful", read_property(shift_file(tmp_path)), out=tmp_path)
    companions = read_companions(tmp_path)
    assert list(companions) == [written.result.path().as_posix(), written.result.scores.path]
    assert valid_companions(companions) == (companions, [])
    path = written.result.scores.path
    assert valid_companions({path: companions[path]}) == ({}, [f"{path!r}: {path}: no result was derived from it"])
    (tmp_path / written.result.scores.path).unlink()
    with pytest.raises(ScoreTableError, match="missing or was refused"):
        read_companions(tmp_path)


def test_the_page_has_an_entry_for_every_audit(tmp_path: Path) -> None:
    audit = read_property(shift_file(tmp_path))
    for name in ("me/one", "me/two"):
        audit_scorer(thankful(), name, audit, out=tmp_path)
    ((report,), refused) = audit_views(tmp_path)
    assert (report.audit, report.question, refused) == ("thanks", QUESTION, [])
    assert report.answer[0].startswith("me/one: shift (sd) is significant in 1 of 2 groups: thanks +")
    assert len(report.figure.points) == 4  # type: ignore[union-attr]
    (tmp_path / "audits/thanks/me/three.json").write_text("{}")
    results, refused = read_audit_results(tmp_path)
    assert (len(results), len(refused)) == (2, 1)


@pytest.mark.usefixtures("short_self_test")
def test_the_page_reads_results_again_only_when_a_file_has_changed(tmp_path: Path) -> None:
    audit = read_property(shift_file(tmp_path))
    path = audit_scorer(thankful(), "me/one", audit, out=tmp_path).path
    source = ResultsFolder(tmp_path)
    reports = source.reports()
    assert source.reports() is reports
    audit_scorer(thankful(), "me/two", audit, out=tmp_path)
    assert [len(report.answer) - len(reports[0].answer) for report in source.reports()] == [1]
    path.unlink()
    path.with_name("two.json").unlink()
    assert source.reports() == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"effect": "mean"}, "effect: Input should be 'accuracy' or 'shift'"),
        ({"pairs": []}, "pairs: give the file either pairs, a list of rows, or data"),
        ({"name": "../x"}, "name: String should match pattern"),
        ({"data": "/etc/rows", "pairs": []}, "data: name a file beside this one"),
        ({"mood": "good"}, "mood: Extra inputs are not permitted"),
        ({"pairs": [{"group": "a", "prompt": "p", "original": "o"}]}, "field 'changed': is missing"),
        ({"pairs": [{"prompt": "p", "original": "o", "changed": "c"}]}, "field 'group': is missing"),
    ],
)
def test_a_wrong_file_is_refused_by_field(tmp_path: Path, fields: dict[str, object], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_property(shift_file(tmp_path, **fields)).items()


class Blind(PropertyAudit):
    """An audit that does not see its own planted effect."""

    def simulate(self, scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats | None:
        return super().simulate(scores, rng)


class Alarmed(PropertyAudit):
    """An audit whose unbiased scorer has an effect."""

    def simulate(self, scores: pd.DataFrame, rng: np.random.Generator, planted: Planted | None = None) -> Floats | None:
        return super().simulate(scores, rng, Planted("shift (sd)", "thanks", 1.0))


@pytest.mark.parametrize(("audit_class", "passed"), [(PropertyAudit, True), (Blind, False), (Alarmed, False)])
def test_the_self_test_tells_a_working_audit_from_a_broken_one(
    tmp_path: Path, audit_class: type[ModelAudit], passed: bool
) -> None:
    written = audit_scorer(thankful(), "me/thankful", read_property(shift_file(tmp_path)), out=tmp_path)
    scores, _ = read_audit_scores(tmp_path / written.result.scores.path)
    assert run_self_test(audit_class.from_settings(written.result.audit.settings), scores).passed is passed


def test_an_audit_of_too_few_examples_says_so(tmp_path: Path) -> None:
    pairs = [{"group": "a", "prompt": "p", "original": "o", "changed": "c"}]
    audit = read_property(shift_file(tmp_path, pairs=pairs))
    result = audit_scorer(thankful(), "me/thankful", audit, out=tmp_path).result
    assert result.effects[0].reason == "fewer than 5 independent units"
    assert result.self_test == SelfTest(runs=100, reason="too few examples to find any effect")


@pytest.mark.usefixtures("short_self_test")
def test_requests_that_failed_are_sent_again_by_the_same_command(
    tmp_path: Path, tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    folder, audit = tiny_model("llama"), shift_file(tmp_path)
    with RewardServer("sglang", folder) as server:
        model = ["--model", NAME, "--tokenizer", str(folder), "--url", server.url, "--api", server.api]
        command = ["audit", str(audit), *model, "--out", str(tmp_path / "out")]
        answer = server.answer
        refused = Fault("status", status=400, said="odd")
        server.answer = lambda body: refused if "Oak" in server.tokenizer.decode(body["input_ids"]) else answer(body)
        assert rb(command, monkeypatch) == 0
        (first,), _ = read_audit_results(tmp_path / "out")
        assert first.failed_requests == 4  # two versions in two groups
        server.answer = answer
        before = server.scored
        assert rb(command, monkeypatch) == 0
        assert server.scored - before < 4 + 32 / 2  # those that failed, and the probes
        (second,), _ = read_audit_results(tmp_path / "out")
        assert (second.counts.unscored, verify_audits(tmp_path / "out").mismatches) == (0, ())
        assert rb(command, monkeypatch) == 2  # the result is complete
