"""Requirements of a clone that is deployed as a Space."""

from __future__ import annotations

import re
import subprocess
from pathlib import PurePath

import pytest
import yaml

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.leaderboard.hub_links import hub_page
from rb_core.space.results_source import ResultsFolder
from tests.paths import ROOT


def git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("this copy of the files is not a git repository")
    return run.stdout


def test_every_binary_file_keeps_its_bytes_and_is_named_for_the_hub() -> None:
    """The hub's git server takes binary files through LFS alone; the page's README has the command for it."""
    lines = [line.split("\t") for line in git("ls-files", "--eol").splitlines()]
    binary = {name for state, name in lines if state.startswith("i/-text")}
    assert {PurePath(name).suffix for name in binary} >= {".parquet", ".safetensors", ".png"}
    text_attribute, filter_attribute = (git("check-attr", name, *sorted(binary)) for name in ("text", "filter"))
    assert text_attribute.count("text: unset") == len(binary)
    assert filter_attribute.count("filter: unspecified") == len(binary)
    readme = (ROOT / "rb_core/space/README.md").read_text(encoding="utf-8")
    patterns = re.findall(r'--include="([^"]*)"', readme)[0].split(",")
    assert {f"*{PurePath(name).suffix}" for name in binary} == set(patterns)


def test_the_front_matter_links_the_space_to_its_models_and_datasets(results: ResultsFolder) -> None:
    """The hub shows the Space on the card of each: models of the registry that are on the hub, and their benchmarks."""
    front_matter = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    kinds = {row.model: row.kind for board in results.boards().values() for row in board.rows}
    models = sorted(
        registered.name
        for registered in results.registry().models
        # A name for a score without the reference model is not that of a checkpoint.
        if registered.name in kinds and registered.sweep is None and not registered.name.endswith("_ref_free")
        if hub_page(registered.name, kinds[registered.name])
    )
    datasets = [spec.source.repo for spec in BENCHMARKS.values() if spec.source is not None]
    assert front_matter["models"] == models, yaml.safe_dump({"models": models})
    assert front_matter["datasets"] == datasets, yaml.safe_dump({"datasets": datasets})
