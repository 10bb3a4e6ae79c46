"""Models with heads of our own: the report passes undamaged ones and names a planted fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.doctor.reports import diagnose, failures, result_of, warnings
from tests.fakes.tiny_models import (
    edit_config,
    edit_weights,
    gated,
    llama_factory_value_head,
    openrlhf_value_head,
    trl_value_head,
)

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "trl": trl_value_head,
    "llama-factory": llama_factory_value_head,
    "openrlhf": lambda folder: openrlhf_value_head(folder, normalize_reward=True, mean=0.5, std=2.0),
    "gated": gated,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_an_undamaged_head_has_no_failure(tmp_path: Path, name: str) -> None:
    report = diagnose(BUILDERS[name](tmp_path / name))
    assert failures(report) == []
    assert result_of(report, "batching").found.startswith("packed")
    assert "the model's own forward pass agrees" in result_of(report, "read").found
    assert "the last" in result_of(report, "read").found
    assert ("kind" in warnings(report)) == (name == "gated")  # its own code is not run
    inputs = {"gated": "score.regression_layer: 32 inputs, 5 output(s)"}.get(name, "score.summary: 32 inputs, 1 output")
    assert result_of(report, "head").found.startswith(inputs)


class Fault(NamedTuple):
    """A damage, the check that fails, and what it says."""

    name: str
    plant: Callable[[Path], object]
    check: str
    message: str


def _without(weight: str) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder, lambda weights: weights.__delitem__(weight))


def _narrow(folder: Path) -> None:
    head = load_file(folder / "value_head.safetensors")
    save_file(head | {"v_head.summary.weight": torch.ones(1, 31)}, folder / "value_head.safetensors")


FAULTS = (
    Fault("llama-factory", _narrow, "kind", "weight of its head has the shape [1, 31]; the model needs [1, 32]"),
    Fault("trl", _without("v_head.summary.weight"), "kind", "its weights have no v_head.summary.weight"),
    Fault("openrlhf", lambda f: edit_config(f, std=0.0), "kind", "mean is 0.5 and their std 0"),
    Fault("gated", _without("gating.layers.2.bias"), "kind", "its head misses gating.layers.2.bias"),
    Fault("gated", lambda f: edit_config(f, pad_token_id=1), "pad", "the config has 1 ('<|eot_id|>'), the tokenizer 4"),
    Fault("gated", _without("model.layers.1.mlp.up_proj.weight"), "weights", "model.layers.1.mlp.up_proj.weight"),
    Fault(
        "trl",
        lambda f: edit_weights(f, lambda w: w["v_head.summary.weight"].zero_()),
        "head",
        "its weights are all zero",
    ),
    Fault(
        "gated",
        lambda f: edit_weights(f, lambda w: w["gating.logit_scale"].fill_(float("nan"))),
        "weights",
        "NaN or infinity in score.gating.logit_scale",
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.name}-{fault.check}")
def test_a_planted_fault_is_named(tmp_path: Path, fault: Fault) -> None:
    folder = BUILDERS[fault.name](tmp_path / "model")
    fault.plant(folder)
    options: dict[str, Any] = {"kind": "gated" if fault.name == "gated" else "value-head"}
    report = diagnose(folder, **options)
    assert failures(report)[0] == fault.check
    assert fault.message in result_of(report, fault.check).found
