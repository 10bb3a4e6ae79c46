"""The tab *About*: how the numbers come about. What is data is written from the benchmarks' records, the weights of the
Ties score and the endpoints themselves, so that it says what is computed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from string import Template

import gradio as gr

from rb_core.benchmarks.load import load_benchmark
from rb_core.benchmarks.registry import BENCHMARKS
from rb_core.benchmarks.spec import BenchmarkSpec, Metric, Section, TieCredit
from rb_core.space.api import ENDPOINTS, mcp_installed
from rb_core.space.judge_modes import MODE_DESCRIPTIONS
from rb_core.space.model.judge_html import SHARES
from rb_core.space.results_source import ResultsSource
from rb_core.stats.intervals import REPLICATES
from rb_core.stats.metrics import TIES_WEIGHTS
from rb_core.stats.paired import ALPHA

_TIE_RULES: Mapping[TieCredit, str] = {
    "none": "A tie between a chosen and a rejected completion earns nothing.",
    "split": "Where the best rejected completion ties with the chosen one, so that k share the top, it earns 1/k.",
}


_METRICS: Mapping[Metric, str] = {
    "accuracy": "mean credit",
    "ties": '<a href="?tab=about#about-composite">Ties score</a>',
    "matrix": '<a href="?tab=about#about-matrix">all against all</a>',
}


_TIES_PARTS: Mapping[str, str] = {
    "tied": "Share of the questions with many right answers in which every right one beats every wrong one",
    "ref": "The same share of the versions with one right answer",
    "margin": "Share of the questions whose gap exceeds the spread among the right answers",
    "margin_hard": "Share in which the smaller of the two versions' gaps exceeds that spread",
    "tanh": "By how much it does: the mean of tanh(smaller gap / spread − 1)",
}


_MCP = (
    "The same endpoints are tools for agents (Model Context Protocol) at <code>gradio_api/mcp/</code> below this "
    "page's address.",
    "Where gradio's extra <code>mcp</code> is installed (<code>pip install 'gradio[mcp]'</code>), the page offers the "
    "same endpoints to agents as tools (Model Context Protocol) at <code>gradio_api/mcp/</code> below its address.",
)


def build_about(page: gr.Blocks, results: ResultsSource) -> None:
    """Lay out the tab, inside of a tab's context. It says how numbers come about, so that it is the same for all
    results; page and results are there because every tab is built with them."""
    gr.HTML(about_html(BENCHMARKS.values()), apply_default_css=False, elem_id="about")


def about_html(specs: Iterable[BenchmarkSpec]) -> str:
    """The whole tab for the benchmarks with these records (one or more)."""
    known = tuple(specs)
    template = Template(resources.files(__package__).joinpath("about.html").read_text(encoding="utf-8"))
    body = template.substitute(
        ties="".join(_row(f"{weight:.2f}", _TIES_PARTS[part]) for part, weight in TIES_WEIGHTS.items()),
        ties_count=len(TIES_WEIGHTS),
        replicates=f"{REPLICATES:,}",
        alpha=f"{100 * ALPHA:g}",
        certain=f"{100 * (1 - ALPHA):g}",
        benchmarks="".join(_benchmark(spec) for spec in known),
        first_benchmark=escape(known[0].id),
        benchmark_ids=", ".join(f"<code>{escape(spec.id)}</code>" for spec in known),
        modes=_modes(),
        modes_count=len(MODE_DESCRIPTIONS),
        shares="".join(f"<dt>{escape(each.label)}</dt><dd>{escape(each.about)}</dd>" for each in SHARES.values()),
        endpoints="".join(_row(f"<code>/{escape(name)}</code>", escape(what)) for name, what in ENDPOINTS.items()),
        mcp=_MCP[0] if mcp_installed() else _MCP[1],
        citations="".join(_citation(spec) for spec in known if spec.url),
        licences="".join(_licence(spec) for spec in known),
    )
    places = "".join(
        f'<li><a href="?tab=about#{place}">{title}</a></li>'
        for place, title in re.findall(r'<h3 id="([\w-]+)">(.*?)</h3>', body)
    )
    return (
        '<article class="rb-about"><h2 class="rb-title">About</h2>'
        '<p class="rb-lead">What the numbers on this page mean, how they are computed, and what they cannot say.</p>'
        f'<nav aria-label="On this tab"><ul>{places}</ul></nav>{body}</article>'
    )


def _modes() -> str:
    """How a judge can be asked, and what its score then is."""
    rows = "".join(
        f'<tr><th scope="row"><code>{mode}</code></th><td>{escape(about.asks)}</td><td>{escape(about.score)}</td></tr>'
        for mode, about in MODE_DESCRIPTIONS.items()
    )
    return _table("How judges are asked", {"Mode": False, "Asked": False, "Score": False}, rows)


def _row(first: str, second: str) -> str:
    """A table's row of HTML: a heading of a number or a word, and what it is."""
    kind = ' class="rb-num"' if first[0].isdigit() else ""
    return f'<tr><th scope="row"{kind}>{first}</th><td>{second}</td></tr>'


