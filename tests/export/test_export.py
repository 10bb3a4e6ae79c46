"""Results in the formats of others: what the files say, that cards keep what is theirs, and pull requests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rb_core import export
from rb_core.cli import main
from rb_core.errors import DataError, ResultError
from rb_core.leaderboard.board import load_boards
from rb_core.results.estimate import Estimate
from rb_core.results.schema import KIND_LABELS, ModelKind, Published, Result
from rb_core.results.storage import read_result, write_result
from tests.fakes.commands import run_command
from tests.fakes.hub_faults import Fault
from tests.fakes.hub_server import Server, serve
from tests.paths import ROOT

BUNDLED = ROOT / "leaderboard_data"
MODEL = "org/judge"
COMMIT = "a" * 40
SOURCE = "evaleval/every_eval_ever@758070b96:data/reward-bench/org/judge/x.json; subsets: elsewhere"
ESTIMATE = Estimate(value=0.72491, stderr=0.01, low=0.7, high=0.75, method="binomial")
SUGGESTS, READS = "hf_maysuggest", "hf_mayread"
CARD = "\n".join(
    [
        "---",
        "license: mit  # as upstream",
        "tags: [reward-model,   rm]",
        "model-index:",
        "- name: Judge",
        "  results:",
        "  - task: {type: text-classification, name: Their own}",
        "    dataset: {type: allenai/reward-bench-2, name: RewardBench 2}",
        "    metrics: [{type: accuracy, value: 0.7, note: kept}]",
        "",
        "# what it is made from",
        "base_model:   org/base",
        "---",
        "",
        "# Judge  ",
        "---",
        "model-index: not this",
        "",
    ]
)

# What a record of Every Eval Ever must have, as facts of its format (version 0.3.0), written down for these tests.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SOURCES = {
    "type": "object",
    "required": ["dataset_name", "source_type"],
    "properties": {"source_type": {"enum": ["url", "hf_dataset", "other"]}, "additional_details": TEXTS},
    "if": {"properties": {"source_type": {"const": "hf_dataset"}}},
    "then": {"required": ["hf_repo"]},
}
METRIC = {
    "type": "object",
    "required": ["lower_is_better", "score_type", "min_score", "max_score"],
    "properties": {
        "lower_is_better": {"type": "boolean"},
        "score_type": {"enum": ["binary", "continuous", "levels"]},
        "min_score": {"type": "number"},
        "max_score": {"type": "number"},
        "additional_details": TEXTS,
    },
}
UNCERTAINTY = {
    "type": "object",
    "properties": {
        "standard_error": {"type": "object", "required": ["value"]},
        "confidence_interval": {"type": "object", "required": ["lower", "upper"]},
        "num_samples": {"type": "integer"},
    },
    "additionalProperties": False,
}
RECORD = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "schema_version",
        "evaluation_id",
        "retrieved_timestamp",
        "source_metadata",
        "model_info",
        "eval_library",
        "evaluation_results",
    ],
    "properties": {
        "schema_version": {"const": "0.3.0"},
        "evaluation_id": {"type": "string"},
        "evaluation_timestamp": {"type": "string"},
        "retrieved_timestamp": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
        "source_metadata": {
            "type": "object",
            "required": ["source_type", "source_organization_name", "evaluator_relationship"],
            "properties": {
                "source_type": {"enum": ["documentation", "evaluation_run"]},
                "evaluator_relationship": {"enum": ["first_party", "third_party", "collaborative", "other"]},
                "additional_details": TEXTS,
            },
        },
        "eval_library": {
            "type": "object",
            "required": ["name", "version"],
            "properties": {"additional_details": TEXTS},
        },
        "model_info": {
            "type": "object",
            "required": ["name", "id", "additional_details"],
            "properties": {
                "additional_details": {
                    **TEXTS,
                    "required": ["deployment_type", "model_availability"],
                    "properties": {
                        "deployment_type": {"enum": ["self_deployed", "externally_managed", "unknown"]},
                        "model_availability": {"enum": ["open_weights", "closed_weights", "unknown"]},
                    },
                }
            },
        },
        "evaluation_results": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["evaluation_name", "source_data", "metric_config", "score_details"],
                "properties": {
                    "source_data": SOURCES,
                    "metric_config": METRIC,
                    "score_details": {
                        "type": "object",
                        "required": ["score"],
                        "properties": {"score": {"type": "number"}, "uncertainty": UNCERTAINTY, "details": TEXTS},
                    },
                },
            },
        },
    },
}
RECORD_PATH = re.compile(
    r"data/[^/]+/[^/]+/[^/]+/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json"
)


def published(benchmark: str = "rewardbench-2", **changes: Any) -> Result:
    """A published result of the model, made from a bundled one."""
    spec = {
        "rewardbench-2": ("RewardBench 2", "allenai/reward-bench-2"),
        "rewardbench": ("RewardBench", "allenai/reward-bench"),
    }
    base = read_result(BUNDLED / "results/rewardbench-2/ShikaiChen/LDL-Reward-Gemma-2-27B-v0.1.json")
    title, source = spec[benchmark]
    about = base.benchmark.model_copy(update={"id": benchmark, "title": title, "source": source})
    model = base.model.model_copy(update={"name": MODEL})
    fields = {"benchmark": about, "model": model, "headline": ESTIMATE, "sections": {"Math": ESTIMATE}}
    fields["published"] = Published(source=SOURCE, retrieved="2025-12-22", note="listed as 'judge'")
    return base.model_copy(update=fields | changes)


def run(weights: str | None = MODEL, commit: str = COMMIT, **benchmark: Any) -> Result:
    """A run of the model on RewardBench 2, made from a bundled one."""
    base = read_result(BUNDLED / "results/starter/builtin/tiny-rm.json")
    about = {"id": "rewardbench-2", "title": "RewardBench 2", "source": "allenai/reward-bench-2", "revision": "b" * 40}
    assert base.counts is not None
    return base.model_copy(
        update={
            "benchmark": base.benchmark.model_copy(update={**about, **benchmark}),
            "model": base.model.model_copy(update={"name": MODEL, "source": weights, "revision": commit}),
            "headline": ESTIMATE.model_copy(update={"floor": 0.7, "ceiling": 0.73}),
            "sections": {"Math": ESTIMATE, "Ties": ESTIMATE.model_copy(update={"value": 1.0000000000000002})},
            "subsets": {},
            "counts": base.counts.model_copy(update={"unscored": 2, "examples": 1865}),
        }
    )


def exported(tmp_path: Path, *results: Result) -> export.Exported:
    for result in results:
        write_result(tmp_path, result)
    return export.for_the_hub(tmp_path, MODEL)


# --------------------------------------------------------------------------------------------------------------------
# .eval_results


def test_a_published_result_becomes_an_entry_with_unit_error_and_source(tmp_path: Path) -> None:
    files = export.hub_files(exported(tmp_path, published()), {})
    assert yaml.safe_load(files[".eval_results/rewardbench-2.yaml"]) == [
        {
            "dataset": {"id": "allenai/reward-bench-2", "task_id": "default"},
            "value": 72.49,
            "date": "2025-12-22",
            "source": {
                "url": "https://github.com/evaleval/every_eval_ever/blob/758070b96/data/reward-bench/org/judge/x.json",
                "name": "Published scores",
            },
            "notes": "score in percent; 95% interval 70.00 to 75.00 (binomial); as published, listed as 'judge'",
        }
    ]


def started(result: Result) -> str:
    assert result.run is not None
    return result.run.started


def test_a_run_becomes_an_entry_with_the_revisions_it_is_about(tmp_path: Path) -> None:
    write_result(tmp_path, run())
    chosen = export.for_the_hub(tmp_path, MODEL, source_url="https://example.org/scores")
    (entry,) = parse_eval_result_entries(
        yaml.safe_load(export.hub_files(chosen, {})[".eval_results/rewardbench-2.yaml"])
    )
    assert entry.dataset_revision == "b" * 40
    assert entry.date == started(run())
    assert entry.source_url == "https://example.org/scores"
    assert entry.verify_token is None
    assert f"model at {COMMIT}" in str(entry.notes)
    assert "2 of 1865 examples unscored; 70.00 if all of them had failed, 73.00 if all had passed" in str(entry.notes)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (run(limit=10), "only 10 examples"),
        (published(headline=None), "no headline"),
        (run(source="rows.jsonl"), "its data, rows.jsonl, are not those"),
    ],
)
def test_what_is_not_complete_is_left_out_and_named(tmp_path: Path, result: Result, why: str) -> None:
    with pytest.raises(ResultError, match=why):
        exported(tmp_path, result)
    (left_out,) = exported(tmp_path, published("rewardbench")).left_out
    assert why in left_out


@pytest.mark.parametrize("name", ["judge", "builtin/tiny-rm", "baseline/longest", "./org/judge", "org/judge/x", ""])
def test_a_name_that_nobody_can_look_up_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultError):
        export.for_the_hub(tmp_path, name)
    with pytest.raises(ResultError):
        export.every_eval_ever(tmp_path, [name])


def test_a_client_without_entries_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = exported(tmp_path, published())
    old = ModuleType("huggingface_hub")
    old.__dict__["__version__"] = "1.3.7"
    monkeypatch.setitem(sys.modules, "huggingface_hub", old)
    with pytest.raises(ResultError, match=r"huggingface_hub 1\.4 or later, this is 1\.3\.7"):
        export.hub_files(chosen, {})


def test_entries_of_others_in_the_same_file_are_kept(tmp_path: Path) -> None:
    chosen, path = exported(tmp_path, published()), ".eval_results/rewardbench-2.yaml"
    other = {"dataset": {"id": "allenai/reward-bench-2", "task_id": "ties"}, "value": 1}
    stale = {"dataset": {"id": "allenai/reward-bench-2", "task_id": "default"}, "value": 2}
    merged = export.hub_files(chosen, {path: yaml.safe_dump([stale, other]).encode()})[path]
    assert [entry["value"] for entry in yaml.safe_load(merged)] == [1, 72.49]
    styled = b"# theirs\n" + yaml.safe_dump(yaml.safe_load(merged), default_flow_style=True).encode()
    assert export.hub_files(chosen, {path: styled})[path] == styled


@pytest.mark.parametrize("content", [b"a: 1", b"- 1", b"- [", b"\xff"])
def test_a_file_that_is_no_list_of_entries_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ResultError, match=r"rewardbench-2\.yaml"):
        export.hub_files(exported(tmp_path, published()), {".eval_results/rewardbench-2.yaml": content})


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("o/r@0123abc:a.csv (derived)", "https://github.com/o/r/blob/0123abc/a.csv"),
        ("o/r@0123abc:a/c+d.json; subsets: x", "https://github.com/o/r/blob/0123abc/a/c%2Bd.json"),
        ("https://example.org/x (table 2)", "https://example.org/x"),
        ("Table 14 of arXiv:2403.13787v2", "https://arxiv.org/abs/2403.13787v2"),
        ("a letter", None),
    ],
)
def test_a_source_on_the_web_is_a_link(source: str, address: str | None) -> None:
    assert export.source_link(source) == address


# --------------------------------------------------------------------------------------------------------------------
# model-index and cards


def test_the_index_has_headline_and_sections_in_percent(tmp_path: Path) -> None:
    name, results = model_index_to_eval_results(
        export.model_index(exported(tmp_path, published(), published("rewardbench")))
    )
    assert name == "judge"
    found = [(r.dataset_type, r.dataset_split, r.metric_type, r.metric_name, r.metric_value) for r in results]
    assert found[:2] == [
        ("allenai/reward-bench", "filtered", "score", "Score (percent)", 72.49),
        ("allenai/reward-bench", "filtered", "score", "Math (percent)", 72.49),
    ]
    assert found[3] == ("allenai/reward-bench-2", "test", "accuracy", "Math (percent)", 72.49)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_card_keeps_every_character_but_its_index(tmp_path: Path, newline: str, mark: str) -> None:
    index = export.model_index(exported(tmp_path, published()))
    card = mark + CARD.replace("\n", newline)
    edited = export.edited_card(card, index)
    before, after = card.split(f"model-index:{newline}")[0], card[card.index(f"{newline}# what it is made from") :]
    assert edited.startswith(before)
    assert edited.endswith(after)
    data = ModelCard(edited.removeprefix(mark)).data.to_dict()
    theirs, ours = data["model-index"][0]["results"]
    assert data["model-index"][0]["name"] == "Judge"
    assert theirs["metrics"][0]["value"] == 0.7
    assert "note: kept" in edited
    assert ours["task"]["name"] == export.TASK_NAME
    assert export.edited_card(edited, index) == edited
    changed = export.model_index(exported(tmp_path / "new", published(headline=Estimate(value=0.5))))
    assert edited.replace("value: 72.49", "value: 50.0", 1) == export.edited_card(edited, changed)


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# Judge\n",
        "---\n---\n# Judge\n",
        "---\nlicense: mit\n---",
        "---\nlicense: mit\nmodel-index: []\n---\nx",
        "\ufeff# J",
    ],
)
def test_a_card_without_an_index_gets_one(tmp_path: Path, card: str) -> None:
    edited = export.edited_card(card, export.model_index(exported(tmp_path, published())))
    assert len(ModelCard(edited.removeprefix("\ufeff")).data.eval_results or []) == 2
    assert edited.endswith(card.removeprefix("\ufeff").rpartition("---")[2])
    assert ("license: mit\n" in edited) == ("license" in card)


def test_the_body_s_line_breaks_say_nothing_of_the_metadata_s(tmp_path: Path) -> None:
    index = export.model_index(exported(tmp_path, published()))
    edited = export.edited_card(CARD + "a\r\nb", index)
    assert edited.endswith("a\r\nb")
    assert edited.removesuffix("a\r\nb") == export.edited_card(CARD, index)


@given(body=st.text())
def test_any_body_stays_as_it_is(body: str) -> None:
    start = "---\nlicense: mit\n---\n"
    edited = export.edited_card(start + body, [{"name": "x", "results": []}])
    assert edited.endswith("---\n" + body)


@pytest.mark.parametrize(
    "metadata",
    [
        "- a",
        "model-index: text",
        "model-index: [1]",
        "{license: mit}",
        "? model-index\n: []",
        "a: [",
        "model-index: []\nmodel-index: [{results: []}]",
    ],
)
def test_a_card_that_cannot_be_edited_is_an_error(tmp_path: Path, metadata: str) -> None:
    with pytest.raises(ResultError, match=r"metadata|model-index"):
        export.edited_card(f"---\n{metadata}\n---\n", export.model_index(exported(tmp_path, published())))


# --------------------------------------------------------------------------------------------------------------------
# Pull requests


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A hub with the model, and a root with a run and a published result of it."""
    write_result(tmp_path, run())
    write_result(tmp_path, published("rewardbench"))
    with serve({SUGGESTS: "contribute", READS: "read"}) as running:
        running.add_repo(f"models/{MODEL}", {"README.md": CARD.encode(), "config.json": b"{}"})
        yield running


