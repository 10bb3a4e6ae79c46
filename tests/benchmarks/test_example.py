"""Examples, and the shuffled completion sets that scorers see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rb_core.benchmarks.example import Example, Message, blind, completion_order, prompt_digest
from rb_core.errors import DataError

PROMPT = (Message(role="user", content="Q"),)


@settings(max_examples=40)
@given(st.integers(2, 8), st.integers(0, 50), st.text(min_size=1, max_size=5))
def test_blinding_is_a_permutation_fixed_by_seed_and_id(size: int, seed: int, example_id: str) -> None:
    completions = tuple(map(str, range(size)))
    example = Example(example_id, "s", PROMPT, completions)
    completion_set, order = blind(example, seed)
    assert sorted(order) == list(range(size))
    assert completion_set.completions == tuple(completions[i] for i in order)
    same_id = Example(example_id, "t", (*PROMPT, *PROMPT), tuple(reversed(completions)), num_chosen=size - 1)
    assert completion_order(same_id, seed) == order


def test_the_chosen_completion_comes_first_half_of_the_time() -> None:
    first = sum(completion_order(Example(str(i), "s", PROMPT, ("a", "b")), 0)[0] == 0 for i in range(2000))
    assert 900 < first < 1100


@pytest.mark.parametrize(("completions", "num_chosen"), [(("a",), 1), (("a", "b"), 0), (("a", "b"), 2), ((), 0)])
def test_an_example_needs_a_chosen_and_a_rejected_completion(completions: tuple[str, ...], num_chosen: int) -> None:
    with pytest.raises(DataError, match="example 'x'"):
        Example("x", "s", PROMPT, completions, num_chosen)


def test_the_group_defaults_to_a_digest_of_the_prompt() -> None:
    """Roles and the boundaries of turns count."""
    first, second = Example("1", "s", PROMPT, ("a", "b")), Example("2", "s", PROMPT, ("c", "d"))
    assert first.group == second.group == prompt_digest(PROMPT)
    split = (Message(role="user", content="Q"), Message(role="assistant", content=""))
    assert prompt_digest(split) != prompt_digest(PROMPT)
