"""A request is checked from metadata: bad models are refused with their reason, and no weights are downloaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rb_core.errors import RewardBenchError
from rb_core.evaluation_queue.checks import RequestLimits, check_request
from rb_core.hub.repository import ResultsRepo
from rb_core.models.options import ModelOptions
from rb_core.results.schema import to_json
from rb_core.results.storage import read_result
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server
from tests.fakes.requests import WEIGHTS, model_files
from tests.fakes.result_sets import KEY, published
from tests.paths import BUNDLED

LIMITS = RequestLimits(billions=1)
MODEL = "org/model"


def check(board: ResultsRepo, model: str = MODEL, options: ModelOptions | None = None, limits: RequestLimits = LIMITS):
    return check_request(model, "starter", options or ModelOptions(), "me", board, limits)


def add_model(server: Server, model: str = MODEL, without: str = "", **config: object) -> None:
    files = {path: content for path, content in model_files(**config).items() if path != without}
    server.add_repo(f"models/{model}", files)


def test_a_good_model_is_pinned_and_estimated_without_its_weights(server: Server, board: ResultsRepo) -> None:
    add_model(server)
    request = check(board)
    assert request.revision == server.repo(f"models/{MODEL}").head
    assert request.parameters == 32
    assert request.state == "waiting"
    assert request.votes == ("me",)
    assert server.count("model.safetensors") == 0


LANGUAGE_MODEL = {"architectures": ["LlamaForCausalLM"]}


def refused(board: ResultsRepo, *args: object, **options: object) -> str:
    with pytest.raises(RewardBenchError) as caught:
        check(board, *args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_models_are_refused_with_their_reason(server: Server, board: ResultsRepo) -> None:
    assert "there is no model org/model on the hub, or it is private" in refused(board)
    add_model(server)
    assert f"there is no model {MODEL} at v9" in refused(board, options=ModelOptions(revision="v9"))
    assert "this board takes requests for models of a, b, not of org" in refused(
        board, limits=replace(LIMITS, orgs=frozenset({"a", "b"}))
    )
    assert "expected a model on the hub" in refused(board, "rb_core/hub")
    assert "comes with this package" in refused(board, "builtin/tiny-rm")
    assert "has 0.0 billion parameters; the limit is" in refused(board, limits=replace(LIMITS, billions=0))
    assert "--tokens applies only to" in refused(board, options=ModelOptions(kind="classifier", tokens=("Yes", "No")))

    add_model(server, without="README.md")
    assert "declares no licence" in refused(board)
    add_model(server, without="model.safetensors")
    assert "no file in the safetensors format (it has no weights)" in refused(board)
    server.commit(f"models/{MODEL}", {"pytorch_model.bin": b"\x80"})
    assert "pytorch_model.bin, and pickle files are not read" in refused(board)
    add_model(server, without="config.json")
    assert "cannot be reached" in refused(board)
    add_model(server, architectures="LlamaForSequenceClassification")
    assert "architectures is" in refused(board)
    add_model(server, **LANGUAGE_MODEL)
    assert "a language model. For its implicit reward, pass --reference" in refused(board)
    assert "expected a model on the hub" not in refused(board, options=ModelOptions(reference="org/none"))
    add_model(server, architectures=["OwnForSequenceClassification"], auto_map={"AutoModel": "own.Own"})
    assert "unknown architecture (OwnForSequenceClassification); the code in its repository is not run" in refused(
        board
    )
    server.repo(f"models/{MODEL}").gated = "manual"
    assert "is gated: requests are for models that everybody can download" in refused(board)


def test_an_adapter_of_a_folder_is_refused(server: Server, board: ResultsRepo) -> None:
    files = model_files() | {
        "adapter_config.json": b'{"base_model_name_or_path": "tests/fakes", "task_type": "SEQ_CLS"}'
    }
    del files["config.json"]
    server.add_repo(f"models/{MODEL}", files)
    assert "tests/fakes" in refused(board)


def test_what_is_evaluated_already_is_refused(server: Server, board: ResultsRepo) -> None:
    """A run at the same commit is; a published result or a run of another commit may be replaced."""
    add_model(server)
    request = check(board)
    run = read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
    mine = run.model_copy(update={"model": run.model.model_copy(update={"name": MODEL, "revision": request.revision})})
    there = published(MODEL)
    on_starter = there.model_copy(update={"benchmark": run.benchmark})
    server.commit(KEY, {mine.path().as_posix(): to_json(on_starter)})
    assert check(board).id == request.id
    server.commit(KEY, {mine.path().as_posix(): to_json(mine)})
    assert f"{MODEL} was evaluated at this commit on Starter already: {server.url}/datasets/" in refused(board)
    server.commit(f"models/{MODEL}", {"model.safetensors": WEIGHTS + b" "})
    assert check(board).id != request.id


@pytest.mark.parametrize("kind", ["503", "cut-down", "lost-answer"])
def test_a_fault_of_the_hub_is_no_reason(server: Server, board: ResultsRepo, kind: str) -> None:
    add_model(server)
    server.fail(Fault(kind, at=1, match="/api/"))
    assert check(board).state == "waiting"