def push(server: Server, root: Path, *options: str, token: str | None = SUGGESTS) -> subprocess.CompletedProcess[str]:
    arguments = ["export", "eval-results", MODEL, "--push", "--root", str(root), "--out", str(root / "out"), *options]
    return run_command(arguments, server.environment(root / "home", token))


def test_one_pull_request_with_files_and_card(server: Server, tmp_path: Path) -> None:
    repo = server.repo(f"models/{MODEL}")
    first = push(server, tmp_path)
    assert first.returncode == 0, first.stderr
    assert f"opened {server.url}/{MODEL}/discussions/1" in first.stdout
    files, main = repo.files("refs/pr/1"), repo.files()
    assert main == {"README.md": CARD.encode(), "config.json": b"{}"}
    assert files.keys() - main.keys() == {".eval_results/rewardbench.yaml", ".eval_results/rewardbench-2.yaml"}
    assert files["README.md"].decode() == export.edited_card(
        CARD, export.model_index(export.for_the_hub(tmp_path, MODEL))
    )
    assert (tmp_path / "out/.eval_results/rewardbench.yaml").read_bytes() == files[".eval_results/rewardbench.yaml"]
    again = push(server, tmp_path)
    assert "discussions/1 has all of this already; no pull request was opened" in again.stdout
    repo.merge(1, "owner")
    assert "main has all of this already; no pull request was opened" in push(server, tmp_path).stdout
    assert len(repo.pull_requests) == 1
    assert "hf_" not in first.stdout + first.stderr + again.stdout


