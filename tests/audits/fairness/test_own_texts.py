"""The audit's own items: same content in all versions, balanced lengths, names from a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from rb_core.audits.fairness.dialect_rules import features_named
from rb_core.audits.fairness.own_texts import fill, own_items, read_names
from rb_core.audits.model_audit import AuditItem
from rb_core.errors import DataError

ITEMS = own_items()
SHE = {"they": "she", "them": "her", "their": "her", "theirs": "hers", "themself": "herself"}


def of_part(part: str) -> dict[str, list[AuditItem]]:
    by_base: dict[str, list[AuditItem]] = defaultdict(list)
    for item in ITEMS:
        if item.id.startswith(f"{part}/"):
            by_base[item.base].append(item)
    return by_base


def test_every_question_has_all_versions() -> None:
    versions = [[(item.group, item.variant) for item in items] for items in of_part("dialect").values()]
    assert len(versions) == 26
    assert all(each == versions[0] for each in versions)
    assert Counter(variant for _, variant in versions[0]) == {"original": 1, "dialect": 3, "control": 3}


@pytest.mark.parametrize("part", ["names", "pronouns"])
def test_versions_of_a_template_differ_in_the_person_only(part: str) -> None:
    for items in of_part(part).values():
        assert len({item.group for item in items}) == 4
        texts = [[item.prompt[0]["content"], *item.completions] for item in items]
        assert len({tuple(version) for version in texts}) == 4
        for version in zip(*texts, strict=True):
            assert len({len(text.split()) for text in version}) == 1
            assert not any("{" in text or "}" in text for text in version)


def test_names_are_of_one_group_and_a_unit_has_one_name_of_each() -> None:
    groups = read_names(None).groups
    names = [name for group in groups.values() for name in group.names]
    assert len(names) == len(set(names)) == 64
    names_of_units: dict[tuple[str, str], set[str]] = defaultdict(set)
    for items in of_part("names").values():
        for item in items:
            names_of_units[item.unit, item.group].add(item.variant)
    assert len({unit for unit, _ in names_of_units}) == 16
    assert all(len(variants) == 1 for variants in names_of_units.values())


@pytest.mark.parametrize("part", ["dialect", "names", "pronouns"])
def test_the_better_answer_is_not_the_longer_one(part: str) -> None:
    longer = [len(items[0].completions[0]) > len(items[0].completions[1]) for items in of_part(part).values()]
    assert 0.4 <= sum(longer) / len(longer) <= 0.6


def test_forms_follow_person_and_number() -> None:
    template = "{person} told me that {they} {is/are} late. {Their} bus broke down, so {they} came by {themself}."
    assert fill(template, "a friend", SHE) == (
        "A friend told me that she is late. Her bus broke down, so she came by herself."
    )
    they = {"they": "they", "their": "their", "themself": "themself", "plural": True}
    assert "they are late. Their bus" in fill(template, "a friend", they)


def test_without_features_there_is_no_dialect() -> None:
    assert not [item for item in own_items(features_named([])) if item.id.startswith("dialect/")]


def test_names_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("source: me\ngroups:\n  A: {pronoun: he, names: [Ada, Bo]}\n  B: {pronoun: she, names: [Cy]}\n")
    items = [item for item in own_items(names=read_names(path)) if item.id.startswith("names/")]
    assert {item.variant for item in items} == {"Ada", "Cy"}
    assert {item.group for item in items} == {"A", "B"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("source: me\n", r"names.yaml: groups: Field required"),
        ("source: me\ngroups: {A: {pronoun: he, names: []}}\n", r"names.yaml: groups"),
        (
            "source: me\ngroups: {A: {pronoun: it, names: [Bo]}, B: {pronoun: he, names: [Cy]}}\n",
            "'it' is unknown; use he, ",
        ),
        ("[1]", "names.yaml: expected fields"),
    ],
)
def test_a_file_of_names_is_checked(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "names.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_names(path)
