"""Kinds of models in the plot."""

from __future__ import annotations

import re

from rb_core.results.schema import KIND_LABELS, REFERENCE_FREE_SUFFIX
from tests.paths import ROOT

REFERENCE_FREE = KIND_LABELS["implicit"] + REFERENCE_FREE_SUFFIX


def test_each_kind_has_a_colour_and_a_shape_of_its_own() -> None:
    script = (ROOT / "rb_core/space/plot/plot.js").read_text(encoding="utf-8")
    table = script[script.index("const KINDS") : script.index("const mark")]
    looks = re.findall(r"(?:'([^']+)'|(\w+)):? (?:= )?\['(#\w+)', '(\w+)'\]", table)
    labels, colours, shapes = [a or b for a, b, _, _ in looks], [c for *_, c, _ in looks], [s for *_, s in looks]
    assert sorted(labels) == sorted({*KIND_LABELS.values(), REFERENCE_FREE, "OTHER"} - {"Unknown"})
    assert len(set(colours)) == len(set(shapes)) == len(labels)
    assert all(re.search(rf"\b{shape}: '", script) for shape in shapes)
