"""The account of a served judge."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rb_core.errors import ModelError
from rb_core.results.failures import SERVER_ERROR
from rb_core.scorers.http.replies import Reply
from rb_core.scorers.judge.budget import Budget, BudgetLimits, BudgetSpent, Prices, Reservation, most_tokens
from rb_core.scorers.judge.types import TOO_LONG, Request


def asked(text: str = "", max_tokens: int = 100) -> Request:
    return Request(({"role": "user", "content": text},), max_tokens)


PROMPT = most_tokens(asked()).prompt_tokens


def reserved(budget: Budget, request: Request) -> Reservation:
    reservation = budget.reserve(request)
    assert reservation is not None
    return reservation


@pytest.mark.parametrize("value", [-1, -0.5, math.inf, math.nan])
def test_limits_and_prices_are_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ModelError, match="max-tokens-total"):
        BudgetLimits(max_tokens_total=value)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="max-cost"):
        BudgetLimits(max_cost=value, prices=Prices(1, 1))
    with pytest.raises(ModelError, match="prompt"):
        Prices(value, 1)
    with pytest.raises(ModelError, match="completion"):
        Prices(1, value)


def test_a_cost_needs_prices() -> None:
    with pytest.raises(ModelError, match="--max-cost needs prices"):
        BudgetLimits(max_cost=1.0)


def test_without_limits_everything_fits_and_is_counted() -> None:
    budget = Budget(BudgetLimits(prices=Prices(2.0, 10.0)))
    for _ in range(3):
        budget.settle(reserved(budget, asked("x" * 10_000)), Reply(prompt_tokens=1_000, completion_tokens=50))
    assert (budget.prompt_tokens, budget.completion_tokens) == (3_000, 150)
    assert budget.cost == pytest.approx(3_000 * 2e-6 + 150 * 1e-5)
    assert Budget().cost is None


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_a_reservation_covers_every_byte_and_the_schema(texts: list[str]) -> None:
    request = Request(tuple({"role": "user", "content": text} for text in texts), 7)
    assert most_tokens(request).prompt_tokens >= sum(len(text.encode()) for text in texts) + len(texts)
    assert most_tokens(request).completion_tokens == 7
    assert most_tokens(request._replace(schema={"a": 1})).prompt_tokens > most_tokens(request).prompt_tokens


def test_a_request_waits_for_room_and_then_raises() -> None:
    most = PROMPT + 100
    budget = Budget(BudgetLimits(max_tokens_total=most + 20))
    first = reserved(budget, asked())
    assert budget.reserve(asked()) is None
    budget.settle(first, Reply(prompt_tokens=15, completion_tokens=5))
    second = reserved(budget, asked())
    budget.settle(second, Reply(prompt_tokens=15, completion_tokens=5))
    with pytest.raises(BudgetSpent, match=r"40 of [\d,]+ tokens are spent.* greater --max-tokens-total: answered"):
        budget.reserve(asked())


def test_the_limit_in_dollars_raises() -> None:
    budget = Budget(BudgetLimits(max_cost=0.01, prices=Prices(0.0, 100.0)))
    budget.settle(reserved(budget, asked()), Reply(prompt_tokens=1, completion_tokens=50))
    with pytest.raises(BudgetSpent, match=r"\$0.0050 of \$0.0100 are spent.* may take \$0.0100; .*--max-cost"):
        budget.reserve(asked())


def test_unknown_usage_is_booked_as_reserved_and_refusals_are_free() -> None:
    budget = Budget()
    budget.settle(reserved(budget, asked()), Reply("text"))
    budget.settle(reserved(budget, asked()), None)
    budget.release(reserved(budget, asked()))
    assert (budget.prompt_tokens, budget.completion_tokens) == (2 * PROMPT, 200)


def test_replies_of_an_unfinished_run_are_booked() -> None:
    """Without usage as the most a request could take, if it was answered."""
    budget = Budget(BudgetLimits(max_tokens_total=PROMPT + 100))
    budget.add(Reply(prompt_tokens=1, completion_tokens=2))
    budget.add(Reply(error=TOO_LONG), asked())
    budget.add(Reply(error=SERVER_ERROR), asked())
    budget.add(Reply("text"))
    assert (budget.prompt_tokens, budget.completion_tokens) == (1, 2)
    with pytest.raises(BudgetSpent):
        budget.reserve(asked())
    budget.add(Reply("text"), asked())
    assert (budget.prompt_tokens, budget.completion_tokens) == (1 + PROMPT, 102)


def test_threads_can_share_it() -> None:
    budget = Budget()

    def spend(_: int) -> None:
        budget.settle(reserved(budget, asked()), Reply(prompt_tokens=2, completion_tokens=3))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(spend, range(2_000)))
    assert (budget.prompt_tokens, budget.completion_tokens) == (4_000, 6_000)


class Account(RuleBasedStateMachine):
    """Any order of reserving, settling and releasing, with a server that keeps to the requested length."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = BudgetLimits(max_tokens_total=5_000, max_cost=0.02, prices=Prices(2.0, 8.0))
        self.budget = Budget(self.limits)
        self.flying: list[Reservation] = []

    @rule(length=st.integers(0, 500), most=st.integers(1, 800))
    def reserve(self, length: int, most: int) -> None:
        try:
            got = self.budget.reserve(asked("x" * length, most))
        except BudgetSpent:
            assert not self.flying
            return
        if got is None:
            assert self.flying
        else:
            self.flying.append(got)

    @precondition(lambda self: self.flying)
    @rule(share=st.floats(0, 1), how=st.sampled_from(["counted", "uncounted", "no reply", "free"]), data=st.data())
    def end(self, share: float, how: str, data: st.DataObject) -> None:
        one = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        if how == "free":
            self.budget.release(one)
            return
        used = Reply(prompt_tokens=int(one.prompt_tokens * share), completion_tokens=int(one.completion_tokens * share))
        self.budget.settle(one, {"counted": used, "uncounted": Reply("x"), "no reply": None}[how])

    @invariant()
    def never_passed(self) -> None:
        prompt = self.budget.prompt_tokens + sum(one.prompt_tokens for one in self.flying)
        completion = self.budget.completion_tokens + sum(one.completion_tokens for one in self.flying)
        assert prompt + completion <= 5_000
        assert prompt * 2e-6 + completion * 8e-6 <= 0.02 + 1e-12


TestAccount = Account.TestCase
TestAccount.__doc__ = "Whatever happens in whatever order, neither limit is passed."
