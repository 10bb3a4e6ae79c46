"""Everything that can go wrong through no fault of the code.

    RewardBenchError            a mistake the user can mend; the command line prints it as one line, exit code 2
      DataError                 a benchmark file or row that does not say what it must
      ModelError                a model that cannot be loaded, or whose score would not be its own
      ScoreTableError           a score file or journal that is damaged or belongs to another run
      ResultError               a result file that does not fit the schema, or would be overwritten

Messages say what was wrong, where, and what to do. Anything else that is raised is a bug.
"""

from __future__ import annotations


class RewardBenchError(Exception):
    """A mistake the user can mend."""


class DataError(RewardBenchError):
    """A benchmark file or row that does not say what it must."""


class ModelError(RewardBenchError):
    """A model that cannot be loaded, or whose score would not be its own."""


class ScoreTableError(RewardBenchError):
    """A score file or journal that is damaged or belongs to another run."""


class ResultError(RewardBenchError):
    """A result file that does not fit the schema, or would be overwritten."""
