"""The HTML of a model's page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rb_core.leaderboard.model_report import model_report
from rb_core.results.estimate import Estimate, Matrix
from rb_core.results.judge_records import Judging
from rb_core.results.paths import result_path
from rb_core.results.schema import BenchmarkRef, ModelRef, Published, ScoreFile, from_json
from rb_core.results.storage import read_result, write_result
from rb_core.space.model.labels import JUDGE_COST
from rb_core.space.model.report import ReportContext, report_html, setting_facts, size_text
from rb_core.space.model.tab import report_context
from rb_core.space.results_source import ResultsFolder
from rb_core.stats.intervals import TOO_FEW_GROUPS
from tests.fakes.judged_runs import BENCHMARK as JUDGED
from tests.fakes.judged_runs import PANEL, RATER
from tests.fakes.result_sets import write_set
from tests.fakes.results import published
from tests.fakes.unscored_runs import SILENT
from tests.space.conftest import compact


def html_of(root: Path, name: str = "a/b") -> str:
    return compact(report_html(model_report(ResultsFolder(root), name).to_json()))


def cell(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.1, high=value + 0.1)


def test_texts_of_a_result_are_escaped(tmp_path: Path) -> None:
    """Only web addresses become links."""
    source = Published(source="<b>paper</b>", note="<script>alert(1)</script>")
    model = ModelRef(name="a/b", kind="classifier", architecture="<i>arch</i>")
    root = write_set(tmp_path, published("a/b", model=model, published=source))
    html = report_html(model_report(ResultsFolder(root), "a/b").to_json() | {"hub": "javascript:alert(1)"})
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;i&gt;arch&lt;/i&gt;" in html
    assert not re.search(r"<script|<i>arch|<b>paper|javascript:", html)


def test_files_badge_and_trial_are_linked_where_they_exist(tmp_path: Path) -> None:
    """Names in addresses are quoted. Scores that the page does not have are named only."""
    scores = ScoreFile(path="scores/starter.parquet", sha256="0" * 64)
    source = ResultsFolder(write_set(tmp_path, published("a/b+c", scores=scores)))
    report = model_report(source, "a/b+c")
    html = report_html(report.to_json(), report_context(report, source, offered=["x/y"]))
    assert '<img class="rb-badge" src="badge/starter/a/b%2Bc.svg"' in html
    assert '<a href="results/starter/a/b%2Bc.json">results/starter/a/b+c.json</a>' in html
    assert "<code>scores/starter.parquet</code>" in html
    assert "Try it" not in html
    context = ReportContext(with_scores=["starter"], offered=True)
    html = report_html(report.to_json(), context)
    assert '<a href="scores/starter/a/b%2Bc.parquet">scores/starter.parquet</a>' in html
    assert '<a href="?tab=try&scorer=a/b%2Bc" target="_self">Try it</a>' in html


def test_a_result_of_a_public_benchmark_can_be_reported(tmp_path: Path) -> None:
    benchmark = BenchmarkRef(id="rewardbench", title="RewardBench", source="somewhere")
    html = html_of(write_set(tmp_path, published("a/b", benchmark=benchmark)))
    link = r'<a href="https://huggingface.co/datasets/[^"]+/discussions/new[^"]+" target="_blank" rel="noopener">'
    assert re.search(link + "Report this result", html)


def test_an_ensemble_names_its_members_with_their_scales(tmp_path: Path) -> None:
    member = {"model": {"name": "c/d", "kind": "classifier", "revision": "a" * 40}, "mean": 1.5, "sd": 0.25}
    ensemble = {"members": [member], "combine": "mean-sd", "penalty": 0.5, "scale_by": "starter"}
    model = from_json(ModelRef, {"name": "ensemble/x", "kind": "ensemble", "ensemble": ensemble})
    html = html_of(write_set(tmp_path, published("ensemble/x", model=model)), "ensemble/x")
    assert "Ensemble" in html
    assert "mean minus 0.5 standard deviations of scaled scores" in html
    assert f"mean 1.5, standard deviation 0.25 on starter; commit {'a' * 40}" in html


def test_style_matrices_and_accuracy_by_length(tmp_path: Path) -> None:
    """RM-Bench's matrix is a table of chosen by rejected style; models without one have no table."""
    cells = tuple(tuple(cell(0.1 * (3 * row + column) + 0.1) for column in range(3)) for row in range(3))
    levels = ("concise", "detailed", "markdown")
    matrix = Matrix(levels=levels, cells=cells, easy=cell(0.61), normal=cell(0.52), hard=cell(0.43))
    changes: dict[str, Any] = {"matrices": {"Chat": matrix}, "length": {"chosen_longer": cell(0.77)}}
    html = html_of(write_set(tmp_path, published("a/b", **changes), published("a/none")))
    assert "Chat: chosen (rows) over rejected (columns)" in html
    row = html[html.index('<th scope="row">detailed</th>') :].split("</tr>")[0]
    assert re.findall(r"<b>([\d.]+)</b>", row) == ["40.0", "50.0", "60.0"]
    assert re.search(r"easy <b>61\.0</b>.*normal <b>52\.0</b>.*hard <b>43\.0</b>", html)
    assert re.search(r"chosen longer</th><td[^>]*><b>77\.0</b>", html)
    assert "chosen (rows)" not in html_of(tmp_path, "a/none")


