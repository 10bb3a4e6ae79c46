"""Recognised layouts, --columns, rows without a preference, and rows that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.layouts.reading import parse_columns
from rb_core.benchmarks.layouts.registry import LAYOUTS
from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.spec import Benchmark
from rb_core.errors import DataError
from tests.benchmarks.preference_files import write_jsonl

GOOD, BAD = "It is seven.", "It is nine."


def load(tmp_path: Path, rows: list[Any], columns: str = "") -> Benchmark:
    return load_benchmark(str(write_jsonl(tmp_path / "d.jsonl", rows)), columns=parse_columns(columns))


def texts(example: Example) -> tuple[str, str, tuple[str, ...]]:
    prompt = " / ".join(message["content"] for message in example.prompt)
    return prompt, " / ".join(example.completions[: example.num_chosen]), example.completions[example.num_chosen :]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"q": "Q", "a1": GOOD, "a2": BAD}, "prompt=q,chosen=a1,rejected=a2"),
        ({"q": "Q", "a": [{"text": GOOD}, {"text": BAD}]}, "prompt=q,chosen=a.0.text,rejected=a.1.text"),
        ({"q": "Q", "x": BAD, "y": GOOD, "best": 2}, "prompt=q,output_1=x,output_2=y,label=best"),
        ({"q": "Q", "good.one": GOOD, "bad": BAD}, "prompt=q,chosen=good.one,rejected=bad"),
        # a mapping decides, whatever other layout the row has
        (
            {"prompt": "Q", "response_0": GOOD, "response_1": BAD, "better_response_id": 1},
            "chosen=response_0,rejected=response_1",
        ),
    ],
)
def test_columns_map_any_fields(tmp_path: Path, row: dict[str, Any], columns: str) -> None:
    (example,) = load(tmp_path, [row], columns).examples
    assert texts(example) == ("Q", GOOD, (BAD,))


def test_joined_columns_are_a_list_of_answers_and_lines_of_a_prompt(tmp_path: Path) -> None:
    row = {"context": "C", "question": "Q", "right": GOOD, "wrong1": BAD, "wrong2": "no"}
    columns = "prompt=context+question,chosen=right,rejected=wrong1+wrong2"
    (example,) = load(tmp_path, [row], columns).examples
    assert texts(example) == ("C\nQ", GOOD, (BAD, "no"))


@pytest.mark.parametrize("columns", ["prompt", "prompt=", "=q", "prompt=q,prompt=r"])
def test_a_malformed_mapping_is_refused(columns: str) -> None:
    with pytest.raises(DataError, match="expected FIELD=COLUMN"):
        parse_columns(columns)


def test_a_column_that_the_row_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"d\.jsonl:1: field 'question': is missing; the row has 'prompt'"):
        load(tmp_path, [{"prompt": "Q"}], "prompt=question")
    with pytest.raises(DataError, match=r"field 'a': has no 'a\.3'"):
        load(tmp_path, [{"prompt": "Q", "a": [GOOD]}], "chosen=a.3")


def test_an_unknown_layout_names_its_fields_the_mapping_and_all_layouts(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, [{"frage": "Q", "gut": GOOD}])
    for part in ("d.jsonl:1", "'frage', 'gut'", "--columns", *(layout.name for layout in LAYOUTS)):
        assert part in str(error.value)


def test_the_layout_of_each_row_is_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q", "chosen": GOOD, "rejected": BAD},
        {"instruction": "Q", "chosen_response": GOOD, "rejected_response": BAD},
        {"instruction": "P", "chosen_response": GOOD, "rejected_response": BAD},
    ]
    layouts = load(tmp_path, rows).layouts
    assert layouts == {"prompt, chosen and rejected": 1, "Argilla pairs (chosen_response, rejected_response)": 2}


def test_rows_without_a_preference_are_left_out_and_counted(tmp_path: Path) -> None:
    row = {"instruction": "Q", "output_1": GOOD, "output_2": BAD}
    benchmark = load(tmp_path, [row | {"label": 1}, row | {"label": "tie"}, row | {"label": 1.5}])
    assert len(benchmark.examples) == 1
    assert benchmark.left_out == {"two answers and a label: a tie": 2}
    with pytest.raises(DataError, match=r"d\.jsonl: no row states a preference \(1 rows: .*: a tie\)"):
        load(tmp_path, [row | {"label": "tie"}])


@pytest.mark.parametrize("label", [3, "C", "A>C", -1, "both?", 0.7, 2.4])
def test_a_label_that_names_no_answer_is_refused_with_its_value(tmp_path: Path, label: object) -> None:
    with pytest.raises(DataError, match=f"field 'label': is '{str(label).replace('?', '.')}'; expected '1' for"):
        load(tmp_path, [{"instruction": "Q", "output_1": GOOD, "output_2": BAD, "label": label}])


def test_answers_of_a_prompt_in_several_rows_are_one_example(tmp_path: Path) -> None:
    """The two rows of a prompt need not be adjacent, as in HelpSteer."""
    rows = [{"prompt": q, "response": text, "helpfulness": h} for q, text, h in
            (("P", BAD, 1), ("Q", BAD, 0), ("P", GOOD, 3), ("Q", GOOD, 4), ("Q", "no", 0), ("R", GOOD, 2))]  # fmt: skip
    benchmark = load(tmp_path, rows)
    assert [texts(example) for example in benchmark.examples] == [("P", GOOD, (BAD,)), ("Q", GOOD, (BAD, "no"))]
    assert benchmark.left_out == {"HelpSteer: only one answer to the prompt": 1}


def test_a_prompt_that_only_most_completions_repeat_is_refused(tmp_path: Path) -> None:
    def row(number: int, prompt: str) -> dict[str, str]:
        return {"prompt": f"What is {number}?", "chosen": f"{prompt}Odd.", "rejected": f"{prompt}Even."}

    repeated = [row(number, f"What is {number}? ") for number in range(3)]
    with pytest.raises(
        DataError, match=r"d\.jsonl:4: the completions do not begin with the prompt, but those of 3 of 4"
    ):
        load(tmp_path, [*repeated, row(3, "")])
    short = {"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi!"}
    assert load(tmp_path, [short]).examples[0].completions == ("Hi there", "Hi!")
    all_repeat = load(tmp_path, [*repeated, short, {"prompt": "Ho", "chosen": "a", "rejected": "b"}])
    assert [example.completions for example in all_repeat.examples[2:]] == [
        ("Odd.", "Even."),
        ("there", "!"),
        ("a", "b"),
    ]
    few = load(tmp_path, [repeated[0], *(row(number, "") for number in range(1, 9))])
    assert few.examples[0].completions == ("What is 0? Odd.", "What is 0? Even.")


def test_conversations_say_what_the_prompt_leaves_out(tmp_path: Path) -> None:
    history = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    answers = {
        name: [*history, {"role": "assistant", "content": text}] for name, text in (("chosen", GOOD), ("rejected", BAD))
    }
    assert texts(load(tmp_path, [{"prompt": "Q", **answers}]).examples[0]) == ("S / Q", GOOD, (BAD,))
    with pytest.raises(DataError, match="earlier messages differ from the prompt"):
        load(tmp_path, [{"prompt": "other", **answers}])


def test_conversations_that_differ_before_the_last_message_are_refused(tmp_path: Path) -> None:
    def conversation(*contents: str) -> list[dict[str, str]]:
        return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]

    row = {"chosen": conversation("Hi", "Yes?", "2+2", "4"), "rejected": conversation("Hi", "What?", "2+2", "5")}
    for given in (row, {"prompt": "Hi", **row}):
        with pytest.raises(
            DataError, match=r"d\.jsonl:1: field 'chosen': and 'rejected' are conversations that differ"
        ):
            load(tmp_path, [given])


def test_text_without_a_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="field 'chosen': is text, and the row has no prompt that it answers"):
        load(tmp_path, [{"chosen": GOOD, "rejected": BAD}])


def test_system_prompt_history_and_tools_reach_the_prompt(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "add"}}
    row = {
        "system": "S",
        "history": [["E", "R"]],
        "question": "Q",
        "response_chosen": GOOD,
        "response_rejected": BAD,
        "tools": [tool],
    }
    (example,) = load(tmp_path, [row]).examples
    assert texts(example)[0] == "S / E / R / Q"
    assert example.prompt[1]["tools"] == [tool]


@pytest.mark.parametrize("field", ["images", "videos"])
def test_media_columns_are_refused_where_they_hold_something(tmp_path: Path, field: str) -> None:
    row = {"prompt": "Q", "chosen": GOOD, "rejected": BAD}
    assert load(tmp_path, [row | {field: []}]).examples
    with pytest.raises(DataError, match=f"field '{field}': is not empty; only text can be scored"):
        load(tmp_path, [row | {field: ["x.png"]}])


@pytest.mark.parametrize(("question", "context"), [("question", "context"), ("prompt", "context"), ("prompt", "input")])
def test_text_beside_a_question_is_not_dropped(tmp_path: Path, question: str, context: str) -> None:
    row = {question: "Q", context: "C", "chosen": GOOD, "rejected": BAD}
    with pytest.raises(DataError, match=rf"'{context}'.*use --columns prompt={context}\+{question}, or"):
        load(tmp_path, [row])
    for columns, prompt in ((f"prompt={context}+{question}", "C\nQ"), (f"prompt={question}", "Q")):
        assert texts(load(tmp_path, [row], columns).examples[0])[0] == prompt


@pytest.mark.parametrize("chosen", ["response_2", "2", 2, 2.0, "Response 2", "[[2]]", "2 > 1", "model_2"])
def test_a_chosen_field_may_name_one_of_two_answers(tmp_path: Path, chosen: Any) -> None:
    row = {"prompt": "Q", "response_1": BAD, "response_2": GOOD, "chosen": chosen, "rejected": "response_1"}
    assert texts(load(tmp_path, [row]).examples[0]) == ("Q", GOOD, (BAD,))


def test_labels_that_name_different_answers_are_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    row = {"prompt": "Q", "answer_a": BAD, "answer_b": GOOD, "label": "A", "winner": "B"}
    with pytest.raises(DataError, match="field 'winner': and 'label' name different answers"):
        load(tmp_path, [row])
    assert texts(load(tmp_path, [row], "label=winner").examples[0]) == ("Q", GOOD, (BAD,))
    assert texts(load(tmp_path, [row | {"winner": "unknown"}]).examples[0]) == ("Q", BAD, (GOOD,))


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    row = {"instruction": "Q", "output_1": GOOD, "output_2": BAD}
    benchmark = load(tmp_path, [row | {"preference": label} for label in (1, None, float("nan"), "")])
    assert (len(benchmark.examples), benchmark.left_out) == (1, {"two answers and a label: no label": 3})


@pytest.mark.parametrize(("good", "bad"), [(True, False), (1, 0), ("True", "False"), (1.0, 0.0)])
def test_labels_of_unpaired_completions_are_read_as_files_have_them(tmp_path: Path, good: Any, bad: Any) -> None:
    rows = [{"prompt": "Q", "completion": text, "label": label} for text, label in ((BAD, bad), (GOOD, good))]
    assert texts(load(tmp_path, rows).examples[0]) == ("Q", GOOD, (BAD,))


@pytest.mark.parametrize("prompt", ["Name an odd number.", "\n\nHuman: Name an odd number.\n\nAssistant:"])
def test_a_prompt_is_taken_off_transcripts_that_repeat_it(tmp_path: Path, prompt: str) -> None:
    answers = {
        field: f"\n\nHuman: Name an odd number.\n\nAssistant: {text}"
        for field, text in (("chosen", GOOD), ("rejected", BAD))
    }
    (example,) = load(tmp_path, [{"prompt": prompt, **answers}]).examples
    assert texts(example) == ("Name an odd number.", GOOD, (BAD,))


def test_a_prompt_is_taken_off_all_completions_in_any_layout(tmp_path: Path) -> None:
    question = "Which number is odd?"
    row = {"question": question, "chosen": f"{question}\n{GOOD}", "rejected": f"{question}\n{BAD}"}
    assert texts(load(tmp_path, [row]).examples[0]) == (question, GOOD, (BAD,))


def test_a_prompt_of_messages_without_text_is_refused(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": " "}], "chosen": GOOD, "rejected": BAD}
    with pytest.raises(DataError, match=r"d\.jsonl:1: field 'prompt': has no text in any message"):
        load(tmp_path, [row])


def test_a_label_of_zero_is_not_guessed_where_answers_are_numbered_from_one(tmp_path: Path) -> None:
    """0 is a tie in PandaLM and LLMBar's code, and the first answer in Auto-J."""
    rows = [
        {"instruction": "Q", "output_1": GOOD, "output_2": BAD, "label": 0},
        {"instruction": "P", "output_1": BAD, "output_2": GOOD, "label": 1},
    ]
    with pytest.raises(DataError, match=r"d\.jsonl:1: field 'label': is 0.*answer_0=output_1,answer_1=output_2"):
        load(tmp_path, rows)
    examples = load(tmp_path, rows, "answer_0=output_1,answer_1=output_2").examples
    assert [texts(example)[1] for example in examples] == [GOOD, GOOD]


