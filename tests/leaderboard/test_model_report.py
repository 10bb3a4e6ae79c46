"""Everything about one model as plain JSON, and the commands that give its numbers again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rb_core.evaluation.evaluate import evaluate as run_judge
from rb_core.leaderboard.board import Board, build_board, group_by_benchmark
from rb_core.leaderboard.model_report import SERVER, HubPlace, UnknownModelError, commands, model_names, model_page
from rb_core.models.options import JudgeOptions, ModelOptions
from rb_core.results.estimate import Estimate
from rb_core.results.schema import ModelRef, Published, Result, Run
from rb_core.results.storage import read_result, read_results
from rb_core.scorers.judge.prompt_templates import FOLDER
from tests.fakes.judge_server import JudgeServer
from tests.fakes.judges import judge
from tests.paths import BUNDLED
from tests.results.test_results import published

HUB = HubPlace("me/results", "c" * 40, f"https://hub.example/datasets/me/results/blob/{'c' * 40}")
TINY = BUNDLED / "results" / "starter" / "builtin" / "tiny-rm.json"


class Source:
    """Results in memory as the page's source gives them; without `known`, boards whose results have not come."""

    def __init__(self, *found: Result, hub: HubPlace | None = None, known: bool = True) -> None:
        self._found, self._hub, self._known = group_by_benchmark(found), hub, known
        self._boards = {name: build_board(group).rounded() for name, group in self._found.items()}

    def boards(self) -> Mapping[str, Board]:
        return self._boards

    def results(self, benchmark: str) -> Mapping[str, Result]:
        return {each.model.name: each for each in self._found[benchmark]} if self._known else {}

    def on_hub(self) -> HubPlace | None:
        return self._hub


@pytest.fixture(scope="module")
def tiny() -> Result:
    return read_result(TINY)


@pytest.fixture(scope="module")
def bundled() -> Source:
    found, _ = read_results(BUNDLED)
    return Source(*found)


def evaluates(result: Result, hub: HubPlace | None = None) -> list[str]:
    """The words of the command that scores again."""
    (command,) = [command for _, command in commands(result, hub) if " evaluate " in command]
    return shlex.split(command)


def ran(tiny: Result, command: str, **model: Any) -> Result:
    """The bundled run as if it had been started by another command, of another model."""
    run = Run(**(tiny.run.model_dump() if tiny.run else {}) | {"command": command})
    return tiny.model_copy(update={"run": run, "model": ModelRef(**tiny.model.model_dump() | model)})


def test_a_model_has_its_results_on_all_benchmarks(bundled: Source) -> None:
    """Every board that has the model is there with the numbers of its result file and its place among the ranked."""
    name = "Ray2333/GRM-gemma2-2B-rewardmodel-ft"
    found = model_page(bundled, name)
    assert [each["benchmark"]["id"] for each in found["results"]] == ["rewardbench", "rewardbench-2"]
    first = found["results"][0]
    written = json.loads((BUNDLED / "results" / "rewardbench" / f"{name}.json").read_text(encoding="utf-8"))
    parts = {part["name"]: part["estimate"] for part in first["parts"]}
    assert first["headline"]["value"] == written["headline"]["value"]
    assert parts["Chat Hard"]["low"] == written["sections"]["Chat Hard"]["low"]
    assert parts["hep-java"]["high"] == written["subsets"]["hep-java"]["high"]
    assert first["rank"] < first["of"] == 206  # of 212, six have no headline
    assert first["absent"] == {"Prior Sets": "not published"}
    assert first["weak_spots"][0]["drop"] == first["weak_spots"][0]["rank"] - first["weak_spots"][0]["overall"]
    assert json.loads(json.dumps(found)) is not None


def test_weak_spots_are_subsets_where_there_are_some_and_sections_elsewhere(bundled: Source) -> None:
    """RewardBench names subsets, RewardBench 2, of which only sections are published, names sections."""
    first, second = model_page(bundled, "Ray2333/GRM-gemma2-2B-rewardmodel-ft")["results"]
    levels = {(part["name"], part["level"]) for part in first["parts"] + second["parts"]}
    assert all((spot["name"], "subset") in levels for spot in first["weak_spots"])
    assert {spot["name"] for spot in second["weak_spots"]} <= {
        "Factuality",
        "Precise IF",
        "Math",
        "Safety",
        "Focus",
        "Ties",
    }
    assert first["weak_spots"]
    assert second["weak_spots"]


