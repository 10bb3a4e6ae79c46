"""What `rb_core.leaderboard.comparison` found, as HTML. Every text of the data goes through `escape`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from rb_core.leaderboard.comparison import p_words, points
from rb_core.space.compare.charts import (
    accuracy_svg,
    agreement_svg,
    calibration_svg,
    difference_svg,
    hatching,
    margins_svg,
)

Found = Mapping[str, Any]


MISSING = '<span class="rb-missing" aria-hidden="true">–</span><span class="rb-hidden">not known</span>'


SHOWN, NOT_SHOWN = "difference shown", "no difference shown"


def comparison_html(found: Found) -> str:
    """The whole outcome of a comparison: verdicts, scores side by side, disagreements, and views of the scores."""
    names = short_names([model["name"] for model in found["models"]])
    return (
        f'<div class="rb-cmp-found">{hatching()}{_verdicts(found)}{_side_by_side(found, names)}'
        f"{_disagreements(found, names)}{_scores(found, names)}</div>"
    )


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names without their organisation, where that leaves them apart."""
    last = Counter(name.rpartition("/")[2] for name in names)
    return {name: short if last[short := name.rpartition("/")[2]] == 1 else name for name in names}


# Verdicts, and scores side by side


def _verdicts(found: Found) -> str:
    cards = "".join(
        f'<li class="{"rb-cmp-won" if pair["better"] else "rb-cmp-open"}"><p>{escape(pair["verdict"])}</p>'
        f"<small>{escape(pair['basis_words'])}</small></li>"
        for pair in found["pairs"]
    )
    return f'<h3>Verdict</h3><ul class="rb-cmp-verdicts">{cards}</ul>'


def _side_by_side(found: Found, names: Mapping[str, str]) -> str:
    """One row for the score, each section and each subset; a column for each model and for each pair's difference."""
    first, others = found["models"][0]["name"], [pair["b"] for pair in found["pairs"]]
    heads = "".join(f'<th scope="col" class="rb-num">{_link(m["name"], found, names)}</th>' for m in found["models"])
    heads += "".join(
        f'<th scope="col" class="rb-cmp-diff">{escape(names[first])} − {escape(names[other])}</th>' for other in others
    )
    width = 1 + len(found["models"]) + len(found["pairs"])
    bodies = []
    for title, rows in _blocks(found):
        head = _block(title, width) if title else ""
        reach = _reach(rows)
        bodies.append(f"<tbody>{head}{''.join(_scores_row(row, reach) for row in rows)}</tbody>")
    caption = (
        f"{escape(found['title'])}: scores in percent, differences in points with their 95% intervals and p values. "
        "A filled dot is a difference that is shown at the 5% level."
    )
    note = "".join(f"<p>{escape(note)}</p>" for note in found["notes"])
    table = _table("Scores and differences", caption, f'<tr><th scope="col">Part</th>{heads}</tr>', "".join(bodies))
    return f'<h3>Side by side</h3>{table}<div class="rb-cmp-notes">{note}</div>'


def _blocks(found: Found) -> list[tuple[str, list[Found]]]:
    """The rows under their headings: score and sections first, then the subsets of each section."""
    rows = found["rows"]
    blocks = [("", [row for row in rows if row["level"] != "subset"])]
    sections = dict.fromkeys(row["section"] for row in rows if row["level"] == "subset")
    for section in sections:
        inside = [row for row in rows if row["level"] == "subset" and row["section"] == section]
        blocks.append((f"Subsets of {section}" if section else "Subsets in no section", inside))
    return [(title, inside) for title, inside in blocks if inside]


def _reach(rows: Sequence[Found]) -> float:
    """Half the axis that all differences of some rows fit on."""
    ends = [
        abs(end)
        for row in rows
        for pair in row["pairs"]
        for end in (pair["difference"][key] for key in ("value", "low", "high"))
        if end is not None
    ]
    return max(ends, default=0.0)


def _scores_row(row: Found, reach: float) -> str:
    values = "".join(f'<td class="rb-num">{_percent(value)}</td>' for value in row["values"])
    pairs = "".join(_difference_cell(pair, reach) for pair in row["pairs"])
    return f'<tr class="rb-cmp-{row["level"]}"><th scope="row">{escape(row["name"])}</th>{values}{pairs}</tr>'


def _difference_cell(pair: Found, reach: float) -> str:
    difference = pair["difference"]
    if difference["value"] is None:
        return f'<td class="rb-cmp-diff">{MISSING}</td>'
    shown = pair["better"] is not None
    words = "" if pair["p"] is None else f'<span class="rb-hidden">, {SHOWN if shown else NOT_SHOWN}</span>'
    interval = "" if difference["low"] is None else f"{points(difference['low'])} to {points(difference['high'])}"
    p = "" if pair["p"] is None else f"{'; ' if interval else ''}{p_words(pair['p'])}"
    value = f"<b>{points(difference['value'])}</b>" if shown else f"<span>{points(difference['value'])}</span>"
    return (
        f'<td class="rb-cmp-diff"><div>{value}{difference_svg(difference, reach, shown=shown)}</div>'
        f"<small>{interval}{p}</small>{words}</td>"
    )