@pytest.mark.parametrize("answers", [("completions", "labels"), ("responses", "ranking")])
def test_lists_that_may_be_no_ratings_are_refused_unless_mapped(tmp_path: Path, answers: tuple[str, str]) -> None:
    """TRL's stepwise supervision has completions and labels; a ranking may be ranks or an order."""
    row = {"prompt": "Q", answers[0]: [BAD, GOOD], answers[1]: [0, 1]}
    with pytest.raises(DataError, match=r"--columns"):
        load(tmp_path, [row])
    (example,) = load(tmp_path, [row], f"answers={answers[0]},scores={answers[1]}").examples
    assert texts(example) == ("Q", GOOD, (BAD,))


def test_arena_conversations_that_part_early_are_left_out_and_first_turns_are_read(tmp_path: Path) -> None:
    def conversation(*turns: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, turns, strict=False)]

    good, bad = conversation("Q", GOOD, "More", "x"), conversation("Q", BAD, "More", "y")
    row = {"winner": "model_b", "conversation_a": bad, "conversation_b": good}
    benchmark = load(tmp_path, [row | {"turn": 1}, row | {"turn": 2}])
    assert [texts(example) for example in benchmark.examples] == [("Q", GOOD, (BAD,))]
    assert sum(benchmark.left_out.values()) == 1


