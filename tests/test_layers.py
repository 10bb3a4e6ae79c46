"""The architecture, read off the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "rb_core"
LAYERS = (
    ("rb_core", "rb_core.errors", "rb_core.files"),
    ("rb_core.hub.client",),
    ("rb_core.benchmarks",),
    ("rb_core.models",),
    ("rb_core.results",),
    ("rb_core.stats", "rb_core.scorers"),
    ("rb_core.evaluation",),
    ("rb_core.doctor", "rb_core.leaderboard"),
    ("rb_core.hub", "rb_core.importers", "rb_core.export"),
    ("rb_core.cli", "rb_core.space", "rb_core.builtin", "rb_core.__main__"),
)
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def level(module: str) -> int:
    """The layer of a module, or of the package it is in."""
    while module not in LEVEL:
        module = module.rpartition(".")[0]
    return LEVEL[module]


def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """The modules a file imports; with top_only those that importing the file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_its_own_or_lower_layers(path: Path) -> None:
    """No import points upward."""
    own = level(module_name(path))
    for imported in imports(path):
        if imported.startswith("rb_core."):
            assert level(imported) <= own, f"{module_name(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_the_page_imports_gradio(path: Path) -> None:
    """gradio stays inside rb_core.space."""
    uses_gradio = any(name.split(".")[0] == "gradio" for name in imports(path))
    assert not uses_gradio or module_name(path).startswith("rb_core.space")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_scorers_and_training_import_torch_when_imported(path: Path) -> None:
    """Everything but scorers and the training script imports without torch."""
    heavy = {name.split(".")[0] for name in imports(path, top_only=True)} & {"torch", "transformers"}
    name = module_name(path)
    assert not heavy or name.startswith(("rb_core.scorers", "rb_core.doctor.measurements", "rb_core.builtin.train"))


@pytest.mark.parametrize(
    "module",
    [
        "rb_core.cli.main",
        "rb_core.evaluation.evaluate",
        "rb_core.importers.published_tables",
        "rb_core.importers.reward_bench_results",
        "rb_core.leaderboard.comparison",
        "rb_core.leaderboard.store",
        "rb_core.models.resolve",
    ],
)
def test_importing_loads_neither_torch_nor_gradio(module: str) -> None:
    """In a fresh interpreter the import leaves torch, transformers, datasets and gradio unloaded."""
    check = f"import {module}, sys; print(sorted(sys.modules.keys() & {{'torch','transformers','gradio','datasets'}}))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_top_level_is_the_one_that_was_fixed() -> None:
    """No folder beside rb_core, leaderboard_data and tests is tracked, but those whose names begin with a dot."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    folders = {name.split("/")[0] for name in done.stdout.splitlines() if "/" in name}
    assert {folder for folder in folders if not folder.startswith(".")} == {"rb_core", "leaderboard_data", "tests"}