def _counts(spec: BenchmarkSpec) -> Mapping[str, int | None]:
    """The number of examples by subset: as published, or of the examples that come with this package."""
    if spec.source is None:
        return Counter(example.subset for example in load_benchmark(spec.id).examples)
    return {subset.name: subset.count for subset in spec.subsets}


def _benchmark(spec: BenchmarkSpec) -> str:
    counts = _counts(spec)
    rows = "".join(_section_row(section, spec, counts) for section in spec.sections)
    link = (
        f' <a href="{escape(spec.url)}" target="_blank" rel="noopener">Dataset'
        '<span class="rb-hidden"> (opens in a new tab)</span></a>'
        if spec.url
        else ""
    )
    title = escape(spec.title)
    heads = {"Section": False, "Weight": True, "Share": True, "Examples": True, "Measured by": False}
    table = _table(f"Sections of {title} and their weights in the score", heads, rows)
    return (
        f'<h4 id="about-{escape(spec.id)}">{title}</h4><p>{escape(spec.description)}{link}</p>'
        f"<p>{_TIE_RULES[spec.tie_credit]}{_optional(spec)}</p>{table}{_subsets(spec, counts)}"
    )


def _table(caption: str, heads: Mapping[str, bool], rows: str) -> str:
    """A table that scrolls where it has no room; heads: whether a column holds numbers."""
    head = "".join(
        f'<th scope="col" class="rb-num">{name}</th>' if number else f'<th scope="col">{name}</th>'
        for name, number in heads.items()
    )
    return (
        f'<div class="rb-about-sheet" tabindex="0" role="region" aria-label="{caption}"><table class="rb-facts">'
        f'<caption class="rb-hidden">{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _section_row(section: Section, spec: BenchmarkSpec, counts: Mapping[str, int | None]) -> str:
    share = section.headline_weight / sum(each.headline_weight for each in spec.sections)
    examples = _total(counts[name] for name in section.weights)
    return (
        f'<tr><th scope="row">{escape(section.name)}</th><td class="rb-num">{section.headline_weight:g}</td>'
        f'<td class="rb-num">{100 * share:.1f}%</td><td class="rb-num">{examples}</td>'
        f"<td>{_METRICS[section.metric]}</td></tr>"
    )


def _optional(spec: BenchmarkSpec) -> str:
    """What the score is without the sections that may be absent."""
    names = [section.name for section in spec.sections if not section.required]
    if not names:
        return ""
    return f" Without {escape(' and '.join(names))} the score is the mean of the other sections by the same weights."


def _subsets(spec: BenchmarkSpec, counts: Mapping[str, int | None]) -> str:
    """All subsets by section; nothing where every section is one subset of the same name."""
    if all(len(section.weights) == 1 for section in spec.sections):
        return ""
    rows = []
    for subset in spec.subsets:
        section = spec.section_of(subset.name)
        share = section.weights[subset.name] / sum(section.weights.values()) if section else 0.0
        rows.append(
            f'<tr><th scope="row">{escape(subset.name)}</th><td>{escape(section.name) if section else "in none"}</td>'
            f'<td class="rb-num">{f"{100 * share:.1f}%" if section else "–"}</td>'
            f'<td class="rb-num">{_total([counts[subset.name]])}</td><td>{escape(subset.description)}</td></tr>'
        )
    title = escape(spec.title)
    heads = {"Subset": False, "Section": False, "Share of it": True, "Examples": True, "What": False}
    table = _table(f"Subsets of {title} and their shares of their sections", heads, "".join(rows))
    return f"<details><summary>{len(spec.subsets)} subsets of {title}</summary>{table}</details>"


def _total(counts: Iterable[int | None]) -> str:
    """The sum; a dash where one is not in the record."""
    known = list(counts)
    numbers = [count for count in known if count is not None]
    return f"{sum(numbers):,}" if len(numbers) == len(known) else "–"


def _licence(spec: BenchmarkSpec) -> str:
    return _row(escape(spec.title), escape(spec.licence))


def _citation(spec: BenchmarkSpec) -> str:
    """The citation as text and, where it names an arXiv number, as BibTeX."""
    found = re.fullmatch(r"(.+?) et al\. (\d{4}), (.+), arXiv:(\d{4}\.\d{5})", spec.citation)
    if found is None:
        return f"<p>{escape(spec.citation)}</p>"
    author, year, title, number = found.groups()
    entry = (
        f"@misc{{{author.lower()}{year}{spec.id.replace('-', '')},\n  title = {{{{{title}}}}},\n"
        f"  author = {{{author} and others}},\n  year = {{{year}}},\n  eprint = {{{number}}},\n"
        "  archivePrefix = {arXiv}\n}"
    )
    return (
        f'<p>{escape(spec.citation.removesuffix(f"arXiv:{number}"))}<a href="https://arxiv.org/abs/{number}" '
        f'target="_blank" rel="noopener">arXiv:{number}<span class="rb-hidden"> (opens in a new tab)</span></a></p>'
        f'<pre tabindex="0" aria-label="BibTeX of {escape(spec.title)}"><code>{escape(entry)}</code></pre>'
    )
