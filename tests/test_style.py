"""Limits on what makes code hard to read; `python -m tests.style` names each finding."""

from __future__ import annotations

from tests import style


def test_a_name_has_one_meaning() -> None:
    assert style.names_with_two_meanings() == {}


def test_modules_share_neither_private_names_nor_import_cycles() -> None:
    assert style.private_imports() == []
    assert style.import_cycles() == []


def test_functions_are_short() -> None:
    assert style.long_functions() == []


def test_docstrings_open_with_a_verb_or_a_noun_phrase() -> None:
    assert len(style.oblique_docstrings()) < 0.02 * len(list(style.docstrings()))


def test_the_readme_is_short() -> None:
    assert style.readme_words() < 1600
