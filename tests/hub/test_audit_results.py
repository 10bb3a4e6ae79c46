"""Results of audits of models travel with their score tables, and follow from them at their destination."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rb_core.audits.registry import AUDITS
from rb_core.audits.run import audit_scorer
from rb_core.audits.self_test import run_self_test
from rb_core.audits.verify import verify_audits
from rb_core.hub.pull import pull
from rb_core.hub.push import push
from rb_core.hub.repository import ResultsRepo
from rb_core.scorers.function import FunctionScorer
from tests.audits.designs import DESIGNS
from tests.fakes.hub_server import Server
from tests.fakes.result_sets import KEY, REPO, content


def test_results_of_every_audit_come_back_byte_for_byte_without_a_difference(
    server: Server, repo: ResultsRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rb_core.audits.self_test.run_self_test", partial(run_self_test, runs=2))
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    scorer = FunctionScorer(lambda prompt, completion: len(completion) % 11)
    kinds = set()
    for design in DESIGNS.values():
        audit = design(tmp_path)
        audit_scorer(scorer, "me/rule", audit, out=mine)
        kinds.add(audit.kind)
    assert kinds == AUDITS.keys()
    push(REPO, mine, create=True, repo=repo)
    pull(REPO, theirs, repo=repo)
    files, pulled = content(mine), content(theirs)
    assert len(files) == 2 * len(DESIGNS)
    assert {path: pulled[path] for path in files} == files
    check = verify_audits(theirs)
    assert (check.results, check.mismatches) == (len(DESIGNS), ())
    assert push(REPO, theirs, repo=repo).url is None
    assert files.keys() <= server.repo(KEY).files().keys()
