"""Requirements of a clone that is deployed as a Space."""

from __future__ import annotations

import re
import subprocess
from pathlib import PurePath

import pytest

from tests.paths import ROOT


def git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("this copy of the files is not a git repository")
    return run.stdout


def test_every_binary_file_keeps_its_bytes_and_is_named_for_the_hub() -> None:
    """The hub's git server takes binary files through LFS alone; the page's README has the command for it."""
    lines = [line.split("\t") for line in git("ls-files", "--eol").splitlines()]
    binary = {name for state, name in lines if state.startswith("i/-text")}
    assert {PurePath(name).suffix for name in binary} >= {".parquet", ".safetensors", ".png"}
    text_attribute, filter_attribute = (git("check-attr", name, *sorted(binary)) for name in ("text", "filter"))
    assert text_attribute.count("text: unset") == len(binary)
    assert filter_attribute.count("filter: unspecified") == len(binary)
    readme = (ROOT / "rb_core/space/README.md").read_text(encoding="utf-8")
    patterns = re.findall(r'--include="([^"]*)"', readme)[0].split(",")
    assert {f"*{PurePath(name).suffix}" for name in binary} == set(patterns)
