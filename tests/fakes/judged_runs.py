"""Results of judges whose verdicts are known in advance, made with the scripted server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rb_core.evaluation import evaluate
from rb_core.models.options import JudgeOptions, ModelOptions
from tests.fakes.judge_server import Fault, JudgeServer, Scripted
from tests.fakes.judges import always_first, judge, read

BENCHMARK = "custom-authored-e909e9b9"


JUDGE, RATER, PANEL = "test/judge", "test/rater", "panel/one+two+three"


def answer(body: Any) -> Scripted | Fault:
    """Right for most questions; the first position for every fourth one, and no verdict for one."""
    prompt, _ = read(body)
    number = int(prompt.removeprefix("Question ").removesuffix("?"))
    if number == 7:
        return Scripted("It depends.")
    return always_first(body) if number % 4 == 0 else judge(lambda prompt, text: float(text.startswith("Right")))(body)


def judged_runs(root: Path) -> None:
    """Write runs of a judge, of a judge by expected ratings and of a panel below `root`. The judge wrote
    one of each pair."""
    rows = []
    for i in range(20):
        authors = {"chosen_model": "judge", "rejected_model": "other"}
        if i % 5 == 0:
            authors = {"chosen_model": "other", "rejected_model": "judge"}
        texts = {"prompt": f"Question {i}?", "chosen": f"Right answer {i} at length", "rejected": f"Wrong answer {i}"}
        rows.append(texts | authors)
    root.mkdir(parents=True, exist_ok=True)
    file = root / "authored.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with JudgeServer(answer) as server:
        at = server.url
        asked = {
            JUDGE: JudgeOptions(
                base_url=at, price_prompt=1.0, price_completion=2.0, temperature=0.5, max_new_tokens=300
            ),
            RATER: JudgeOptions(base_url=at, mode="ratings", expected=True),
            "": JudgeOptions(judges=tuple(f"org/{name}@{at}" for name in ("one", "two", "three")), vote="mean"),
        }
        for model, options in asked.items():
            evaluate.evaluate(model, str(file), options=ModelOptions(judge=options), out=root)
