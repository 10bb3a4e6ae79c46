"""The tab *Model*: one model's results, weak spots, settings and commands, as HTML that is sent when it is asked for.

Every text of a result goes through `escape`, and every link is checked for https: results are files that others wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

import gradio as gr

from rb_core.leaderboard.model_report import UnknownModelError, model_names, model_page
from rb_core.leaderboard.weak_spots import RULE
from rb_core.space.html import Plain, bar_html, facts_html, link_html, named_facts, number_text, score_html, table_html
from rb_core.space.model.judge_html import asked_facts, judging_html
from rb_core.space.results_source import ResultsSource

MOST_WEAK_SPOTS = 8


SETTINGS = {
    "kind": "Kind",
    "kind_detail": "Kind at the source",
    "architecture": "Architecture",
    "source": "Loaded from",
    "revision": "Commit",
    "parameters": "Parameters",
    "dtype": "Number format",
    "quantization": "Quantisation",
    "attention": "Attention",
    "batching": "Batching",
    "probe": "Largest difference from single passes",
    "max_length": "Longest conversation (tokens)",
    "chat_template_sha256": "Chat template (SHA-256)",
    "system_role": "System messages",
    "scored_token": "Token that is scored",
    "output": "Output",
    "reference": "Reference",
    "reference_revision": "Commit of the reference",
    "beta": "Beta",
    "adapter": "Adapter",
    "adapter_revision": "Commit of the adapter",
}


RUN = {
    "started": "Started",
    "duration": "Time spent scoring (s)",
    "device": "Device",
    "device_name": "Device's name",
    "processes": "Processes",
    "peak_memory": "Peak memory (bytes)",
    "batch_tokens": "Tokens at once",
    "seed": "Seed",
    "git_commit": "Commit of this package",
    "git_dirty": "With changes that are not committed",
}


DATA = {"source": "Data", "revision": "Commit of the data", "sha256": "Data (SHA-256)", "limit": "Limited to examples"}


COUNTS = {
    "examples": "Examples",
    "scored": "Scored",
    "unscored": "Unscored",
    "ties": "Ties",
    "completions": "Completions",
    "unscored_completions": "Completions unscored",
    "truncated_completions": "Completions truncated",
}


NOTES = {
    "empty_completions": "Empty completions",
    "control_token_examples": "Examples with control tokens",
    "rewritten_completions": "Completions the template rewrote",
}


def build_model(page: gr.Blocks, source: ResultsSource) -> gr.HTML:
    """Lay out the tab, inside of a tab's context of `page`. Nothing of its data is in the page itself."""

    # Gradio calls such a function with exactly one argument, which may be any JSON.
    def model_list(part: object) -> list[str]:
        """The names of all models that have this text in them."""
        return [name for name in model_names(source.payload()) if str(part).lower() in name.lower()]

    def model_html(model: object) -> dict[str, Any]:
        """A model's page as HTML, whether it is known, and a line that says what is shown."""
        try:
            found = model_page(source, str(model))
        except UnknownModelError as error:
            return {"known": False, "message": str(error), "html": ""}
        boards = [entry["benchmark"]["title"] for entry in found["results"]]
        return {"known": True, "message": f"{model} on {_and(boards)}.", "html": page_html(found)}

    files = resources.files(__package__)
    return gr.HTML(
        html_template=files.joinpath("model.html").read_text(encoding="utf-8"),
        js_on_load=files.joinpath("model.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="model",
        server_functions=[model_list, model_html],
    )


def page_html(found: Plain) -> str:
    """The page of what `model_page` gives."""
    facts = [found["kind"], f"{size(found['parameters'])} parameters" if found["parameters"] else "size not known"]
    line = " · ".join(escape(str(fact)) for fact in facts if fact)
    if link := link_html(found["hub"], "Page on the hub"):
        line += f" · {link}"
    return (
        f'<header class="rb-model-head"><h3>{escape(found["model"])}</h3><p>{line}</p></header>'
        f"{_overview(found['results'])}{''.join(map(_benchmark, found['results']))}"
    )


# Parts of the page


def _overview(results: Sequence[Plain]) -> str:
    rows = [
        [
            f'<a href="#{_anchor(entry)}">{escape(entry["benchmark"]["title"])}</a>',
            score_html(entry["score"]),
            bar_html(entry["score"]),
            f"{entry['rank']} of {entry['of']}" if entry["rank"] else "no rank",
            _range(entry),
            escape(str(entry["origin"])),
        ]
        for entry in results
    ]
    heads = ["Benchmark", "Score", "95% interval", "Rank", "Range of ranks", "Origin"]
    return table_html("All results", heads, rows, numbers={1, 3, 4})


def _benchmark(entry: Plain) -> str:
    about = entry["benchmark"]
    parts = [
        _weak_spots(entry),
        _scores(entry),
        _absent(entry),
        _matrices(entry.get("matrices", {})),
        _length(entry.get("length", {})),
        judging_html(entry.get("judging")),
        _counts(entry),
        _settings(entry),
        _commands(entry),
    ]
    if "settings" not in entry:
        parts.append("<p>The result file behind these numbers has not been read yet; try again in a moment.</p>")
    return (
        f'<section class="rb-model-benchmark" id="{_anchor(entry)}" aria-label="{escape(about["title"])}">'
        f"<h3>{escape(about['title'])}</h3><p>{escape(about['description'])}</p>{''.join(parts)}</section>"
    )


def _weak_spots(entry: Plain) -> str:
    spots = entry["weak_spots"]
    if entry["rank"] is None:
        return ""
    if not spots:
        return "<h4>Where it is weak</h4><p>Nowhere does it rank lower than overall.</p>"
    rows = [
        [
            escape(spot["name"]),
            score_html(spot),
            f"{spot['rank']} of {spot['of']}",
            str(spot["overall"]),
            f"{100 * spot['par']:.1f}",
            {True: "clear", False: "may be noise", None: "no interval"}[spot["clear"]],
        ]
        for spot in spots[:MOST_WEAK_SPOTS]
    ]
    heads = ["Part", "Score (95% interval)", "Rank here", "Overall", "Score at that rank", "Noise?"]
    rest = len(spots) - MOST_WEAK_SPOTS
    more = f"<p>In {rest} more it ranks lower than overall, by less or maybe by noise.</p>" if rest > 0 else ""
    table = table_html("Parts furthest below the model's overall rank", heads, rows, numbers={1, 2, 3, 4})
    return f'<h4>Where it is weak</h4><p class="rb-rule">{escape(RULE)}</p>{table}{more}'


def _scores(entry: Plain) -> str:
    sections = [part for part in entry["parts"] if part["level"] == "section"]
    subsets = [part for part in entry["parts"] if part["level"] == "subset" and part["estimate"]["value"] is not None]
    found = "<h4>Sections</h4>" + _parts_table("Sections", sections) if sections else ""
    if subsets:
        table = _parts_table("Subsets", subsets)
        found += f"<details><summary>All {len(subsets)} subsets</summary>{table}</details>"
    return found


def _parts_table(caption: str, parts: Sequence[Plain]) -> str:
    counted = any(part["estimate"]["scored"] is not None for part in parts)
    rows = []
    for part in parts:
        estimate = part["estimate"]
        row = [escape(part["name"]), score_html(estimate), bar_html(estimate)]
        row.append(f"{part['rank']} of {part['of']}" if part["rank"] else "–")
        rows.append(row + ([number_text(estimate[name]) for name in ("scored", "unscored", "ties")] if counted else []))
    heads = ["Name", "Score (95% interval)", "0 to 100", "Rank", *(["Scored", "Unscored", "Ties"] if counted else [])]
    return table_html(caption, heads, rows, numbers={1, 3, 4, 5, 6})


def _absent(entry: Plain) -> str:
    if not entry.get("absent"):
        return ""
    rows = "".join(
        f"<dt>{escape('Score' if name == 'headline' else name)}</dt><dd>{escape(why)}</dd>"
        for name, why in entry["absent"].items()
    )
    return f"<h4>Absent</h4><dl>{rows}</dl>"


def _matrices(matrices: Plain) -> str:
    found = ""
    for name, matrix in matrices.items():
        rows = [
            [escape(level), *(score_html(cell) for cell in row)]
            for level, row in zip(matrix["levels"], matrix["cells"], strict=True)
        ]
        caption = f"{name}: chosen (rows) over rejected (columns)"
        by = ", ".join(f"{level} {score_html(matrix[level])}" for level in ("easy", "normal", "hard"))
        numbers = set(range(1, len(rows) + 1))
        found += (
            table_html(caption, ["Chosen", *matrix["levels"]], rows, numbers=numbers, visible=True) + f"<p>{by}</p>"
        )
    return f"<h4>Style matrices</h4>{found}" if found else ""


def _length(length: Plain) -> str:
    if not length:
        return ""
    rows = [
        [escape(name.replace("_", " ")), score_html(each), number_text(each["scored"])] for name, each in length.items()
    ]
    table = table_html("Accuracy by length", ["Chosen completions are", "Score (95% interval)", "Scored"], rows, {1, 2})
    return f"<h4>By length</h4>{table}"


def _counts(entry: Plain) -> str:
    counts, notes = entry.get("counts"), entry.get("notes")
    if not counts:
        return ""
    facts = [(label, number_text(counts[name])) for name, label in COUNTS.items()]
    facts += [(f"Unscored because: {why}", number_text(n)) for why, n in counts["reasons"].items()]
    facts += [(label, number_text(notes[name])) for name, label in NOTES.items()] if notes else []
    if margins := entry["margins"]:
        spread = f"{number_text(margins['mean'])}, standard deviation {number_text(margins['std'])}"
        facts += [("Mean margin, in the model's units", spread)]
    return f"<details><summary>Counts</summary>{facts_html(facts)}</details>"


def _settings(entry: Plain) -> str:
    if "settings" not in entry:
        return ""
    settings = entry["settings"]
    facts = named_facts(SETTINGS, settings) + (asked_facts(settings["judge"]) if "judge" in settings else [])
    facts += named_facts(DATA, entry["data"])
    if run := entry["run"]:
        facts += named_facts(RUN, run)
        facts += [("Versions", ", ".join(escape(f"{name} {version}") for name, version in run["versions"].items()))]
    if published := entry["published"]:
        links = " ".join(link_html(link["url"], link["text"]) for link in published["links"])
        facts += [("Published in", f"{escape(published['source'])} {links}")]
        facts += [("Retrieved", escape(published["retrieved"]))] if published["retrieved"] else []
        facts += [("Note", escape(published["note"]))] if published["note"] else []
    title = "How it was run" if run else "Where it comes from"
    return f"<details><summary>{title}</summary>{facts_html(facts)}</details>"


def _commands(entry: Plain) -> str:
    found = "".join(
        f'<div class="rb-command"><p>{escape(each["what"])}</p><pre><code>{escape(each["command"])}</code></pre>'
        f'<button type="button" class="rb-button" data-copy>Copy<span class="rb-hidden"> the command: '
        f"{escape(each['what'])}</span></button></div>"
        for each in entry.get("commands", ())
    )
    files = "".join(f"<li>{_file(each)}</li>" for each in entry.get("files", ()))
    data = link_html(entry["benchmark"]["url"], "Dataset of the benchmark")
    links = f"<ul>{files}{f'<li>{data}</li>' if data else ''}</ul>" if files or data else ""
    return (f"<h4>Get these numbers again</h4>{found}" if found else "") + links


def _range(entry: Plain) -> str:
    ranks = entry["range"]
    if not ranks:
        return "–"
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}"


def _file(file: Plain) -> str:
    """A file of the result: a link where it lies on the hub, else its path below the results' folder."""
    path = f"<code>{escape(file['path'])}</code>"
    return f"{escape(file['what'])}: {link_html(file['url'], file['path']) or path}"


def _anchor(entry: Plain) -> str:
    return f"model-on-{escape(entry['benchmark']['id'])}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def size(parameters: float) -> str:
    """A number of parameters in words that fit a line: 8.03B, 494M."""
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{name}"
    return f"{parameters:.0f}"
