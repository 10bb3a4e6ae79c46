"""The audit of safety with a guard: against a table counted by hand, by the limits of guards, and from the command."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from rb_core.audits.guard import AuditGuard
from rb_core.audits.model_audit import AuditItem
from rb_core.audits.report import AuditTable, Cell
from rb_core.audits.result import AuditResult, parse_audit_result
from rb_core.audits.run import audit_scorer
from rb_core.audits.safety.audit import SafetyAudit, safety_audit
from rb_core.audits.safety.filtering import CHANGES_TITLE, KINDS_TITLE, OUTCOMES_TITLE
from rb_core.audits.safety.prompts import OWN_PROMPTS, read_prompts
from rb_core.audits.verify import verify_audits
from rb_core.errors import ModelError
from rb_core.scorers.baseline import BaselineScorer
from rb_core.scorers.function import FunctionScorer
from tests.audits.fairness.test_public_files import crows_file
from tests.audits.safety.answers import write_rows
from tests.cli.command_line import rb

pytestmark = pytest.mark.usefixtures("short_self_test")

LENGTH = BaselineScorer("longest").function
ITEMS = read_prompts(OWN_PROMPTS).items
# (prompt, answer, score, p(unsafe)), as in tests/stats/test_guarded_choice.py; prompts 0 and 1 are safe
BY_HAND = (
    ("0", "helpful", 3.0, 0.6),
    ("0", "helpful", 2.0, 0.1),
    ("0", "refusal", 1.0, 0.0),
    ("1", "helpful", 2.0, 0.9),
    ("1", "refusal", 1.0, 0.7),
    ("2", "unsafe", 3.0, 0.8),
    ("2", "refusal", 1.0, 0.0),
    ("3", "unsafe", 2.0, 0.2),
    ("3", "refusal", 2.0, 0.0),
)


def table_of(result: AuditResult, title: str) -> AuditTable:
    return next(table for table in result.tables if table.title.endswith(title))


def values(table: AuditTable, label: str) -> list[Cell]:
    """Return unsafe answers, refusals, blocked and reward paid of a filter, without intervals."""
    return next(list(row[1:13:3]) for row in table.rows if row[0] == label)


def hand_audit(folder: Path, threshold: float = 0.5) -> SafetyAudit:
    rows: dict[str, dict[str, object]] = {}
    for prompt, label, score, p in BY_HAND:
        row = rows.setdefault(prompt, {"prompt": prompt, "safe": prompt in "01", "kind": f"kind {int(prompt) % 2}"})
        row[label] = [*row.get(label, []), f"{score} {p}"]  # type: ignore[misc]

    def ask(items: Sequence[AuditItem], kept: Path) -> list[float]:
        return [float(text.split()[1]) for item in items for text in item.completions]

    guard = AuditGuard("mine.py:guard", threshold, ask=ask)
    return safety_audit(write_rows(folder / "hand.jsonl", rows.values()), guard=guard)


def test_a_table_counted_by_hand(tmp_path: Path) -> None:
    scorer = FunctionScorer(lambda prompt, completion: float(completion.split()[0]))
    result = audit_scorer(scorer, "me/mine", hand_audit(tmp_path), out=tmp_path).result
    outcomes = table_of(result, OUTCOMES_TITLE)
    deviation = math.sqrt((2 + 0.5 + 2) / 5)
    assert values(outcomes, "no filter") == [0.75, 0.25 * 0, 0.0, 0.0]
    assert values(outcomes, "filter after") == [0.25, 1.0, 0.75, 0.0]
    assert values(outcomes, "filter in the loop") == pytest.approx([0.25, 0.5, 0.25, (1 + 2 + 0) / 3 / deviation])
    assert values(outcomes, "penalty infinity") == pytest.approx([0.0, 1.0, 0.25, (2 + 2 + 0) / 3 / deviation])
    assert values(outcomes, "penalty 0") == values(outcomes, "no filter")
    changes = {row[0]: (row[1], row[5]) for row in table_of(result, CHANGES_TITLE).rows}
    assert changes["filter in the loop"] == (-0.5, 0.5)
    by_kind = {row[:2]: row[2:11:3] for row in table_of(result, KINDS_TITLE).rows}
    assert by_kind["kind 0", "filter in the loop"] == (0.0, 0.0, 0.0)
    assert by_kind["kind 1", "filter in the loop"] == (0.5, 1.0, 0.5)
    alone = {row[0]: row[1::3] for row in table_of(result, "on its own, by threshold").rows}
    assert alone[0.5] == pytest.approx((4 / 9, 1 / 4, 1 / 2, 3 / 7))
    assert alone[0.8] == pytest.approx((2 / 9, 1 / 2, 1 / 2, 1 / 7))
    of_kinds = {row[0]: row[1::3] for row in table_of(result, "on its own, by kind of prompt").rows}
    assert of_kinds["kind 1"] == pytest.approx((2 / 4, 0.0, 0.0, 2 / 3))
    assert of_kinds["safe prompts"] == (3 / 5, 0.0, None, 3 / 5)


def longest(item: AuditItem, *, but: str = "") -> list[str]:
    """Return the labels of an item's longest answers without those of a label."""
    answers = zip(item.completions, item.labels, strict=True)
    allowed = [(LENGTH(item.prompt, text), label) for text, label in answers if label != but]
    return [label for length, label in allowed if length == max(allowed)[0]]


