"""Run the examples of every document and compare what they print.

Blocks marked `sh` and `python` are run from an empty folder; a `text` block after one is its output, in which `...`
stands for any text. Blocks marked `bash` need the hub, a GPU, a server or an installation, and are not run.
"""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.command_line import rb
from tests.paths import BUNDLED, ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "rb_core").rglob("README.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A block that is run, with the output that the document shows for it."""

    document: Path
    language: str
    code: str
    output: str

    def __str__(self) -> str:
        name = self.document.relative_to(ROOT).as_posix()
        return f"{name}: {self.code.strip().splitlines()[-1]}"


def examples() -> Iterator[Example]:
    for document in DOCUMENTS:
        blocks = FENCE.findall(document.read_text(encoding="utf-8"))
        for (language, code), (next_language, output) in pairwise([*blocks, ("", "")]):
            if language in ("sh", "python"):
                yield Example(document, language, code, output if next_language == "text" else "")


@pytest.mark.parametrize("example", examples(), ids=str)
def test_an_example_runs_and_prints_what_the_document_shows(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(BUNDLED, tmp_path / "leaderboard_data", ignore=shutil.ignore_patterns("rewardbench*"))
    monkeypatch.chdir(tmp_path)
    if example.language == "python":
        monkeypatch.syspath_prepend(str(ROOT))
        exec(compile(example.code, str(example.document), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own code
    else:
        run_commands(example.code, monkeypatch)
    printed = capsys.readouterr().out
    assert printed.strip()
    if example.output:
        checker, options = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        difference = checker.output_difference(doctest.Example("", example.output), printed, options)
        assert checker.check_output(example.output, printed, options), difference


def run_commands(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each line, a command of this package, in this process."""
    for line in code.strip().splitlines():
        python, *arguments = shlex.split(line)
        assert [python, *arguments[:2]] == ["python", "-m", "rb_core"], line
        assert rb(arguments[2:], monkeypatch, width=80) == 0, line


def test_documents_link_to_files_that_exist() -> None:
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in [*DOCUMENTS, ROOT / "CHANGELOG.md"]
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_the_layers_of_the_contributing_guide_are_those_that_are_checked() -> None:
    from tests.test_layers import layers_as_text

    assert f"```\n{layers_as_text()}```" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_exported_name_is_there() -> None:
    import rb_core

    assert [name for name in rb_core.__all__ if not hasattr(rb_core, name)] == []