# Where they disagree


def _disagreements(found: Found, names: Mapping[str, str]) -> str:
    tables = [_disagreement(found, index, names) for index in range(len(found["pairs"]))]
    without = [pair["b"] for pair, table in zip(found["pairs"], tables, strict=True) if not table]
    note = (
        f"<p>Not known for {escape(', '.join(names[name] for name in without))}: this needs what each model made of "
        "each example, and for this pair there are only scores of whole parts.</p>"
        if without
        else ""
    )
    return f'<h3>Where they disagree</h3><div class="rb-cmp-notes">{note}</div>{"".join(tables)}'


def _disagreement(found: Found, index: int, names: Mapping[str, str]) -> str:
    """The table of one pair; empty without outcomes of single examples."""
    pair = found["pairs"][index]
    if pair["agreement"] is None:
        return ""
    a, b = escape(names[pair["a"]]), escape(names[pair["b"]])
    rows = [("All examples", pair["agreement"])]
    rows += [
        (row["name"], row["pairs"][index]["agreement"])
        for row in found["rows"]
        if row["level"] == "subset" and row["pairs"][index]["agreement"]
    ]
    body = "".join(_agreement_row(name, counts) for name, counts in rows)
    marked = (("both", "Both right"), ("a", f"Only {a}"), ("b", f"Only {b}"), ("neither", "Neither"))
    counts = _heads("Examples", *(_key(kind) + text for kind, text in marked))
    head = f'<tr><th scope="col">Subset</th>{counts}<th scope="col">Shares</th>{_heads("p")}</tr>'
    caption = (
        f"{a} and {b}: on how many examples both, only one or neither is right. p: mid-p McNemar test, which takes the "
        "examples for independent and looks only at those where one of them is right. All examples count alike "
        "here, while the score weighs sections."
    )
    return _table(f"Where {names[pair['a']]} and {names[pair['b']]} disagree", caption, head, f"<tbody>{body}</tbody>")


def _agreement_row(name: str, counts: Found) -> str:
    four = [counts[key] for key in ("both", "only_a", "only_b", "neither")]
    cells = "".join(f'<td class="rb-num">{count:,}</td>' for count in (sum(four), *four))
    p = MISSING if counts["p"] is None else p_words(counts["p"]).removeprefix("p ").removeprefix("= ")
    return (
        f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{agreement_svg(four)}</td><td class="rb-num">{p}</td></tr>'
    )


def _key(kind: str) -> str:
    return (
        '<svg class="rb-cmp-key" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
        f'<rect class="rb-cmp-{kind}" x="0.5" y="0.5" width="11" height="11"/></svg>'
    )


# From the scores themselves


def _scores(found: Found, names: Mapping[str, str]) -> str:
    with_scores = [view for view in found["scores"] if view["margins"]]
    without = [names[view["model"]] for view in found["scores"] if not view["margins"]]
    note = (
        f"<p>No score file for {escape(', '.join(without))}: margins and calibration are known for runs of this "
        "package and for imported scores.</p>"
        if without
        else ""
    )
    return (
        f'<h3>From the scores themselves</h3><div class="rb-cmp-notes">{note}</div>'
        f"{_margins(with_scores, names)}{_calibration(with_scores, names)}{_length(found['scores'], names)}"
    )


def _margins(views: Sequence[Found], names: Mapping[str, str]) -> str:
    """Margins of the models with score files, drawn and in a table."""
    if not views:
        return ""
    figures = "".join(
        f"<figure><figcaption>{escape(names[v['model']])}: examples by margin</figcaption>"
        f"{margins_svg(names[v['model']], v['margins']['histogram'])}</figure>"
        for v in views
    )
    levels = [f"{100 * float(level):.0f}%" for level in views[0]["margins"]["quantiles"]]
    heads = _heads("Examples", "Above 0", "Mean", "Std. dev.", *levels)
    rows = []
    for view in views:
        m = view["margins"]
        values = (m["mean"], m["std"], *m["quantiles"].values())
        numbers = "".join(f'<td class="rb-num">{_number(value)}</td>' for value in values)
        rows.append(
            f'<tr><th scope="row">{escape(names[view["model"]])}</th><td class="rb-num">{m["examples"]:,}</td>'
            f'<td class="rb-num">{_percent(m["above"])}%</td>{numbers}</tr>'
        )
    caption = (
        "Margins: the lowest score of a chosen completion minus the highest of a rejected one, in each model’s own "
        "units; the last five columns are quantiles."
    )
    head, body = f'<tr><th scope="col">Model</th>{heads}</tr>', f"<tbody>{''.join(rows)}</tbody>"
    return f'<h4>Margins</h4><div class="rb-cmp-figures">{figures}</div>{_table("Margins", caption, head, body)}'