def test_a_model_without_a_card_gets_no_card(server: Server, tmp_path: Path) -> None:
    server.commit(f"models/{MODEL}", {"README.md": None})
    assert push(server, tmp_path).returncode == 0
    assert "README.md" not in server.repo(f"models/{MODEL}").files("refs/pr/1")


def test_a_dry_run_prints_and_changes_nothing(server: Server, tmp_path: Path) -> None:
    done = push(server, tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    for text in (
        "would change 3 files",
        "--- .eval_results/rewardbench-2.yaml",
        "value: 72.49",
        "base_model:   org/base",
    ):
        assert text in done.stdout
    assert not server.repo(f"models/{MODEL}").pull_requests
    assert not (tmp_path / "out").exists()


def test_a_lost_answer_does_not_lead_to_a_second_pull_request(server: Server, tmp_path: Path) -> None:
    server.fail(Fault("lost-answer", match="POST .*/commit/main"))
    lost = push(server, tmp_path)
    assert lost.returncode == 2
    assert "try again" in lost.stderr
    assert "discussions/1 has all of this already" in push(server, tmp_path).stdout
    assert len(server.repo(f"models/{MODEL}").pull_requests) == 1


def test_a_push_in_between_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    pushed = []

    def somebody(key: str) -> None:
        if not pushed:
            pushed.append(server.commit(key, {"README.md": b"# New"}))

    server.before_commit = somebody
    assert push(server, tmp_path).returncode == 2
    assert not server.repo(f"models/{MODEL}").pull_requests
    assert push(server, tmp_path).returncode == 0
    assert server.repo(f"models/{MODEL}").files("refs/pr/1")["README.md"].endswith(b"---\n# New")


@pytest.mark.parametrize(
    ("options", "token", "message"),
    [
        (["--repo", "org/absent"], SUGGESTS, "org/absent: there is no such repository"),
        ([], READS, "may open pull requests"),
        ([], None, "hf auth login"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    server: Server, tmp_path: Path, options: list[str], token: str | None, message: str
) -> None:
    done = push(server, tmp_path, *options, token=token)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert token is None or token not in done.stdout + done.stderr
    assert not server.repo(f"models/{MODEL}").pull_requests


@pytest.mark.parametrize(
    ("result", "message"),
    [(run(None, "sha256:1"), "local folder"), (run("org/other"), "pass --repo org/other")],
)
def test_only_results_of_the_hub_s_weights_are_pushed(tmp_path: Path, result: Result, message: str) -> None:
    chosen = exported(tmp_path, result)
    with pytest.raises(ResultError, match=message):
        export.target_repository(chosen, None)
    if result.model.source:
        assert export.target_repository(chosen, "org/other") == "org/other"


# --------------------------------------------------------------------------------------------------------------------
# Every Eval Ever


def test_every_bundled_result_is_a_record_or_named() -> None:
    records, left_out = export.every_eval_ever(BUNDLED, [])
    assert len(records) + len(left_out) == len(list((BUNDLED / "results").rglob("*.json")))
    assert len(records) > 350
    validator = Draft202012Validator(RECORD)
    for path, content in records.items():
        assert RECORD_PATH.fullmatch(path)
        record = json.loads(content)
        validator.validate(record)
        assert path.split("/")[2:4] == record["model_info"]["id"].split("/")
        for entry in record["evaluation_results"]:
            config = entry["metric_config"]
            assert config["min_score"] <= entry["score_details"]["score"] <= config["max_score"]
    assert {line.split(": ")[1] for line in left_out} == {
        "it is part of this package",
        "it has no headline",
        "it has no date",
        "its organisation is unknown",
        "its name cannot be a folder name there",
    }


def test_a_run_s_record_says_how_sure_and_by_whom(tmp_path: Path) -> None:
    write_result(tmp_path, run())
    records, _ = export.every_eval_ever(tmp_path, [MODEL], reporter=export.Reporter("Our Lab", "first_party"))
    (record,) = [json.loads(content) for content in records.values()]
    Draft202012Validator(RECORD).validate(record)
    seconds = int(datetime.fromisoformat(started(run())).timestamp())
    assert record["evaluation_id"] == f"rewardbench-2/org_judge/{seconds}"
    assert record["evaluation_timestamp"] == started(run())
    assert record["source_metadata"]["source_type"] == "evaluation_run"
    assert record["source_metadata"]["source_organization_name"] == "Our Lab"
    assert record["source_metadata"]["evaluator_relationship"] == "first_party"
    assert record["eval_library"]["name"] == "rb_core"
    assert record["model_info"]["additional_details"]["model_availability"] == "open_weights"
    assert record["model_info"]["additional_details"]["revision"] == COMMIT
    overall, math, ties = record["evaluation_results"]
    assert overall["evaluation_name"] == "rewardbench-2.overall"
    assert overall["score_details"]["uncertainty"] == {
        "standard_error": {"value": 0.01, "method": "binomial"},
        "confidence_interval": {"lower": 0.7, "upper": 0.75, "confidence_level": 0.95, "method": "binomial"},
    }
    assert math["metric_config"]["metric_id"] == "accuracy"
    assert math["source_data"]["additional_details"]["revision"] == "b" * 40
    assert (ties["metric_config"]["metric_id"], ties["score_details"]["score"]) == ("rewardbench-2.ties", 1.0)
    assert ties["metric_config"]["max_score"] == 1.01


@pytest.mark.parametrize("kind", KIND_LABELS)
def test_each_kind_of_model_is_a_row_a_card_s_entry_and_a_record(tmp_path: Path, kind: ModelKind) -> None:
    result = run()
    write_result(tmp_path, result.model_copy(update={"model": result.model.model_copy(update={"kind": kind})}))
    (row,) = load_boards(tmp_path)[0]["rewardbench-2"].rows
    assert row.kind == KIND_LABELS[kind]
    assert len(exported(tmp_path).results) == 1
    records, _ = export.every_eval_ever(tmp_path, [])
    (record,) = map(json.loads, records.values())
    Draft202012Validator(RECORD).validate(record)
    assert record["model_info"]["additional_details"]["kind"] == kind


def test_the_same_result_is_the_same_file(tmp_path: Path) -> None:
    write_result(tmp_path, run())
    once, _ = export.every_eval_ever(tmp_path, [])
    assert export.every_eval_ever(tmp_path, [])[0] == once
    write_result(tmp_path, run().model_copy(update={"headline": Estimate(value=0.5)}), overwrite=True)
    assert export.every_eval_ever(tmp_path, [])[0].keys().isdisjoint(once)


def test_a_run_on_rows_of_one_s_own_has_another_kind_of_source(tmp_path: Path) -> None:
    write_result(tmp_path, run(id="mine", title="mine", source="mine.jsonl", revision=None, subsets={}))
    (content,) = export.every_eval_ever(tmp_path, [])[0].values()
    record = json.loads(content)
    Draft202012Validator(RECORD).validate(record)
    assert record["evaluation_results"][0]["source_data"]["source_type"] == "other"
    assert record["evaluation_results"][0]["metric_config"]["max_score"] == 1.0


def test_what_is_asked_for_and_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no result below"):
        export.every_eval_ever(tmp_path, [MODEL])
    with pytest.raises(DataError, match="first_party"):
        export.Reporter("Our Lab", "friend")


# --------------------------------------------------------------------------------------------------------------------
# The commands


def rb(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rb", "export", *arguments])
    with pytest.raises(SystemExit) as stop:
        main.main()
    return int(stop.value.code or 0)


def test_the_files_are_written_below_a_folder_named_after_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(tmp_path, published())
    monkeypatch.chdir(tmp_path)
    assert rb(monkeypatch, "eval-results", MODEL, "--root", ".", "--dry-run") == 0
    assert "--- .eval_results/rewardbench-2.yaml" in capsys.readouterr().out
    assert not (tmp_path / "judge").exists()
    assert rb(monkeypatch, "eval-results", MODEL, "--root", ".") == 0
    assert (tmp_path / "judge/.eval_results/rewardbench-2.yaml").is_file()
    block = (tmp_path / "judge/model-index.yaml").read_text(encoding="utf-8")
    assert len(ModelCard(f"---\n{block}---\n").data.eval_results or []) == 2
    assert rb(monkeypatch, "eval-results", "baseline/longest", "--root", ".") == 2


def test_records_are_written_below_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`export every-eval-ever` writes runs and, unless told otherwise, what was published."""
    write_result(tmp_path, run())
    write_result(tmp_path, published("rewardbench"))
    arguments = ["every-eval-ever", "--root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert rb(monkeypatch, *arguments, "--runs-only") == 0
    assert "org/judge on rewardbench: it was published elsewhere" in capsys.readouterr().out
    assert len(list((tmp_path / "out/data/rewardbench-2/org/judge").iterdir())) == 1
    assert rb(monkeypatch, *arguments) == 0
    assert len(list((tmp_path / "out/data").rglob("*.json"))) == 2
