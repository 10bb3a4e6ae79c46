"""Examples, and what is left of them when the labels are gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb_core.benchmarks.example import Example, Message, blind, completion_order, prompt_digest
from rb_core.errors import DataError

ASK = (Message(role="user", content="Q"),)


@given(st.integers(2, 8), st.integers(0, 50), st.text(min_size=1, max_size=5))
def test_blinding_is_a_permutation_fixed_by_seed_and_id(size: int, seed: int, identity: str) -> None:
    """Candidates hold the same completions in an order that depends on seed and id alone."""
    completions = tuple(map(str, range(size)))
    example = Example(identity, "s", ASK, completions)
    candidates, order = blind(example, seed)
    assert sorted(order) == list(range(size))
    assert candidates.completions == tuple(completions[i] for i in order)
    other = Example(identity, "t", (*ASK, *ASK), tuple(reversed(completions)), num_chosen=size - 1)
    assert completion_order(other, seed) == order


def test_the_chosen_completion_comes_first_half_of_the_time() -> None:
    """Over many ids the place of the chosen completion says nothing about it."""
    first = sum(completion_order(Example(str(i), "s", ASK, ("a", "b")), 0)[0] == 0 for i in range(2000))
    assert 900 < first < 1100


@pytest.mark.parametrize(("completions", "num_chosen"), [(("a",), 1), (("a", "b"), 0), (("a", "b"), 2), ((), 0)])
def test_an_example_needs_a_chosen_and_a_rejected_completion(completions: tuple[str, ...], num_chosen: int) -> None:
    """Anything else is an error that names the example."""
    with pytest.raises(DataError, match="example 'x'"):
        Example("x", "s", ASK, completions, num_chosen)


def test_the_group_defaults_to_the_prompt() -> None:
    """Examples about the same prompt share a group; roles and boundaries of turns count."""
    one, two = Example("1", "s", ASK, ("a", "b")), Example("2", "s", ASK, ("c", "d"))
    assert one.group == two.group == prompt_digest(ASK)
    split = (Message(role="user", content="Q"), Message(role="assistant", content=""))
    assert prompt_digest(split) != prompt_digest(ASK)
