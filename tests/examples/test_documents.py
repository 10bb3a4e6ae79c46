"""Run the examples of every document and compare what they print.

Blocks marked `sh` and `python` are run, those of one document in one folder and in order. A `text` block after one is
its output, in which `...` stands for any text. Blocks marked `bash` need the hub, a GPU, a server or an installation,
and are not run; `sync` is run against a local hub.
"""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

import rb_core
from tests.cli.command_line import rb
from tests.fakes.commands import run_command
from tests.fakes.hub_server import Server, serve
from tests.paths import BUNDLED, ROOT
from tests.test_layers import layers_as_text

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "rb_core").rglob("README.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOKEN = "hf_" + "e" * 34
Blocks = list[tuple[str, str]]


def blocks_of(document: Path) -> Blocks:
    return FENCE.findall(document.read_text(encoding="utf-8"))


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if any(kind in ("sh", "python") for kind, _ in blocks_of(d))], ids=name_of
)
def test_examples_print_what_the_document_shows(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(BUNDLED, tmp_path / "leaderboard_data", ignore=shutil.ignore_patterns("rewardbench*"))
    monkeypatch.chdir(tmp_path)
    with serve(tokens={TOKEN: "write"}) as hub:
        for (language, code), (next_language, output) in pairwise([*blocks_of(document), ("", "")]):
            if language == "python":
                exec(compile(code, str(document), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own document
            elif language == "sh":
                run_lines(code, hub, monkeypatch)
            printed = capsys.readouterr().out
            if next_language == "text":
                compare_output(output, printed)


def run_lines(code: str, hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each line, a command of this package: one that talks to the hub in a process whose hub is a local one."""
    for line in code.strip().splitlines():
        program, arguments = shlex.split(line)[:3], shlex.split(line)[3:]
        assert program == ["python", "-m", "rb_core"], line
        if "--repo" in arguments:
            done = run_command(arguments, hub.environment(Path("home"), TOKEN), cwd=Path.cwd())
            assert done.returncode == 0, done.stderr
            print(done.stdout)
        else:
            assert rb(arguments, monkeypatch, width=80) == 0, line


def compare_output(expected: str, printed: str) -> None:
    checker, options = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    difference = checker.output_difference(doctest.Example("", expected), printed, options)
    assert checker.check_output(expected, printed, options), difference


def test_documents_link_to_files_that_exist() -> None:
    broken = [
        f"{name_of(document)}: {target}"
        for document in [*DOCUMENTS, ROOT / "CHANGELOG.md"]
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_the_contributing_guide_shows_the_layers_that_are_checked() -> None:
    assert f"```\n{layers_as_text()}```" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_exported_names_exist() -> None:
    assert [name for name in rb_core.__all__ if not hasattr(rb_core, name)] == []
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = rb_core.no_such_name
