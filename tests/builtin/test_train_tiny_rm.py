"""The script that trains the built-in model."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.builtin import train_tiny_rm
from rb_core.evaluation.score import score_completion_sets
from rb_core.models.resolve import resolve
from rb_core.scorers.classifier import ClassifierScorer

NUM_ROWS = 10  # one held-out and one validation prompt of each source


def transcript(question: str, answer: str) -> str:
    return f"\n\nHuman: {question}\n\nAssistant: {answer}"


def write_data(folder: Path) -> None:
    """Write a few pairs in the formats of the four sources."""
    question, good, bad = (
        "How do I bake bread number {}?",
        "Mix flour and water {}. Then bake it for an hour.",
        "No {}.",
    )
    harmless, helpful, pandalm, coconot = [], [], [], []
    for i in range(NUM_ROWS):
        answers = {"chosen": good.format(i), "rejected": bad.format(i)}
        transcripts = {key: transcript(question.format(f"h{i}"), text) for key, text in answers.items()}
        harmless.append(transcripts)
        transcripts = {key: transcript(question.format(i), text) for key, text in answers.items()}
        helpful.append({"text": [transcripts["rejected"], transcripts["chosen"]], "score": [0.0, 1.0]})
        votes = {"annotator1": 1, "annotator2": 1, "annotator3": 0}
        responses = {"response1": answers["chosen"], "response2": answers["rejected"]}
        pandalm.append({"instruction": question.format(f"p{i}"), "input": "", **responses, **votes})
        coconot.append({"prompt": question.format(f"c{i}"), **answers})
    for name, text in {
        "hh_harmless_base_test.jsonl.gz": "\n".join(map(json.dumps, harmless)),
        "hh_helpful_base_test.json.gz": json.dumps(helpful),
        "pandalm_testset_v1.json.gz": json.dumps(pandalm),
        "coconot_pref.jsonl.gz": "\n".join(map(json.dumps, coconot)),
    }.items():
        with gzip.open(folder / name, "wt", encoding="utf-8") as file:
            file.write(text)


def test_it_writes_a_folder_with_weights_tokenizer_and_card_that_can_be_scored_with(tmp_path: Path) -> None:
    write_data(tmp_path)
    options = ["--steps", "2", "--groups", "2", "--vocab-size", "400", "--evaluations", "1"]
    train_tiny_rm.main(["--data", str(tmp_path), "--out", str(tmp_path / "model"), *options])
    scorer = ClassifierScorer.load(resolve(str(tmp_path / "model")))
    conversation = (Message(role="user", content="How do I bake bread?"),)
    completion_set = CompletionSet(conversation, ("Mix flour and water.", "No."))
    ((first, second),) = score_completion_sets(scorer, [completion_set])
    assert first.value != second.value
    card = (tmp_path / "model/README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"\| hh_helpful \| (\d+) \| ([\d.]+) \| ([\d.]+)-([\d.]+) \|", card)
    accuracy, low, high = map(float, row[1:])
    assert low <= accuracy <= high <= 100
    assert low < high


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"pandalm_testset_v1\.json\.gz"):
        train_tiny_rm.main(["--data", str(tmp_path), "--out", str(tmp_path / "model")])
