"""The architecture, read from the imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rb_core.cli.main import COMMANDS, GROUPS
from tests import style
from tests.paths import ROOT

# From below; a module imports from its own layer and from layers above it in this table.
LAYERS = (
    (
        ("rb_core.version", "rb_core.errors", "rb_core.files", "rb_core.retries"),
        "version; errors; atomic writes; retry policy",
    ),
    (("rb_core.hub.client",), "the hub's client"),
    (("rb_core.stats.item_outcomes", "rb_core.stats.metrics"), "item outcomes as arrays; a class per metric"),
    (("rb_core.benchmarks",), "examples, benchmarks, reading rows"),
    (("rb_core.models",), "options, records, checkpoints, chat format"),
    (("rb_core.results",), "result schema, score table, paths"),
    (("rb_core.stats", "rb_core.scorers"), "statistics; models that score"),
    (("rb_core.evaluation",), "from a model and a benchmark to a result"),
    (("rb_core.doctor", "rb_core.leaderboard"), "examining a model; boards, comparisons, model reports"),
    (
        ("rb_core.hub", "rb_core.importers", "rb_core.export", "rb_core.audits", "rb_core.evaluation_queue"),
        "push and pull; formats of other projects; audits; requests and workers",
    ),
    (("rb_core.cli", "rb_core.space", "rb_core.builtin", "rb_core.__main__"), "command line, page, built-in model"),
    (("rb_core",), "the public API"),
)
LEVEL = {module: level for level, (modules, _) in enumerate(LAYERS) for module in modules}
IMPORT_TORCH = ("rb_core.scorers", "rb_core.doctor.measurements", "rb_core.builtin.train")
LIGHT = (
    *(f"rb_core.cli.{module}" for module in (*COMMANDS, *(module for module, _ in GROUPS.values()))),
    "rb_core.evaluation.evaluate",
    "rb_core.hub.push",
    "rb_core.importers.published_tables",
    "rb_core.importers.reward_bench_results",
    "rb_core.leaderboard.comparison",
    "rb_core.leaderboard.store",
    "rb_core.models.resolve",
)


def level_of(module: str) -> int:
    """Return the layer of a module, or of the package it is in."""
    while module not in LEVEL:
        module = module.rpartition(".")[0]
    return LEVEL[module]


def layers_as_text() -> str:
    """Return the table as CONTRIBUTING.md shows it."""
    names = [" ".join(module.removeprefix("rb_core.") for module in modules) for modules, _ in LAYERS]
    width = max(map(len, names))
    return "".join(f"{name:{width}}  {purpose}\n" for name, (_, purpose) in zip(names, LAYERS, strict=True))


def test_no_import_points_upward() -> None:
    upward = [
        f"{module.name} imports {imported}"
        for module in style.modules()
        for imported in style.imports(module)
        if imported.startswith("rb_core.") and level_of(imported) > level_of(module.name)
    ]
    assert upward == []


def test_only_the_page_imports_gradio() -> None:
    users = [m.name for m in style.modules() if any(name.split(".")[0] == "gradio" for name in style.imports(m))]
    assert [name for name in users if not name.startswith("rb_core.space")] == []


def test_only_scorers_the_doctor_and_training_import_torch_when_imported() -> None:
    heavy = [
        m.name
        for m in style.modules()
        if {name.split(".")[0] for name in style.imports(m, top_only=True)} & {"torch", "transformers"}
    ]
    assert [name for name in heavy if not name.startswith(IMPORT_TORCH)] == []


def test_light_modules_load_neither_torch_nor_gradio() -> None:
    check = (
        f"import sys, {', '.join(LIGHT)}; print({{'torch', 'transformers', 'gradio', 'datasets'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_top_level_has_no_other_folders() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    folders = {name.split("/")[0] for name in done.stdout.splitlines() if "/" in name}
    assert {folder for folder in folders if not folder.startswith(".")} == {"rb_core", "leaderboard_data", "tests"}
