"""Datasets and models from the hub, with the real clients against a local server that speaks the hub's protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.results.storage import read_result
from tests.fakes.hub_server import COMMIT, hub
from tests.paths import ROOT


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Iterator[str]:
    """A hub with RewardBench's two dataset repositories and one model."""
    core, prior = tmp_path_factory.mktemp("core"), tmp_path_factory.mktemp("prior")
    for folder in (core, prior):
        (folder / "data").mkdir()
    spec = BENCHMARKS["rewardbench"]
    rows = [
        {"id": i, "subset": s.name, "prompt": f"{s.name}?", "chosen": "a longer answer", "rejected": "short"}
        for i, s in enumerate(spec.subsets)
        if (section := spec.section_of(s.name)) and section.required
    ]
    pd.DataFrame(rows).to_parquet(core / "data/filtered-00000-of-00001.parquet")
    assert spec.prior is not None
    for split in spec.prior.splits:
        prompt = [{"role": "user", "content": f"{split}?"}]
        pair = [{"prompt": prompt, "chosen": "no", "rejected": "a longer answer", "id": 0}]
        pd.DataFrame(pair).to_parquet(prior / f"data/{split}-00000-of-00001.parquet")
    repos = {
        "datasets/allenai/reward-bench": core,
        "datasets/allenai/preference-test-sets": prior,
        "models/org/tiny": tiny_model("llama"),
    }
    with hub(repos) as url:
        yield url


def evaluate(endpoint: str, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a fresh interpreter, since the clients read their endpoint when they are imported."""
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(out / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", "rb_core", "evaluate", "--benchmark", "rewardbench", "--out", str(out), *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_dataset_and_model_come_from_the_hub_at_a_resolved_commit(endpoint: str, tmp_path: Path) -> None:
    """Without --data the rows come from the hub, and the result names the commits of dataset and model."""
    done = evaluate(endpoint, tmp_path, "--model", "org/tiny")
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "results/rewardbench/org/tiny.json")
    assert (result.benchmark.source, result.benchmark.revision) == ("allenai/reward-bench", COMMIT)
    assert (result.model.source, result.model.revision) == ("org/tiny", COMMIT)
    assert result.headline is not None
    assert result.headline.scored == 23


def test_prior_sets_come_from_their_own_repository(endpoint: str, tmp_path: Path) -> None:
    """--prior adds the prior sets: four are averaged and count half, the others are shown."""
    done = evaluate(endpoint, tmp_path, "--model", "baseline/longest", "--prior")
    assert done.returncode == 0, done.stderr
    result = read_result(tmp_path / "results/rewardbench/baseline/longest.json")
    assert result.sections["Prior Sets"].value == 0.0
    assert result.headline is not None
    assert result.headline.value == pytest.approx(4 / 4.5)
    assert result.subsets["mtbench_gpt4"].value == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "org/missing"), "error: model org/missing is no folder here and cannot be reached on the hub"),
        (("--model", "org/tiny", "--revision", "nope"), "error: model org/tiny is no folder here"),
        (("--model", "baseline/longest", "--data-revision", "nope"), "error: dataset allenai/reward-bench cannot be"),
    ],
)
def test_what_the_hub_does_not_have_is_one_clear_line(
    endpoint: str, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """A model, dataset or revision that is not there is one line and exit code 2."""
    done = evaluate(endpoint, tmp_path, *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr
