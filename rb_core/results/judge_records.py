"""Records of a result about its judge: settings, cost, and reliability."""

from __future__ import annotations

from pydantic import JsonValue

from rb_core.models.options import Mode, Vote
from rb_core.results.estimate import Estimate, Record


class TemplateRef(Record):
    """A prompt template: name and version of a built-in one or a file, and the file's hash."""

    name: str
    version: int
    sha256: str


class JudgeRef(Record):
    """Settings of a judge.

    templates: by mode; graded completions are rated in every mode. parser: version that parsed the replies. backend:
    "local", "served" or the name of a provider. sampling: how a local judge chose tokens. generation: settings of the
    model's own generation config that change token scores, such as penalties. structured: replies are JSON that follows
    a schema. expected: ratings are expected values. panel, vote: the judges of a panel, and how their scores were
    combined. revisions: of the judges that were loaded locally, as in ModelRef. extra_body: further fields of every
    request. adapted: how requests differed from the settings because a server refused them otherwise.
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
    extra_body: dict[str, JsonValue] = {}
    adapted: tuple[str, ...] = ()


class Agreement(Record):
    """Agreement of the judges of a panel on which of two completions is better, or that they tie.

    items: pairs of completions. fleiss_kappa: over pairs on which every judge has a verdict (Fleiss 1971,
    doi:10.1037/h0031619). krippendorff_alpha: nominal, over pairs with at least two verdicts (Krippendorff 2011,
    Computing Krippendorff's Alpha-Reliability). 1 is full agreement, 0 that of chance, which does not know the labels;
    None if all verdicts are ties. kappa, alpha: the same numbers with 95% intervals over prompts. raw: share of the
    verdicts of two judges on the same pair that agree. Results of earlier versions have none of these three; in their
    fleiss_kappa and krippendorff_alpha chance knows the labels, so judges that are nearly always right get about 0.
    """

    items: int
    fleiss_kappa: float | None
    krippendorff_alpha: float | None
    kappa: Estimate | None = None
    alpha: Estimate | None = None
    raw: Estimate | None = None


class Judging(Record):
    """Cost and reliability of a judge.

    requests: number of different requests. failed: those without a reply, which the same command sends again.
    problems: requests without a verdict, by reason. prompt_tokens,
    completion_tokens: as counted by the server, None if it did not count all. cost: US dollars, if prices were given.
    injections: completions that address the judge, counted each time they are shown. plain_ratings: ratings without the
    log-probabilities that were requested.

    The following are shares with a 95% interval over prompts; `scored` is the total, and the share is None if it is 0.
    position_consistency: pairs judged in both orders (listwise: prompts judged in all rotations) with the same verdict
    in each; flips: number of the others. first_position: verdicts on several completions for the one shown first.
    length_preference: verdicts on two completions of different length for the longer one; length_deserved: those in
    which the longer one is the better by the benchmark's labels, a half where the labels prefer neither.
    self_preference: verdicts between a completion of the judge and one of another author for its own; self_deserved:
    those in which its own is the better.

    agreement, members: only of a panel.
    """

    requests: int
    failed: int = 0
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
    length_deserved: Estimate | None = None
    self_preference: Estimate | None = None
    self_deserved: Estimate | None = None
    agreement: Agreement | None = None
    members: dict[str, Judging] = {}