def _calibration(views: Sequence[Found], names: Mapping[str, str]) -> str:
    """Bradley-Terry probabilities against what happened, for models whose scores are rewards."""
    known = [view for view in views if view["calibration"]]
    others = [names[view["model"]] for view in views if not view["calibration"]]
    note = (
        f'<div class="rb-cmp-notes"><p>{escape(", ".join(others))}: the scores have no scale on which a difference '
        "would be a log-odds, so no Bradley-Terry probability applies.</p></div>"
        if others
        else ""
    )
    if not known:
        return f"<h4>Calibration</h4>{note}" if views else ""
    figures = "".join(
        f"<figure><figcaption>{escape(names[v['model']])}: % right by probability</figcaption>"
        f"{calibration_svg(names[v['model']], v['calibration']['bins'])}</figure>"
        for v in known
    )
    bodies = "".join(_calibration_body(view, names) for view in known)
    heads = _heads("Examples", "Mean probability", "Right", "95% interval")
    head = f'<tr><th scope="col">Probability</th>{heads}</tr>'
    caption = (
        "Calibration: how often the choice is right, by its Bradley-Terry probability 1 / (1 + e^−|margin|). ECE: the "
        "mean gap between both, weighted by examples; Brier score: the mean squared error of the probability, 0 at "
        "best and 0.25 for always saying one half. Of several rejected completions the one that scores highest counts."
    )
    return (
        f'<h4>Calibration</h4>{note}<div class="rb-cmp-figures">{figures}</div>'
        f"{_table('Calibration', caption, head, bodies)}"
    )


def _calibration_body(view: Found, names: Mapping[str, str]) -> str:
    found = view["calibration"]
    rows = "".join(
        f'<tr><th scope="row">{100 * row["start"]:.0f} to {100 * row["end"]:.0f}%</th>'
        f'<td class="rb-num">{row["examples"]:,}</td><td class="rb-num">{_percent(row["probability"])}%</td>'
        f'<td class="rb-num">{_percent(row["right"])}%</td><td class="rb-num">{_interval(row)}</td></tr>'
        for row in found["bins"]
    )
    title = f"{names[view['model']]}: ECE {found['ece']:.3f}, Brier score {found['brier']:.3f}"
    return f"<tbody>{_block(title, 5)}{rows}</tbody>"


def _length(views: Sequence[Found], names: Mapping[str, str]) -> str:
    """Accuracy where chosen completions are longer, as long and shorter."""
    known = [view for view in views if view["length"]]
    if not known:
        return ""
    bodies = []
    for view in known:
        rows = "".join(
            f'<tr><th scope="row">{escape(row["name"].capitalize())}</th><td class="rb-num">{row["examples"]:,}</td>'
            f'<td class="rb-num">{_percent(row["value"])}%</td><td class="rb-num">{_interval(row)}</td>'
            f"<td>{accuracy_svg(row['value'], row['low'], row['high'])}</td></tr>"
            for row in view["length"]
        )
        bodies.append(f"<tbody>{_block(names[view['model']], 5)}{rows}</tbody>")
    heads = _heads("Examples", "Accuracy", "95% interval")
    head = f'<tr><th scope="col">Where</th>{heads}<th scope="col">0 to 100%</th></tr>'
    caption = (
        "Accuracy by length: a model that counts words is much better where the chosen completions are longer. Without "
        "Ties."
    )
    return f"<h4>Accuracy by length</h4>{_table('Accuracy by length', caption, head, ''.join(bodies))}"


# Parts


def _table(label: str, caption: str, head: str, bodies: str) -> str:
    """A table in a region that scrolls and that the keyboard reaches. caption, head, bodies: HTML; label: text."""
    return (
        f'<div class="rb-cmp-scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<caption><span>{caption}</span></caption><thead>{head}</thead>{bodies}</table></div>"
    )


def _heads(*texts: str) -> str:
    """Headers of columns of numbers. texts: HTML."""
    return "".join(f'<th scope="col" class="rb-num">{text}</th>' for text in texts)


def _block(title: str, width: int) -> str:
    """A row that heads the rows below it. title: text; width: in columns."""
    return f'<tr class="rb-cmp-block"><th colspan="{width}" scope="colgroup">{escape(title)}</th></tr>'


def _link(model: str, found: Found, names: Mapping[str, str]) -> str:
    """The model's short name as a link to its page."""
    query = urlencode({"tab": "model", "model": model, "board": found["benchmark"]})
    return f'<a href="?{escape(query)}" title="{escape(model)}">{escape(names[model])}</a>'


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f}".replace("-", "−")


def _interval(row: Found) -> str:
    return MISSING if row["low"] is None else f"{_percent(row['low'])} to {_percent(row['high'])}"


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
