"""Result files in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.errors import ResultError
from rb_core.results.estimate import Estimate
from rb_core.results.storage import check_model_name, read_result, read_results, write_result
from tests.fakes.results import published


def test_writing_replaces_only_on_request(tmp_path: Path) -> None:
    """A second write needs overwrite; no temporary file is left."""
    write_result(tmp_path, published())
    with pytest.raises(ResultError, match="--overwrite"):
        write_result(tmp_path, published())
    path = write_result(tmp_path, published(headline=Estimate(value=0.6)), overwrite=True)
    assert [p.name for p in path.parent.iterdir()] == ["model.json"]
    assert read_result(path) == published(headline=Estimate(value=0.6))


def test_reading_a_folder_keeps_the_good_and_names_the_bad(tmp_path: Path) -> None:
    """One bad file does not take the others with it; one in the wrong place is bad."""
    good = write_result(tmp_path, published("org/good"))
    (good.parent / "bad.json").write_text("{", encoding="utf-8")
    (good.parent / "moved.json").write_bytes(good.read_bytes())
    results, refused = read_results(tmp_path)
    assert [r.model.name for r in results] == ["org/good"]
    assert [message.partition(":")[0] for message in refused] == [
        str(good.parent / n) for n in ("bad.json", "moved.json")
    ]
    assert "its content belongs at results/starter/org/good.json" in refused[1]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"none\.json: no such result file"):
        read_result(tmp_path / "none.json")
    with pytest.raises(ResultError, match="cannot be read"):
        read_result(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b/c", "a b", "../x", "/x", "x/", "a" * 201, "ä/b", ".hidden", "-flag"])
def test_unsafe_model_names_are_refused(name: str) -> None:
    with pytest.raises(ResultError, match="--name"):
        check_model_name(name)