def test_a_run_tells_its_settings_counts_and_files(tiny: Result) -> None:
    """Settings, versions and counts are those of the result; its files have addresses where they lie on the hub."""
    (entry,) = model_page(Source(tiny, hub=HUB), "builtin/tiny-rm")["results"]
    assert entry["settings"]["chat_template_sha256"] == tiny.model.chat_template_sha256
    assert entry["settings"]["probe"] == tiny.model.probe
    assert tiny.run
    assert entry["run"]["versions"] == tiny.run.versions
    assert tiny.counts
    assert entry["counts"]["completions"] == tiny.counts.completions
    assert [file["url"] for file in entry["files"]] == [f"{HUB.address}/{file['path']}" for file in entry["files"]]
    assert [file["path"] for file in entry["files"]] == [tiny.path().as_posix(), tiny.scores_path().as_posix()]


def test_an_unknown_name_is_refused_with_names_that_are_alike(bundled: Source) -> None:
    """The message repeats the name and offers those that have its last part; nonsense has no offer."""
    with pytest.raises(UnknownModelError, match=r"'me/Skywork-Reward-Gemma'.* Did you mean Skywork/Skywork-Reward-Gem"):
        model_page(bundled, "me/Skywork-Reward-Gemma")
    with pytest.raises(UnknownModelError, match=r"named 'zzzz'\.$"):
        model_page(bundled, "zzzz")
    names = model_names(bundled.boards().values())
    assert len(names) == len(set(names))
    assert "builtin/tiny-rm" in names


def test_without_the_result_the_boards_numbers_stand(tiny: Result) -> None:
    """While a result file has not come, score and rank are there, and settings are not."""
    (entry,) = model_page(Source(tiny, known=False), "builtin/tiny-rm")["results"]
    assert entry["score"]["value"] == pytest.approx(tiny.headline.value if tiny.headline else None, abs=1e-5)
    assert entry["rank"] == 1
    assert "settings" not in entry


def test_a_partial_run_keeps_the_boards_numbers_too(tiny: Result) -> None:
    """A model without a rank has its parts' scores, and no rank in them, while its result has not come."""
    partial = tiny.model_copy(update={"benchmark": tiny.benchmark.model_copy(update={"limit": 9})})
    (entry,) = model_page(Source(partial, known=False), "builtin/tiny-rm")["results"]
    parts = [part for part in entry["parts"] if part["level"] == "section"]
    assert [part["estimate"]["value"] for part in parts] == [round(e.value or 0, 5) for e in tiny.sections.values()]
    assert {part["rank"] for part in parts} == {None}


# ---- commands


def test_the_recorded_command_is_given_with_the_recorded_commits(tiny: Result) -> None:
    """Options stay as typed; output goes to a folder of one's own; model and data come at their commits."""
    typed = (
        "rb evaluate --model a/b --benchmark rewardbench --fold-system --out=x --overwrite --revision main --limit 9"
    )
    result = ran(tiny, typed, name="a/b", revision="a" * 40)
    result = result.model_copy(update={"benchmark": result.benchmark.model_copy(update={"revision": "d" * 40})})
    assert evaluates(result)[3:] == [
        *("evaluate", "--model", "a/b", "--benchmark", "rewardbench", "--fold-system", "--limit", "9"),
        *("--revision", "a" * 40, "--data-revision", "d" * 40, "--out", "mine"),
    ]


def test_a_run_from_python_gets_its_options_from_the_record(tiny: Result) -> None:
    """Where the recorded command is no evaluate, or no line of a shell, the record's fields make one."""
    known = {"name": "a/b", "kind": "implicit", "reference": "a/base", "beta": 0.25, "revision": None}
    for command in ("python my_script.py", "rb evaluate 'unclosed"):
        words = evaluates(ran(tiny, command, **known))
        options = dict(zip(words[4::2], words[5::2], strict=True))
        assert options["--model"] == "a/b"
        assert options["--reference"] == "a/base"
        assert options["--beta"] == "0.25"
        assert options["--kind"] == "implicit"
        assert options["--dtype"] == "float32"
        assert options["--seed"] == "0"


def test_no_path_of_the_machine_of_the_run_is_shown(tiny: Result) -> None:
    """Absolute paths become places for the reader to fill in; names on the hub stay."""
    typed = (
        "rb evaluate --model /home/me/models/mine --benchmark starter --chat-template=/home/me/t.jinja --data a/b.jsonl"
    )
    words = evaluates(ran(tiny, typed))
    assert "PATH/TO/mine" in words
    assert "--chat-template=PATH/TO/t.jinja" in words
    assert "a/b.jsonl" in words
    assert not any("/home/me" in word for word in words)


def test_what_others_wrote_cannot_leave_its_quotes(tiny: Result) -> None:
    """A record that spells out another command is shown as one quoted word."""
    command = commands(ran(tiny, "rb evaluate --model 'a/b; rm -rf ~ #$(x)'"), None)[0][1]
    assert "'a/b; rm -rf ~ #$(x)'" in command


