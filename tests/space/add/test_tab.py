"""The Add tab: commands for the visitor's model, and what it needs."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from rb_core.space.html import render
from tests.space.conftest import TWO_LOOKS, OpenPage, assert_accessible


def test_commands_and_needs_follow_the_form(open_page: OpenPage) -> None:
    page = open_page("?tab=add")
    commands, needs = page.get_by_label("Commands that add a model"), page.locator(".rb-add-needs")
    expect(commands).to_contain_text("--model ORG/NAME --benchmark rewardbench --out mine")
    # 8e9 parameters of 2 bytes and a fifth more; 2 x 8e9 x 5,970 x 500 operations at 1.5e14 a second.
    expect(needs).to_contain_text("About 19 GB of GPU memory and 5 min for 5,970 completions.")
    page.get_by_label("Model", exact=True).fill("a/b; rm -rf /")
    expect(commands).not_to_contain_text("rm -rf")
    page.get_by_label("Model", exact=True).fill("a/b")
    page.locator("#add").get_by_label("Kind").select_option("implicit")
    expect(commands).to_contain_text("evaluate --model a/b --kind implicit --reference ORG/REFERENCE --benchmark")
    expect(needs).to_contain_text("About 38 GB")
    page.get_by_label("Parameters, billions").fill("")
    expect(needs).to_contain_text("Enter the number of parameters")
    assert_accessible(page, TWO_LOOKS)


@pytest.mark.parametrize("repo", [None, "someone/results"])
def test_the_results_repository_is_named(repo: str | None) -> None:
    fields = {"kinds": (), "benchmarks": [("starter", "Starter", 945)], "tokens": 500, "speed": 150}
    html = render("add/add.html", **fields, repo=repo)
    assert ("RB_RESULTS_REPO is not set" in html) == (repo is None)
    assert repo is None or repo in html
