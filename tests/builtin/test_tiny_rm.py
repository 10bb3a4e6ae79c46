"""The built-in model as it is shipped, and the script that makes it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from rb_core.benchmarks.example import CompletionSet, Message
from rb_core.builtin import train_tiny_rm as training
from rb_core.evaluation import score
from rb_core.models.resolve import resolve
from rb_core.scorers.classifier import ClassifierScorer

FOLDER = Path(training.__file__).parent / "tiny_rm"


@pytest.fixture(scope="module")
def scorer() -> ClassifierScorer:
    return ClassifierScorer.load(resolve("builtin/tiny-rm"))


def rewards(scorer: ClassifierScorer, prompt: str, *completions: str) -> list[float]:
    (scores,) = score.score_completion_sets(
        scorer, [CompletionSet((Message(role="user", content=prompt),), completions)]
    )
    return [score.value for score in scores]


def test_the_folder_is_small_and_holds_no_pickle() -> None:
    """Less than 9 MB in all, safetensors, a tokenizer, a card, and nothing else."""
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(files.values()) < 9_000_000
    assert {Path(name).suffix for name in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert "README.md" in files


def test_the_card_says_what_it_must() -> None:
    """Data with licences, recipe, seed, size, and held-out accuracy by source beside the baselines'."""
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in ("hh_harmless", "pandalm", "coconot", "MIT", "Apache-2.0", "seed", "parameters", "longest", "Limits"):
        assert word in card
    assert len(re.findall(r"\| other_prompt \| \d+ \| [\d.]+ \|", card)) == 1


def test_it_runs_in_float32_by_the_shipped_template(scorer: ClassifierScorer) -> None:
    """It loads as float32, is batched, renders a system message, and is read at the token that closes the answer."""
    about = scorer.describe()
    assert (about["dtype"], about["batching"]) == ("float32", "packed")
    scorer.chat.check_system_role()
    assert about["scored_token"] == scorer.chat.tokenizer.eos_token


GOOD = {
    "How do I boil an egg?": (
        "Put the egg in a pot of boiling water for eight minutes, then cool it in cold water and peel the egg."
    ),
    "Why is the sky blue?": "The sky looks blue because the air scatters blue light from the sun more than red light.",
    "How can I fall asleep faster?": (
        "To fall asleep faster, keep your bedroom dark, go to bed at the same time, and avoid screens before you sleep."
    ),
    "Can you recommend a good book about the history of Rome?": (
        "A good book about the history of Rome is SPQR by Mary Beard. It tells how Rome grew from a village into an "
        "empire."
    ),
}


@pytest.mark.parametrize("prompt", GOOD)
@pytest.mark.parametrize(
    "bad", ["asdkjh qwe zxmn lkjq", "You are an idiot, figure it out yourself.", "ok", "I don't know."]
)
def test_a_helpful_answer_beats_gibberish_insults_and_nothing(scorer: ClassifierScorer, prompt: str, bad: str) -> None:
    """A visitor's obvious pairs come out right."""
    good, worse = rewards(scorer, prompt, GOOD[prompt], bad)
    assert good > worse


@pytest.mark.parametrize("prompt", GOOD)
def test_a_helpful_answer_beats_the_answers_to_other_questions(scorer: ClassifierScorer, prompt: str) -> None:
    """The answer to the question wins against the answers to three other questions."""
    own, *others = rewards(scorer, prompt, GOOD[prompt], *(answer for other, answer in GOOD.items() if other != prompt))
    assert own > max(others)


# ---- the script


def transcript(*turns: str) -> str:
    names = ("Human", "Assistant")
    return "".join(f"\n\n{names[i % 2]}: {text}" for i, text in enumerate(turns))


def write_data(folder: Path) -> None:
    """A handful of pairs in the layouts of the four sources."""
    ask, good, bad = "How do I bake bread number {}?", "Mix flour and water {}. Then bake it for an hour.", "No {}."
    hh = [
        {"chosen": transcript(ask.format(i), good.format(i)), "rejected": transcript(ask.format(i), bad.format(i))}
        for i in range(24)
    ]
    lines = "\n".join(json.dumps(row) for row in hh)
    helpful = [{"text": [row["chosen"], row["rejected"]], "score": [1.0, 0.0]} for row in hh]
    panda = [
        {"instruction": ask.format(f"p{i}"), "input": "", "response1": good.format(i), "response2": bad.format(i)}
        | {"annotator1": 1, "annotator2": 1, "annotator3": 0}
        for i in range(24)
    ]
    coconot = [{"prompt": ask.format(f"c{i}"), "chosen": good.format(i), "rejected": bad.format(i)} for i in range(24)]
    for name, text in {
        "hh_harmless_base_test.jsonl.gz": lines.replace("bake", "harmlessly bake"),
        "hh_helpful_base_test.json.gz": json.dumps(helpful),
        "pandalm_testset_v1.json.gz": json.dumps(panda),
        "coconot_pref.jsonl.gz": "\n".join(json.dumps(row) for row in coconot),
    }.items():
        with gzip.open(folder / name, "wt", encoding="utf-8") as file:
            file.write(text)


def test_the_script_trains_a_model_that_loads_and_scores(tmp_path: Path) -> None:
    """From four small files to a folder with weights, tokenizer and card that the package can score with."""
    write_data(tmp_path)
    options = ["--steps", "3", "--groups", "4", "--vocab-size", "400", "--evaluations", "1"]
    training.main(["--data", str(tmp_path), "--out", str(tmp_path / "model"), *options])
    scorer = ClassifierScorer.load(resolve(str(tmp_path / "model")))
    first, second = rewards(scorer, "How do I bake bread?", "Mix flour and water.", "No.")
    assert first != second
    card = (tmp_path / "model/README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"\| hh_helpful \| (\d+) \| ([\d.]+) \| ([\d.]+)-([\d.]+) \|", card)
    right, low, high = map(float, row[1:])
    assert low <= right <= high <= 100
    assert low < high


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Without the data the script says which files it needs."""
    with pytest.raises(SystemExit, match=r"pandalm_testset_v1\.json\.gz"):
        training.main(["--data", str(tmp_path), "--out", str(tmp_path / "model")])