def test_published_results_say_where_they_come_from_and_how_to_import_them() -> None:
    """Results in the public layout are imported at their commit; sources that are files have links; kinds that
    evaluate can load get its command."""
    theirs = f"allenai/reward-bench-2-results@{'e' * 40}: eval-set/a/b.json"
    result = published("a/b", published=Published(source=theirs))
    (entry,) = model_page(Source(result, hub=HUB), "a/b")["results"]
    given = [each["command"] for each in entry["commands"]]
    assert f"python -m rb_core sync pull --repo me/results --revision {HUB.commit} --out pulled" in given
    assert f"import rewardbench-results allenai/reward-bench-2-results --revision {'e' * 40} --out theirs" in given[1]
    assert given[2].endswith("evaluate --model a/b --benchmark starter --out mine")
    (link,) = entry["published"]["links"]
    assert (
        link["url"]
        == f"https://huggingface.co/datasets/allenai/reward-bench-2-results/blob/{'e' * 40}/eval-set/a/b.json"
    )
    generative = published("a/b", model=ModelRef(name="a/b", kind="generative"), headline=Estimate(value=0.5))
    (judged,) = [command for _, command in commands(generative, None) if " evaluate " in command]
    assert "--kind generative --mode pairwise --base-url http://SERVER/v1 --out mine" in judged
    unknown = published("a/b", model=ModelRef(name="a/b", kind="custom-classifier"), headline=Estimate(value=0.5))
    assert not [command for _, command in commands(unknown, None) if " evaluate " in command]


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
    ],
)
def test_the_address_of_a_judges_server_is_not_shown(tiny: Result, typed: str, shown: str) -> None:
    """Its place is for the reader to fill in; all else of the command stays."""
    (command,) = [text for _, text in commands(ran(tiny, f"rb evaluate {typed}"), None) if " evaluate " in text]
    assert shlex.split(command)[4:-2] == shlex.split(shown.format(at=SERVER))


def test_a_judges_command_asks_it_alike_again(tmp_path: Path) -> None:
    """Run with the server's address filled in, the recorded options give the same settings, scores and reliability."""
    from typer.testing import CliRunner

    from rb_core.cli.main import app  # here: the command line is a layer above

    template = tmp_path / "mine.md"
    template.write_text((FOLDER / "pairwise.md").read_text().replace("name: pairwise", "name: mine"))
    with JudgeServer(judge(lambda prompt, text: len(text) / 4000)) as server:
        of_one = JudgeOptions(
            base_url=server.url,
            temperature=0.5,
            max_new_tokens=99,
            structured=True,
            expected=True,
            template=str(template),
        )
        of_panel = JudgeOptions(judges=(f"a/b@{server.url}", f"c/d@{server.url}"), mode="listwise", vote="mean")
        for model, options in (("a/b", of_one), ("", of_panel)):
            first = run_judge(model, "starter", options=ModelOptions(judge=options), limit=12, out=tmp_path / "first")
            words = evaluates(first.result)
            assert server.url not in " ".join(words)
            filled = [
                word.replace(SERVER, server.url).replace("PATH/TO/mine.md", str(template)) for word in words[3:-1]
            ]
            done = CliRunner().invoke(app, [*filled, str(tmp_path / "again")])
            assert done.exit_code == 0, done.output
            again = read_result(tmp_path / "again" / first.result.path())
            assert again.model == first.result.model
            assert (again.subsets, again.judging) == (first.result.subsets, first.result.judging)


def test_a_run_on_the_hub_is_verified_at_the_shown_commit(tiny: Result) -> None:
    """The command names repository and commit; in a folder it is the reader's own."""
    assert commands(tiny, HUB)[1][1] == f"python -m rb_core verify --repo me/results --revision {HUB.commit}"
    assert commands(tiny, None)[1][1] == "python -m rb_core verify mine"


def test_the_bundled_runs_commands_are_commands(tmp_path: Path, bundled: Source) -> None:
    """The first command of a bundled run, run, gives the same headline."""
    from typer.testing import CliRunner

    from rb_core.cli.main import app  # here: the command line is a layer above

    (entry,) = model_page(bundled, "baseline/longest")["results"]
    words = shlex.split(entry["commands"][0]["command"])[3:]
    done = CliRunner().invoke(app, [*words[:-1], str(tmp_path)])
    assert done.exit_code == 0, done.output
    again = read_result(tmp_path / entry["files"][0]["path"])
    assert again.headline
    assert again.headline.value == pytest.approx(entry["headline"]["value"])
