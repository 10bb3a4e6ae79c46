"""What a result says of a judge: how it was asked, what that cost, and how far it can be relied on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rb_core.models.options import Mode, Vote
from rb_core.results.estimate import Estimate


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class TemplateRef(_Record):
    """Which template: the built-in one of that name and version, or a file; its hash."""

    name: str
    version: int
    sha256: str


class JudgeRef(_Record):
    """How a judge was asked.

    templates: by mode, candidates that need grades being rated in every mode; parser: the version that read the
    replies; backend: "local", "served" or a provider; sampling: how a local one chose tokens; generation: what the
    model's own generation config does to that, penalties and the like; structured: JSON by a schema; expected: ratings
    are expected values; panel, vote: the judges of a panel, and how they became one; revisions: of those that were
    loaded here, as results.ModelRef has it of a model.
    """

    mode: Mode
    templates: dict[Mode, TemplateRef]
    parser: int
    backend: str
    temperature: float
    max_new_tokens: int
    seed: int
    sampling: str | None = None
    generation: dict[str, str] = {}
    structured: bool = False
    expected: bool = False
    panel: tuple[str, ...] = ()
    revisions: dict[str, str] = {}
    vote: Vote | None = None


class Agreement(_Record):
    """How far the judges of a panel agree on which of two completions is better, or that neither is.

    items: pairs of completions; fleiss_kappa: over the pairs on which every judge has a verdict (Fleiss 1971,
    doi:10.1037/h0031619); krippendorff_alpha: nominal, over all with at least two (Krippendorff 2011, Computing
    Krippendorff's Alpha-Reliability). 1 is full agreement, 0 what chance gives; None where everything is one category.
    """

    items: int
    fleiss_kappa: float | None
    krippendorff_alpha: float | None


class Judging(_Record):
    """What the judging cost and how reliable it was.

    requests: what was asked, equal requests once; problems: requests without a usable answer, by reason;
    prompt_tokens, completion_tokens: as the server counts them, None where it did not for all; cost: US dollars, where
    prices were given; injections: completions, counted each time they are shown, that try to speak to the judge;
    plain_ratings: ratings without the probabilities that were asked for.

    Shares, with Wilson's 95% interval, `scored` of what they are shares, None where there is nothing to count:
    position_consistency: of the pairs judged in both orders (listwise: prompts in all rotations) those with the same
    verdict; flips: how many were not; first_position: of the verdicts on several completions those for the one shown
    first; length_preference: of the verdicts on two of different length those for the longer one; self_preference: of
    the verdicts between a completion of the judge's own and another's those for its own, self_deserved: those whose own
    one was the better by the benchmark's labels.

    agreement, members: of a panel.
    """

    requests: int
    problems: dict[str, int] = {}
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    injections: int = 0
    plain_ratings: int = 0
    position_consistency: Estimate | None = None
    flips: int | None = None
    first_position: Estimate | None = None
    length_preference: Estimate | None = None
    self_preference: Estimate | None = None
    self_deserved: Estimate | None = None
    agreement: Agreement | None = None
    members: dict[str, Judging] = {}
