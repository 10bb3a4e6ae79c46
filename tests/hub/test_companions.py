"""The registry, corrections and reports of a results root travel with its results."""

from __future__ import annotations

from pathlib import Path

import pytest

from rb_core.audits.corrections import CORRECTIONS_FILE
from rb_core.audits.report import report_path, write_report
from rb_core.errors import RewardBenchError
from rb_core.hub.pull import pull
from rb_core.hub.push import push
from rb_core.hub.repository import ResultsRepo
from rb_core.leaderboard.derived_files import LEADERBOARD, read_leaderboard
from rb_core.leaderboard.model_registry import REGISTRY_FILE
from rb_core.leaderboard.verify import verify
from tests.audits.reports import small_report
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import KEY, REPO, assert_whole, content, published, write_set

CORRECTION = '{"benchmark": "rewardbench", "item": "1", "verdict": "wrong", "reason": "read", "who": "me"}\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_set(tmp_path / "mine", published("a/one", 0.9), published("b/two", 0.8))
    (root / REGISTRY_FILE).write_text("- {name: org/one, aliases: [a/one], organisation: Makers}\n", encoding="utf-8")
    (root / CORRECTIONS_FILE).write_text(CORRECTION, encoding="utf-8")
    write_report(root, small_report())
    return root


def test_companions_come_back_byte_for_byte_and_the_boards_use_the_registry(
    server: Server, repo: ResultsRepo, root: Path, tmp_path: Path
) -> None:
    push(REPO, root, create=True, repo=repo)
    files = server.repo(KEY).files()
    assert_whole(files)
    boards, _ = read_leaderboard(files[LEADERBOARD])
    assert [(row.model, row.organisation) for row in boards["rewardbench"].rows] == [
        ("org/one", "Makers"),
        ("b/two", "b"),
    ]
    pull(REPO, tmp_path / "theirs", repo=repo)
    pulled = content(tmp_path / "theirs")
    assert {path: pulled[path] for path in content(root)} == content(root)
    differences = verify(tmp_path / "theirs", whole=True).differences
    assert [each for each in differences if not each.path.startswith("results/")] == []  # derived files and registry
    assert push(REPO, root, repo=repo).url is None


def test_a_differing_companion_is_kept_unless_asked(
    server: Server, repo: ResultsRepo, root: Path, tmp_path: Path
) -> None:
    push(REPO, root, create=True, repo=repo)
    (root / REGISTRY_FILE).write_text("- {name: a/one, organisation: Others}\n", encoding="utf-8")
    assert push(REPO, root, repo=repo).plan.kept.keys() == {REGISTRY_FILE}
    theirs = server.repo(KEY).files()[REGISTRY_FILE]
    assert pull(REPO, root, repo=repo).kept.keys() == {REGISTRY_FILE}
    assert (root / REGISTRY_FILE).read_bytes() != theirs
    push(REPO, root, overwrite=True, repo=repo)
    files = server.repo(KEY).files()
    assert files[REGISTRY_FILE] == (root / REGISTRY_FILE).read_bytes()
    assert_whole(files)
    (root / REGISTRY_FILE).write_text("[]\n", encoding="utf-8")
    pull(REPO, root, overwrite=True, repo=repo)
    assert (root / REGISTRY_FILE).read_bytes() == files[REGISTRY_FILE]


@pytest.mark.parametrize("path", [REGISTRY_FILE, CORRECTIONS_FILE, report_path("small").as_posix()])
def test_an_invalid_companion_is_refused_by_name_in_both_directions(
    server: Server, repo: ResultsRepo, root: Path, tmp_path: Path, path: str
) -> None:
    push(REPO, root, create=True, repo=repo)
    server.commit(KEY, {path: b"not what it says"})
    done = pull(REPO, tmp_path / "theirs", repo=repo)
    assert [path in message for message in done.refused] == [True]
    assert not (tmp_path / "theirs" / path).exists()
    assert (tmp_path / "theirs" / "results").is_dir()
    (root / path).write_bytes(b"not what it says")
    with pytest.raises(RewardBenchError, match=path.rpartition("/")[2].replace(".", r"\.")):
        push(REPO, root, repo=repo)