def test_arena_texts_are_lists_in_json_with_one_vote(tmp_path: Path) -> None:
    votes = {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}
    row = {"prompt": '["Q"]', "response_a": f'["{BAD}"]', "response_b": f'["{GOOD}"]', **votes}
    (example,) = load(tmp_path, [row]).examples
    assert texts(example) == ("Q", GOOD, (BAD,))
    for damage in ({"winner_tie": 1}, {"winner_model_a": {}}, {"response_a": "[]"}, {"response_b": "text"}):
        with pytest.raises(DataError, match=r"d\.jsonl:1: field '(winner_model_a|response_.)'"):
            load(tmp_path, [row | damage])


def test_rows_with_the_same_problem_are_named_together_up_to_twenty(tmp_path: Path) -> None:
    good = {"prompt": "Q", "chosen": GOOD, "rejected": BAD}
    rows = [good, {"prompt": "Q", "chosen": GOOD}, good, {**good, "id": True}, {"prompt": "Q", "chosen": GOOD}]
    with pytest.raises(DataError) as error:
        load(tmp_path, rows)
    assert str(error.value) == (
        "d.jsonl:2, 5: field 'rejected': is missing; the row has 'prompt', 'chosen' | "
        "d.jsonl:4: field 'id': is true or false; expected text or a whole number (3 rows cannot be read)"
    )
    with pytest.raises(DataError, match=r"19, 20: .*\(50 rows cannot be read; the first 20 are named\)"):
        load(tmp_path, [{"prompt": "Q", "chosen": GOOD}] * 50)
