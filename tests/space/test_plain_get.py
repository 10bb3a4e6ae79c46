"""Plain addresses of the data: equal to the files, revalidated by ETag, and nothing but shown results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from rb_core.results.schema import Result
from rb_core.space.html import percent_text, ranks_text
from rb_core.space.plain_get import EXTENSIONS, FILES, badge_svg, file_address
from rb_core.space.results_source import ResultsFolder
from rb_core.stats.rank_intervals import RankInterval, RankIntervalMethod

TINY = "builtin/tiny-rm"


def test_addresses_give_the_files_and_revalidate(url: str, results: ResultsFolder, results_root: Path) -> None:
    with httpx.Client(base_url=url) as http:
        board = http.get("leaderboard.json", params={"benchmark": "starter"})
        assert TINY in [cell for row in board.json()["rows"] for cell in row]
        result = http.get(f"results/starter/{TINY}.json")
        recorded = results.results("starter")[TINY]
        assert Result.model_validate_json(result.text).model_copy(update={"checksum": None}) == recorded
        assert json.loads(result.text)["headline"]["value"] == recorded.headline.value
        scores = http.get(f"scores/starter/{TINY}.parquet")
        assert recorded.scores is not None
        assert hashlib.sha256(scores.content).hexdigest() == recorded.scores.sha256
        badge = http.get(f"badge/starter/{TINY}.svg")
        row = results.boards()["starter"].row(TINY)
        assert row is not None
        assert row.rank_interval is not None
        assert f"{percent_text(row.headline.value)} · rank {ranks_text(row.rank_interval)}<" in badge.text
        for answer in (board, result, scores, badge):
            again = http.get(answer.url, headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
            assert (again.status_code, again.content) == (304, b"")
            assert http.head(answer.url).headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        "leaderboard.json?benchmark=none",
        "leaderboard.json?benchmark=../starter",
        "results/starter/no/one.json",
        "results/starter/broken.json",
        "results/none/builtin/tiny-rm.json",
        "results/starter/..%2f..%2fmodels.json",
        "results/..%2fresults/starter/builtin/tiny-rm.json",
        "scores/rewardbench/openbmb/UltraRM-13b.parquet",
        "scores/starter/%2e%2e%2f%2e%2e%2fitems.parquet",
        "results/starter/builtin/tiny-rm.svg",
        "models.yaml",
    ],
)
def test_there_is_nothing_else(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 404


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_an_address_gives_back_its_names(kind: str) -> None:
    match = FILES.fullmatch("/" + unquote(file_address(kind, "a board", "org/na?me#1.json")))
    assert match is not None
    assert match.group("kind", "board", "model") == (kind, "a board", "org/na?me#1.json")


def test_a_badge_escapes_its_texts(results: ResultsFolder) -> None:
    row = results.boards()["starter"].rows[0]
    assert "<b>" not in badge_svg("<b>", row)


@pytest.mark.parametrize(
    ("best", "worst", "method", "text"),
    [(3, 7, "items", "3–7"), (3, 3, "items", "3"), (3, 7, "intervals", "~3–7"), (3, 3, "intervals", "~3")],
)
def test_a_badge_marks_an_approximate_rank_interval_as_the_leaderboard_does(
    results: ResultsFolder, best: int, worst: int, method: RankIntervalMethod, text: str
) -> None:
    row = replace(results.boards()["starter"].rows[0], rank_interval=RankInterval(best, worst, method))
    assert f"rank {text}<" in badge_svg("b", row)