def test_a_perfect_list_of_words_from_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the loop nothing unsafe is delivered, and refusals only where the model prefers them next."""
    answers = [answer for item in ITEMS for answer in zip(item.completions, item.labels, strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(text for text, label in answers if label == "unsafe"))
    command = ["audit", "safety", "--model", "baseline/longest", "--guard", f"words:{tmp_path / 'list.txt'}"]
    assert rb([*command, "--out", str(tmp_path)], monkeypatch) == 0
    assert rb([*command, "--out", str(tmp_path)], monkeypatch) == 2
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert verify_audits(tmp_path).mismatches == ()
    path = tmp_path / "audits/safety-guard-words-list.txt/baseline/longest.json"
    result = parse_audit_result(path.read_bytes(), "it")
    outcomes = table_of(result, OUTCOMES_TITLE)
    safe = [item for item in ITEMS if item.variant == "safe"]

    def share(items: Sequence[AuditItem], label: str, but: str = "") -> float:
        best = [longest(item, but=but) for item in items]
        return sum(labels.count(label) / len(labels) for labels in best) / len(items)

    assert values(outcomes, "no filter")[:3] == pytest.approx([share(ITEMS, "unsafe"), share(safe, "refusal"), 0.0])
    loop = values(outcomes, "filter in the loop")
    assert loop[:3] == pytest.approx([0.0, share(safe, "refusal", but="unsafe"), 0.0])
    after = values(outcomes, "filter after")
    assert after[:2] == pytest.approx([0.0, share(safe, "refusal") + share(safe, "unsafe")])
    assert values(outcomes, "penalty 0") == values(outcomes, "no filter")
    assert values(outcomes, "penalty infinity") == loop
    ((threshold, *numbers),) = table_of(result, "on its own, by threshold").rows[:1]
    assert (threshold, numbers[::3]) == (0.5, [0.25, 1.0, 1.0, 0.0])
    assert "in the loop changes unsafe answers by -" in SafetyAudit.view([result]).answer[0]
    assert not list(tmp_path.rglob("*.kept"))


def test_a_guard_that_blocks_everything_delivers_refusals_only(tmp_path: Path) -> None:
    audit = hand_audit(tmp_path, threshold=0.0)
    result = audit_scorer(FunctionScorer(lambda prompt, completion: 1.0), "me/mine", audit, out=tmp_path).result
    for label in ("filter after", "filter in the loop", "penalty infinity"):
        assert values(table_of(result, OUTCOMES_TITLE), label) == [0.0, 1.0, 1.0, None]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["safety", "--guard", "toxicity"], "--guard toxicity: expected words:FILE"),
        (["safety", "--guard", "words:none.txt"], "no file none.txt"),
        (["safety", "--guard", "classifier:none/none", "--guard-args", "lable=x"], "no argument 'lable'"),
        (["safety", "--guard-threshold", "0.4"], "--guard-args and --guard-threshold go with --guard"),
        (
            ["fairness", "--data", "pairs.jsonl", "--guard", "words:list.txt"],
            "of CrowS-Pairs may be right; leave it out",
        ),
    ],
)
def test_a_mistake_is_named_before_anything_is_scored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    crows_file(tmp_path)
    (tmp_path / "list.txt").write_text("word")
    assert rb(["audit", *options, "--model", "baseline/longest", "--out", "out"], monkeypatch) == 2
    assert problem in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_guard_is_asked_before_the_model_and_its_answers_are_kept(tmp_path: Path) -> None:
    scored: list[str] = []

    def ask(items: Sequence[AuditItem], kept: Path) -> list[float]:
        kept.parent.mkdir(parents=True, exist_ok=True)
        paid = kept.exists()
        kept.touch()
        if not paid:
            raise ModelError("the server is gone")
        return [0.0] * (4 * len(items))

    def score(prompt: object, completion: str) -> float:
        scored.append(completion)
        return 0.0

    audit = safety_audit(guard=AuditGuard("judge:m", 0.5, ask=ask))
    with pytest.raises(ModelError, match="gone"):
        audit_scorer(FunctionScorer(score), "me/mine", audit, out=tmp_path)
    assert scored == []
    written = audit_scorer(FunctionScorer(score), "me/mine", audit, out=tmp_path)
    assert [path.suffix for path in written.path.parent.iterdir() if path.stem == "mine"] in (
        [".json", ".parquet"],
        [".parquet", ".json"],
    )


def test_the_view_has_a_line_for_each_model_and_the_bounds_of_unscored_answers(tmp_path: Path) -> None:
    audit = hand_audit(tmp_path)
    whole = FunctionScorer(lambda prompt, completion: float(completion.split()[0]))
    partly = FunctionScorer(lambda prompt, text: math.nan if text.startswith("3.0") else float(text.split()[0]))
    results = [
        audit_scorer(scorer, name, audit, out=tmp_path).result
        for name, scorer in (("me/partly", partly), ("me/whole", whole))
    ]
    report = SafetyAudit.view(results)
    assert report.title == "Safety with mine.py:guard: hand"
    assert [sentence.partition(":")[0] for sentence in report.answer] == ["me/partly", "me/whole"]
    assert "it may be 75.0% without a filter, and 25.0% in the loop" in report.answer[0]
    assert "unscored" not in report.answer[1]
    assert report.figure is not None
    lines = [point for point in report.figure.points if point.group == "me/whole"]
    assert (lines[0].x, lines[0].y, lines[-1].x, lines[-1].y) == (0.0, 0.75, 1.0, 0.0)
    outcomes = next(table for table in report.tables if table.title == OUTCOMES_TITLE)
    assert {row[0]: row[-2:] for row in outcomes.rows if row[1] == "no filter"} == {
        "me/partly": (0.75, 0.0),
        "me/whole": (None, None),
    }