@pytest.mark.parametrize(
    ("parameters", "text"), [(8_030_000_000, "8.03B"), (494e6, "494M"), (1.1e12, "1.1T"), (900, "900")]
)
def test_sizes_have_three_digits_and_a_unit(parameters: float, text: str) -> None:
    assert size_text(parameters) == text


def test_a_judge_that_rates_has_no_share_of_orders(judged_root: Path) -> None:
    """Ratings without token probabilities are counted."""
    html = html_of(judged_root, RATER)
    assert "Same verdict in both orders" not in html
    assert "Prefers the longer" in html
    assert f"<dt>{JUDGE_COST['plain_ratings']}</dt><dd>" in html
    assert "<dt>Ratings are expected values</dt><dd>yes</dd>" in html


def test_texts_of_a_judges_record_are_escaped(judged_root: Path, tmp_path: Path) -> None:
    """Names of judges, reasons, templates and settings."""
    evil = "<img src=x onerror=alert(1)>"
    result = read_result(judged_root / result_path(JUDGED, PANEL))
    judging, judge = result.judging, result.model.judge
    assert judging is not None
    assert judge is not None
    member = Judging(requests=1, problems={evil: 1})
    templates = {mode: template.model_copy(update={"name": evil}) for mode, template in judge.templates.items()}
    evil_judge = judge.model_copy(
        update={"panel": (evil,), "backend": evil, "templates": templates, "generation": {evil: evil}}
    )
    changes = {
        "judging": judging.model_copy(update={"members": {evil: member}, "problems": {evil: 2}}),
        "model": result.model.model_copy(update={"judge": evil_judge}),
    }
    write_result(tmp_path, result.model_copy(update=changes))
    html = html_of(tmp_path, PANEL)
    assert html.count("&lt;img src=x") > 5
    assert "<img src=x" not in html


def test_bounds_and_coverage_stand_where_examples_are_unscored(silent_root: Path) -> None:
    html = html_of(silent_root, SILENT)
    overview = html.split("All results", maxsplit=1)[1].split("</table>", maxsplit=1)[0]
    for text in ("Bounds", "Coverage", "Tier", ">87.7<"):
        assert text in overview
    assert re.search(r">29\.\d to 43\.\d<", overview)
    assert "The rank counts them as failed" in html
    assert "ounds" not in html_of(silent_root, "baseline/longest")


def test_the_reason_stands_in_place_of_an_interval(tmp_path: Path) -> None:
    score = Estimate(value=0.5, no_interval=TOO_FEW_GROUPS)
    root = write_set(tmp_path, published("a/b", headline=score, sections={"Chat": score}))
    assert html_of(root).count(f"(no interval: {TOO_FEW_GROUPS})") == 2


def test_settings_show_lists_and_white_space() -> None:
    entry = {"settings": {"tokens": ["!", " no"], "step_separator": "\n\n"}, "run": None, "data": {}}
    assert setting_facts(entry) == [("Tokens", '"!", " no"'), ("Text after each step", r'"\n\n"')]


def test_what_the_registry_knows_is_shown(tmp_path: Path) -> None:
    root = write_set(tmp_path, published("a/b"))
    (root / "models.yaml").write_text(
        "- name: a/b\n  aliases: [a/old]\n  base_model: c/<d>\n  released: 2024-10-14\n  context_length: 4096\n"
        "  training_data: [one, two]\n  sources: ['https://example.org/card', a letter]\n",
        encoding="utf-8",
    )
    html = html_of(root, "a/old")
    for label, value in (
        ("Trained from", "c/&lt;d&gt;"),
        ("Released", "2024-10-14"),
        ("Context length (tokens)", "4,096"),
        ("Preference data, as declared", "one, two"),
        ("Also called", "a/old"),
    ):
        assert f"<dt>{label}</dt><dd>{value}</dd>" in html
    assert 'Sources: <a href="https://example.org/card"' in html
    assert ", a letter" in html
    (root / "models.yaml").write_text("- name: a/b\n  organisation: A\n", encoding="utf-8")
    assert "<dt>Organisation</dt><dd>A</dd>" in html_of(root)
    assert "About this model" not in html_of(write_set(tmp_path / "none", published("a/b")))
