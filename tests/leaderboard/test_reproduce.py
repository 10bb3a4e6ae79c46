from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rb_core.cli.main import make_app
from rb_core.evaluation.evaluate import evaluate
from rb_core.leaderboard.hub_links import HubPlace
from rb_core.leaderboard.reproduce import SERVER, reproduce_commands
from rb_core.models.options import JudgeOptions, ModelOptions
from rb_core.results.schema import ModelRef, Published, Result, Run, from_json
from rb_core.results.storage import read_result
from rb_core.scorers.judge.prompt_templates import FOLDER
from tests.fakes.judge_server import JudgeServer
from tests.fakes.judges import judge
from tests.fakes.results import published
from tests.paths import BUNDLED

HUB = HubPlace("me/results", "c" * 40, f"https://hub.example/datasets/me/results/blob/{'c' * 40}")


def commands(result: Result, hub: HubPlace | None = None) -> list[str]:
    return [command for _, command in reproduce_commands(result, hub)]


def evaluate_words(result: Result) -> list[str]:
    """The words of the command that scores again."""
    (command,) = [command for command in commands(result) if " evaluate " in command]
    return shlex.split(command)


def with_command(run_of_tiny_rm: Result, command: str, **model: Any) -> Result:
    """The bundled run as if another command had started it, of another model."""
    run = Run(**(run_of_tiny_rm.run.model_dump() if run_of_tiny_rm.run else {}) | {"command": command})
    changed = ModelRef(**run_of_tiny_rm.model.model_dump() | model)
    return run_of_tiny_rm.model_copy(update={"run": run, "model": changed})


def test_the_recorded_options_are_given_with_the_recorded_commits(tiny_rm: Result) -> None:
    typed = (
        "rb evaluate --model a/b --benchmark rewardbench --fold-system --out=x --overwrite --revision main --limit 9"
    )
    result = with_command(tiny_rm, typed, name="a/b", revision="a" * 40)
    result = result.model_copy(update={"benchmark": result.benchmark.model_copy(update={"revision": "d" * 40})})
    assert evaluate_words(result)[3:] == [
        *("evaluate", "--model", "a/b", "--benchmark", "rewardbench", "--fold-system", "--limit", "9"),
        *("--revision", "a" * 40, "--data-revision", "d" * 40, "--out", "mine"),
    ]


def test_an_ensemble_that_was_evaluated_from_python_is_named_by_its_members(tiny_rm: Result) -> None:
    members = [{"model": {"name": name, "kind": "classifier"}, "mean": 0.0, "sd": 1.0} for name in ("a/b", "c/d")]
    ensemble = {"members": members, "combine": "mean-sd", "penalty": 0.25, "scale_by": "starter"}
    model = from_json(ModelRef, {"name": "ensemble/b+d", "kind": "ensemble", "ensemble": ensemble})
    words = evaluate_words(with_command(tiny_rm, "python my_script.py").model_copy(update={"model": model}))
    assert "--model" not in words
    assert shlex.join(words).endswith(
        "--ensemble a/b,c/d --combine mean-sd --lambda 0.25 --scale-by starter --seed 0 --out mine"
    )


@pytest.mark.parametrize("command", ["python my_script.py", "rb evaluate 'unclosed"])
def test_without_a_recorded_evaluate_command_the_options_come_from_the_record(tiny_rm: Result, command: str) -> None:
    record = {"name": "a/b", "kind": "implicit", "reference": "a/base", "beta": 0.25, "revision": None}
    record |= {"template_name": "rag", "template_vars": {"enable_thinking": False, "day": "Monday"}}
    words = evaluate_words(with_command(tiny_rm, command, **record))
    options = dict(zip(words[4::2], words[5::2], strict=True))
    expected = {
        "--model": "a/b",
        "--reference": "a/base",
        "--beta": "0.25",
        "--template-name": "rag",
        "--template-vars": "enable_thinking=false,day=Monday",
        "--kind": "implicit",
        "--dtype": "float32",
        "--seed": "0",
    }
    assert options.items() >= expected.items()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"output": "weights 1,-2.5e-05,0, lower is better"}, "--output-weights 1,-2.5e-05,0 --lower-is-better"),
        ({"kind": "process", "output": "log-odds of output 1"}, "--kind process --output-index 1"),
        ({"kind": "implicit", "output": "reference-free mean"}, "--kind implicit --reference-free mean"),
        ({"kind": "custom-classifier", "kind_detail": "value head score"}, "--kind value-head"),
        ({"kind": "custom-classifier", "kind_detail": "gated sum of 19 rewards"}, "--kind gated"),
        ({"loading": ["pad token 3, that of the tokenizer, as declared"]}, "--pad-token tokenizer"),
        ({"system_role": "fold"}, "--fold-system"),
    ],
)
def test_options_recorded_in_words_are_given(tiny_rm: Result, record: dict[str, Any], expected: str) -> None:
    words = evaluate_words(with_command(tiny_rm, "python my_script.py", **record))
    assert set(expected.split()) <= set(words)


def test_absolute_paths_become_placeholders(tiny_rm: Result) -> None:
    typed = (
        "rb evaluate --model /home/me/models/mine --benchmark starter --chat-template=/home/me/t.jinja --data a/b.jsonl"
    )
    words = evaluate_words(with_command(tiny_rm, typed))
    assert {"PATH/TO/mine", "--chat-template=PATH/TO/t.jinja", "a/b.jsonl"} <= set(words)
    assert not any("/home/me" in word for word in words)


