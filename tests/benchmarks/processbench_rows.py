"""Fourteen solutions of our own in the layout of ProcessBench, with step scores made by hand."""

from __future__ import annotations

from typing import Any, NamedTuple


class Solution(NamedTuple):
    """A solution with the index of its first wrong step, -1 for none, and the score of each step as log-odds."""

    split: str
    problem: str
    steps: tuple[str, ...]
    label: int
    scores: tuple[float, ...]

    def row(self, number: int) -> dict[str, Any]:
        """Return the solution as a row of the data set."""
        return {
            "id": f"{self.split}-{number}",
            "generator": "by hand",
            "problem": self.problem,
            "steps": list(self.steps),
            "final_answer_correct": self.label == -1,
            "label": self.label,
            "split": self.split,
        }


_EGGS = "A box holds 6 eggs. How many eggs are in 4 boxes, if 3 eggs are broken and thrown away?"
_TRAIN = "A train goes 60 km an hour. How far does it go in 90 minutes?"
_SUM = "What is the sum of the numbers from 1 to 10?"
_SQUARE = "Solve x^2 = 9."

SOLUTIONS = (
    # Found: the first score below 0 is at the first wrong step.
    Solution("gsm8k", _EGGS, ("4 boxes hold 6 + 4 = 10 eggs.", "10 - 3 = 7 eggs are left."), 0, (-1.5, -2.0)),
    Solution("gsm8k", _EGGS, ("4 boxes hold 24 eggs.", "24 - 3 = 20.", "So 20 are left."), 1, (2.0, -0.5, 1.0)),
    # Missed: no score is below 0; a right step is below 0; a later step is below 0.
    Solution("gsm8k", _TRAIN, ("90 minutes are 1.5 hours.", "60 * 1.5 = 80 km."), 1, (3.0, 0.25)),
    Solution("gsm8k", _TRAIN, ("An hour has 60 minutes.", "60 + 90 = 150 km."), 1, (-0.25, -4.0)),
    Solution("gsm8k", _SUM, ("The numbers are 1 to 10.", "Their mean is 5.", "10 * 5 = 50."), 1, (1.0, 0.5, -1.0)),
    # Correct solutions: passed, passed with a step at the threshold, and one that is taken for wrong.
    Solution("gsm8k", _EGGS, ("4 boxes hold 24 eggs.", "24 - 3 = 21 are left."), -1, (2.0, 0.75)),
    Solution("gsm8k", _TRAIN, ("60 * 1.5 = 90 km.",), -1, (0.0,)),
    Solution("gsm8k", _SUM, ("The mean is 5.5.", "10 * 5.5 = 55."), -1, (1.0, -0.125)),
    Solution("math", _SQUARE, ("x = 3 or x = -3.", "So x = 3 alone."), 1, (1.0, -1.0)),
    Solution("math", _SQUARE, ("x = 9 / 2.", "So x = 4.5."), 0, (0.5, -0.5)),
    Solution("math", _SUM, ("n (n + 1) / 2 = 45 for n = 10.", "So the sum is 45."), 0, (-0.5, 2.0)),
    Solution("math", _SUM, ("n (n + 1) / 2 = 55 for n = 10.", "So the sum is 55."), -1, (4.0, 4.0)),
    Solution("math", _SQUARE, ("x^2 - 9 = 0.", "(x - 3) (x + 3) = 0.", "x = 3 or x = -3."), -1, (0.5, 0.5, 3.0)),
    Solution("math", _SQUARE, ("x = -3 or x = 3.",), -1, (-2.0,)),
)
# By hand: right of all, in gsm8k 2 of 5 wrong and 2 of 3 correct ones, in math 2 of 3 and 2 of 3.
ACCURACIES = {"gsm8k-error": 2 / 5, "gsm8k-correct": 2 / 3, "math-error": 2 / 3, "math-correct": 2 / 3}
F1 = {"GSM8K": 2 * (2 / 5) * (2 / 3) / (2 / 5 + 2 / 3), "MATH": 2 / 3}  # 1/2 and 2/3
