"""Loading a benchmark: options, limits, and data from a local hub server through the real clients."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.errors import DataError
from rb_core.results.storage import read_result
from tests.benchmarks.preference_files import PAIR, write_jsonl
from tests.cli.command_line import rb
from tests.fakes.hub_server import COMMIT, hub, use_hub


def test_a_repeated_id_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the id '1' is repeated"):
        load_benchmark("rewardbench", data=write_jsonl(tmp_path / "d.jsonl", [PAIR, PAIR]))


def test_unknown_names_and_misplaced_options(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown benchmark 'rewardbnch': choose one of rewardbench"):
        load_benchmark("rewardbnch")
    with pytest.raises(DataError, match="no such file"):
        load_benchmark(str(tmp_path / "missing.jsonl"))
    with pytest.raises(DataError, match="--data goes with a named benchmark"):
        load_benchmark(str(tmp_path / "missing.jsonl"), data=tmp_path)
    with pytest.raises(DataError, match="no prior sets"):
        load_benchmark("starter", prior=True)
    with pytest.raises(DataError, match="at least 1"):
        load_benchmark("starter", limit=0)


def test_a_limit_keeps_the_same_examples_in_the_benchmarks_order() -> None:
    ids = [example.id for example in load_benchmark("starter").examples]
    limited = [example.id for example in load_benchmark("starter", limit=40).examples]
    assert len(limited) == 40
    assert limited == [name for name in ids if name in set(limited)]
    assert {example.id for example in load_benchmark("starter", limit=20).examples} <= set(limited)


def test_without_the_hub_the_error_names_the_option_for_a_local_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="--data PATH"):
        load_benchmark("rewardbench")


# ---- datasets and models from the hub

EVALUATIONS = {
    "model": ("--model", "org/tiny"),
    "prior": ("--model", "baseline/longest", "--prior"),
    "missing model": ("--model", "org/missing"),
    "missing revision": ("--model", "org/tiny", "--revision", "nope"),
    "missing data revision": ("--model", "baseline/longest", "--data-revision", "nope"),
}


class Evaluations(NamedTuple):
    """The output folder and, for each name in EVALUATIONS, the exit code and the text on standard error."""

    out: Path
    outcomes: dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Evaluations:
    """Evaluate with a hub that has RewardBench's two datasets and one model."""
    core, prior = (tmp_path_factory.mktemp(name) for name in ("core", "prior"))
    for folder in (core, prior):
        (folder / "data").mkdir()
    spec = BENCHMARKS["rewardbench"]
    rows = [
        {"id": i, "subset": subset.name, "prompt": f"{subset.name}?", "chosen": "a longer answer", "rejected": "short"}
        for i, subset in enumerate(spec.subsets)
        if (section := spec.section_of(subset.name)) and section.required
    ]
    pd.DataFrame(rows).to_parquet(core / "data/filtered-00000-of-00001.parquet")
    assert spec.prior is not None
    for split in spec.prior.splits:
        prompt = [{"role": "user", "content": f"{split}?"}]
        pair = [{"prompt": prompt, "chosen": "no", "rejected": "a longer answer", "id": 0}]
        pd.DataFrame(pair).to_parquet(prior / f"data/{split}-00000-of-00001.parquet")
    repositories = {
        "datasets/allenai/reward-bench": core,
        "datasets/allenai/preference-test-sets": prior,
        "models/org/tiny": tiny_model("llama"),
    }
    out, outcomes = tmp_path_factory.mktemp("out"), {}
    with hub(repositories) as url, pytest.MonkeyPatch.context() as monkeypatch:
        use_hub(url, tmp_path_factory.mktemp("cache"), monkeypatch)
        for name, options in EVALUATIONS.items():
            with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
                code = rb(["evaluate", "--benchmark", "rewardbench", "--out", str(out), *options], monkeypatch)
            outcomes[name] = (code, errors.getvalue())
    return Evaluations(out, outcomes)


def test_the_result_names_the_commits_of_dataset_and_model(evaluations: Evaluations) -> None:
    assert evaluations.outcomes["model"][0] == 0, evaluations.outcomes["model"]
    (path,) = evaluations.out.glob("results/rewardbench-*/org/tiny.json")
    result = read_result(path)
    assert (result.benchmark.source, result.benchmark.revision) == ("allenai/reward-bench", COMMIT)
    assert (result.model.source, result.model.revision) == ("org/tiny", COMMIT)
    assert result.headline is not None
    assert result.headline.scored == 23


def test_prior_sets_come_from_their_own_repository(evaluations: Evaluations) -> None:
    """Four prior sets are averaged and count half; the others are only shown."""
    assert evaluations.outcomes["prior"][0] == 0, evaluations.outcomes["prior"]
    (path,) = evaluations.out.glob("results/rewardbench-*/baseline/longest.json")
    result = read_result(path)
    assert result.sections["Prior Sets"].value == 0.0
    assert result.headline is not None
    assert result.headline.value == pytest.approx(4 / 4.5)
    assert result.subsets["mtbench_gpt4"].value == 0.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing model", "model org/missing"),
        ("missing revision", "model org/tiny"),
        ("missing data revision", "dataset allenai/reward-bench cannot be"),
    ],
)
def test_a_missing_repository_or_revision_is_one_line_and_exit_code_2(
    evaluations: Evaluations, name: str, message: str
) -> None:
    code, errors = evaluations.outcomes[name]
    assert code == 2
    assert errors.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in errors


def test_any_dataset_of_the_hub_is_read_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    (data / "data").mkdir(parents=True)
    rows = [{"input": f"Q{i}", "output_1": "good", "output_2": "bad", "label": 1 + i % 2} for i in range(3)]
    for split in ("train", "test"):
        pd.DataFrame(rows).to_parquet(data / f"data/{split}-00000-of-00001.parquet")
    with hub({"datasets/org/pairs": data}) as url:
        use_hub(url, tmp_path / "cache", monkeypatch)
        benchmark = load_benchmark("hf://org/pairs:test")
        with pytest.raises(DataError, match=r"several splits: choose hf://org/pairs:SPLIT with one of .*train"):
            load_benchmark("hf://org/pairs")
        with pytest.raises(DataError, match="dataset org/pairs cannot be loaded from the hub"):
            load_benchmark("hf://org/pairs:validation")
        with pytest.raises(DataError, match="dataset org/other cannot be loaded from the hub"):
            load_benchmark("hf://org/other:test")
    assert benchmark.spec.id.startswith("custom-pairs-test-")
    assert (benchmark.source, benchmark.revision) == ("org/pairs", COMMIT)
    assert benchmark.layouts == {"two answers and a label": 3}
    assert [example.completions for example in benchmark.examples] == [
        ("good", "bad"),
        ("bad", "good"),
        ("good", "bad"),
    ]
    assert benchmark.examples[0].id == "test/1"


@pytest.mark.parametrize("address", ["hf://pairs", "hf://org/pairs:", "hf://org/pairs:a/b/c", "hf://"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(DataError, match="expected hf://ORG/NAME:SPLIT"):
        load_benchmark(address)