def test_a_record_cannot_inject_another_command(tiny_rm: Result) -> None:
    assert "'a/b; rm -rf ~ #$(x)'" in commands(with_command(tiny_rm, "rb evaluate --model 'a/b; rm -rf ~ #$(x)'"))[0]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (
            "--model a/b --base-url http://me:secret@10.0.0.5:8000/v1?key=k --mode ratings",
            "--model a/b --base-url {at} --mode ratings",
        ),
        ("--base-url=http://10.0.0.5/v1?key=k --model a/b", "--base-url={at} --model a/b"),
        ("--judges a/b@http://10.0.0.5/v1,/home/me/judges/c --vote mean", "--judges a/b@{at},PATH/TO/c --vote mean"),
        ("--judges=a/b@https://one.example,c/d", "--judges=a/b@{at},c/d"),
        ("--model a/b --provider together", "--model a/b --provider together"),
        ("--ensemble /home/me/c,a/b --scale-by starter", "--ensemble PATH/TO/c,a/b --scale-by starter"),
        ("--scorer /home/me/mine.py:f --name me/f", "--scorer PATH/TO/mine.py:f --name me/f"),
    ],
)
def test_the_address_of_a_judges_server_becomes_a_placeholder(tiny_rm: Result, typed: str, shown: str) -> None:
    words = evaluate_words(with_command(tiny_rm, f"rb evaluate {typed}"))
    assert words[4:-2] == shlex.split(shown.format(at=SERVER))


def test_published_results_are_imported_at_their_commit_and_evaluated_where_their_kind_can_be() -> None:
    source = f"allenai/reward-bench-2-results@{'e' * 40}: eval-set/a/b.json"
    assert commands(published("a/b", published=Published(source=source)), HUB) == [
        f"python -m rb_core sync pull --repo me/results --revision {HUB.commit} --out pulled",
        "python -m rb_core import rewardbench-results allenai/reward-bench-2-results "
        f"--revision {'e' * 40} --out theirs",
        "python -m rb_core evaluate --model a/b --benchmark starter --out mine",
    ]
    generative = evaluate_words(published("a/b", model=ModelRef(name="a/b", kind="generative")))
    assert generative[8:] == [
        *("--kind", "generative", "--mode", "pairwise"),
        *("--base-url", "http://SERVER/v1", "--out", "mine"),
    ]
    custom = commands(published("a/b", model=ModelRef(name="a/b", kind="custom-classifier")))
    assert not [command for command in custom if " evaluate " in command]


def test_a_run_is_verified_at_the_shown_commit_or_in_the_readers_folder(tiny_rm: Result) -> None:
    assert commands(tiny_rm, HUB)[1] == f"python -m rb_core verify --repo me/results --revision {HUB.commit}"
    assert commands(tiny_rm)[1] == "python -m rb_core verify mine"


def test_the_command_of_a_bundled_run_gives_its_headline_again(tmp_path: Path) -> None:
    result = read_result(BUNDLED / "results/starter/baseline/longest.json")
    done = CliRunner().invoke(make_app(), [*evaluate_words(result)[3:-1], str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert read_result(tmp_path / result.path()).headline == result.headline


def test_the_command_of_a_token_model_asks_its_question_without_the_file(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    question = tmp_path / "question.txt"
    question.write_text("Is it right?\nSay 'y' or n.\n", encoding="utf-8")
    words = ["evaluate", "--model", str(tiny_model("llama-lm")), "--benchmark", "starter", "--limit", "4", "--out"]
    words += [str(tmp_path / "first"), "--tokens", "y,n", "--question", str(question), "--device", "cpu"]
    done = CliRunner().invoke(make_app(), words)
    assert done.exit_code == 0, done.output
    first = read_result(next((tmp_path / "first").glob("results/*/*/*.json")))
    assert (first.model.kind, first.model.question) == ("token", "Is it right?\nSay 'y' or n.")
    assert first.run
    recorded = first.model_copy(update={"run": first.run.model_copy(update={"command": shlex.join(["rb", *words])})})
    question.unlink()
    for result in (recorded, first):  # with the command, and without, as after a run from Python
        filled = [word.replace("PATH/TO", str(tiny_model("llama-lm").parent)) for word in evaluate_words(result)]
        filled = [str(tiny_model("llama-lm")) if word == first.model.name else word for word in filled]
        again = CliRunner().invoke(make_app(), [*filled[3:-1], str(tmp_path / "again"), "--overwrite"])
        assert again.exit_code == 0, again.output
        assert read_result(tmp_path / "again" / first.path()).model == first.model


def test_the_command_of_a_judge_gives_its_settings_scores_and_bias_again(tmp_path: Path) -> None:
    template = tmp_path / "mine.md"
    template.write_text((FOLDER / "pairwise.md").read_text().replace("name: pairwise", "name: mine"))
    with JudgeServer(judge(lambda prompt, text: len(text) / 4000)) as server:
        single = JudgeOptions(
            base_url=server.url,
            temperature=0.5,
            max_new_tokens=99,
            structured=True,
            expected=True,
            template=str(template),
        )
        panel = JudgeOptions(judges=(f"a/b@{server.url}", f"c/d@{server.url}"), mode="listwise", vote="mean")
        for model, options in (("a/b", single), ("", panel)):
            first = evaluate(model, "starter", options=ModelOptions(judge=options), limit=6, out=tmp_path / "first")
            words = evaluate_words(first.result)
            assert server.url not in " ".join(words)
            filled = [word.replace(SERVER, server.url).replace("PATH/TO/mine.md", str(template)) for word in words]
            done = CliRunner().invoke(make_app(), [*filled[3:-1], str(tmp_path / "again")])
            assert done.exit_code == 0, done.output
            again = read_result(tmp_path / "again" / first.result.path())
            assert again.model == first.result.model
            assert (again.subsets, again.judging) == (first.result.subsets, first.result.judging)
