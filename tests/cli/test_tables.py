"""Tables that commands print."""

from __future__ import annotations

import pytest

from rb_core.cli.tables import print_result
from rb_core.results.judge_records import Agreement, Judging
from rb_core.stats.intervals import TOO_FEW_GROUPS, estimate_of, proportion_estimate
from tests.fakes.results import published


def test_a_judges_shares_and_agreement_have_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    kappa, raw = (estimate_of(value, 0.001, 100, (-1.0, 1.0), method="beta") for value in (0.81, 0.905))
    judging = Judging(
        requests=10,
        length_preference=proportion_estimate(0.7, 100, scored=100),
        length_deserved=proportion_estimate(0.6, 100, scored=100),
        self_preference=estimate_of(1.0, 0.0, 1, method="beta"),
        agreement=Agreement(items=100, fleiss_kappa=0.81, krippendorff_alpha=None, kappa=kappa, alpha=None, raw=raw),
    )
    print_result(published().model_copy(update={"judging": judging}))
    text = " ".join(capsys.readouterr().out.split())
    assert "length preference │ 70.0 (6" in text
    assert "length deserved │ 60.0 (" in text
    assert f"self preference │ 100.0 (none: {TOO_FEW_GROUPS})" in text
    assert "agreement 90.5 (" in text
    assert "Fleiss' kappa 0.81 (0.7" in text
    assert "Krippendorff's alpha -" in text
