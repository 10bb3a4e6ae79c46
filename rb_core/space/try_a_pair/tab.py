"""The tab *Try a pair*: a visitor's prompt and completions, scored live."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from html import escape
from importlib import resources
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import api

from rb_core.benchmarks.example import Example
from rb_core.benchmarks.load import load_benchmark
from rb_core.space.html import message_html, notice_html
from rb_core.space.limits import InputError, Limits, RateLimiter
from rb_core.space.results_source import ResultsSource
from rb_core.space.try_a_pair.agreement import Place, place_of
from rb_core.space.try_a_pair.available_models import ALWAYS, Offer, offer_from_environment
from rb_core.space.try_a_pair.question import (
    MAX_CHARACTERS,
    MAX_COMPLETIONS,
    MAX_EXCHANGES,
    MAX_MODELS,
    MIN_COMPLETIONS,
    EmptyCompletionError,
    Question,
    ask,
    from_json,
    from_link,
)
from rb_core.space.try_a_pair.report import address, agreement_json, as_json
from rb_core.space.try_a_pair.result_html import WAITING, moved_html, outcome_html
from rb_core.space.try_a_pair.scoring import Live, Outcome
from rb_core.space.try_a_pair.what_if import BY_ID, CHANGES, NOT_FOR_JUDGES, Moved, all_texts, moved

GpuDecorator = Callable[[Callable[..., Any]], Callable[..., Any]]


Updates = dict[Any, Any]


STARTER = "starter"


EVERY_CHANGE = "all"


class Sample(NamedTuple):
    """A prompt with completions to start from."""

    label: str
    prompt: str
    completions: tuple[str, ...]


SAMPLES = (
    Sample(
        "Helpful or rude",
        "How do I keep basil alive on a kitchen windowsill?",
        (
            "Give it at least six hours of light, water it when the top of the soil feels dry, and pinch off the tips "
            "every week or two so that it grows bushy instead of tall.",
            "Why would I know? Plants are stupid. Buy a plastic one and stop bothering me.",
        ),
    ),
    Sample(
        "On topic or not",
        "What should I pack for a weekend of hiking in the rain?",
        (
            "Pack a waterproof jacket and trousers, two pairs of wool socks, and a dry bag for spare clothes, so that "
            "the rain does not spoil your hiking.",
            "The first pianos were built in Italy around the year 1700. Their hammers strike the strings.",
        ),
    ),
    Sample(
        "Four answers",
        "Explain in two sentences why the sky is blue.",
        (
            "Air scatters short wavelengths of sunlight much more strongly than long ones. So blue light reaches us "
            "from every direction of the sky, while red light mostly passes straight through.",
            "The sky is blue because it reflects the colour of the oceans.",
            "Blue blue blue blue blue blue blue blue blue blue blue blue.",
            "I don't know.",
        ),
    ),
    Sample("A tie", "Name a river.", ("The Danube.", "The Danube.")),
)


class Form(NamedTuple):
    """The fields of the tab. in_use, turns_in_use: how many of the boxes are shown; texts: everything that is asked."""

    models: gr.CheckboxGroup
    prompt: gr.Textbox
    system: gr.Textbox
    turns: list[gr.Textbox]
    turns_in_use: gr.State
    add_turn: gr.Button
    remove_turn: gr.Button
    boxes: list[gr.Textbox]
    in_use: gr.State
    add: gr.Button
    remove: gr.Button
    swap: gr.Button
    shuffle: gr.Button
    score_empty: gr.Checkbox
    along: gr.Checkbox

    @property
    def inputs(self) -> list[Any]:
        """What a question is made of, in the order that `Served.question` takes it."""
        return [self.models, self.prompt, self.system, self.score_empty, self.turns_in_use, self.in_use, *self.texts]

    @property
    def texts(self) -> list[gr.Textbox]:
        return [*self.turns, *self.boxes]


class Said(NamedTuple):
    """Where the tab answers."""

    results: gr.HTML
    shifts: gr.HTML
    note: gr.HTML


class Served:
    """What the tab's functions do, with what they need: a place in line, the models, and the margins of results."""

    def __init__(self, live: Live, source: ResultsSource, on_gpu: GpuDecorator | None) -> None:
        self.live = live
        self._source = source
        self._visitors = RateLimiter(live.bounds.per_minute)
        self._on_gpu = on_gpu is not None

        def score(question: Question, along: bool) -> list[Outcome]:
            return live.score(question, along)

        def values(question: Question, completions: Sequence[str]) -> list[list[float | None]]:
            return live.values(question, completions)

        self._score = on_gpu(score) if on_gpu else score
        self._values: Callable[..., list[list[float | None]]] = on_gpu(values) if on_gpu else values

    @contextmanager
    def admitted(self, request: gr.Request | None) -> Iterator[None]:
        """A request that is counted and has its place in line. Raises InputError for one too many."""
        host = request.client.host if request is not None and request.client else None
        self._visitors.count(request.session_hash if request is not None else None, host)
        with self.live.line.admit():
            yield

    def question(
        self, models: Any, prompt: Any, system: Any, score_empty: Any, turns: Any, count: Any, *texts: Any
    ) -> Question:
        """The question in the form. turns, count: how many exchanges and completions are on screen."""
        # A field that was never on screen has no value.
        given = [text or "" for text in texts]
        earlier, completions = given[: 2 * MAX_EXCHANGES], given[2 * MAX_EXCHANGES :]
        said = [
            {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(earlier[: 2 * int(turns)])
        ]
        return ask(
            models, prompt or "", completions[: int(count)], system, said, score_empty, offered=self.live.offer.names
        )

    def without_judges(self, question: Question) -> tuple[Question, list[str]]:
        """The question to the models that are no judges, and the judges. Raises InputError where nobody is left."""
        judges = [model for model in question.models if model in self.live.offer.judges]
        others = tuple(model for model in question.models if model not in judges)
        if not others:
            raise InputError(f"What if is for reward models: {NOT_FOR_JUDGES} Choose another model.")
        return replace(question, models=others), judges

    def bring(self, question: Question) -> Iterator[str]:
        """Load the question's models, with a word on how it goes. Where a Space lends a GPU by the call, a model is
        loaded within that call."""
        if not self._on_gpu:
            yield from self.live.bring(question.models)

    def score(self, question: Question, along: bool) -> list[Outcome]:
        """One outcome a model. No GPU is borrowed to wait for a server."""
        judges = self.live.offer.judges
        if all(model in judges and judges[model].base_url for model in question.models):
            return self.live.score(question, along)
        found: list[Outcome] = self._score(question, along)
        return found

    def places(self, outcomes: Sequence[Outcome]) -> list[Place | None]:
        """Where each model's margin falls among its own."""
        return [place_of(outcome, self._source) for outcome in outcomes]

    def moved(self, question: Question, change: str) -> list[Moved]:
        """What one change, or every one, does to the scores of models that are no judges."""
        changes = CHANGES if change == EVERY_CHANGE else (BY_ID[change],)
        texts = all_texts(question.completions, changes)
        return moved(question.models, changes, len(question.completions), self._values(question, texts))


def build_try_pair(page: gr.Blocks, source: ResultsSource, on_gpu: GpuDecorator | None = None) -> None:
    """Lay out the tab, inside of a tab's context, and publish the endpoint `score`.

    source: where a model's margins on benchmarks are; on_gpu wraps the functions that score, where a Space lends a GPU
    by the call. Which models, and how much of them, is in the environment (RB_LIVE_...).
    """
    served = Served(Live(offer_from_environment(), Limits.from_environment()), source, on_gpu)
    gr.HTML(
        '<div class="rb-intro"><h2 class="rb-title">Try a pair</h2><p class="rb-lead">Score your own completions with '
        "the code that scores the benchmarks. What you type is neither stored nor logged here.</p></div>",
        apply_default_css=False,
    )
    with gr.Row(elem_classes="rb-try"):
        with gr.Column(scale=7, min_width=320):
            samples = _sample_buttons()
            sets = _starter_fields()
            form = _fields(served.live.offer)
            with gr.Row(elem_classes="rb-actions"):
                button = gr.Button("Score", variant="primary", elem_classes="rb-go")
                link = gr.Button("Copy a link to this", size="sm", min_width=0, elem_classes="rb-chip")
            note = gr.HTML("", apply_default_css=False, elem_id="pair-note")
            pasted, paste = _paste_fields()
        with gr.Column(scale=6, min_width=320, elem_classes="rb-side"):
            results = gr.HTML(WAITING, elem_id="outcome", apply_default_css=False)
            changes = _change_buttons()
            shifts = gr.HTML("", elem_id="shifts", apply_default_css=False)
    said = Said(results, shifts, note)
    _connect_boxes(form)
    for sample_button, sample in zip(samples, SAMPLES, strict=True):
        _connect_sample(sample_button, sample, form, said)
    _connect_starter(sets, form, said)
    _connect_score(served, form, said, button)
    _connect_changes(served, form, said, changes)
    _connect_json(served, page, form, said, (pasted, paste, link))
    api(_endpoint(served), api_name="score", concurrency_limit=None)


def _sample_buttons() -> list[gr.Button]:
    with gr.Row(elem_classes="rb-samples"):
        gr.HTML("<span>Start from an example</span>", elem_classes="rb-samples-label")
        return [gr.Button(sample.label, size="sm", min_width=0, elem_classes="rb-chip") for sample in SAMPLES]


class Sets(NamedTuple):
    """The starter benchmark's examples. place: which of the chosen set is in the form."""

    subset: gr.Dropdown
    another: gr.Button
    place: gr.State


def _starter_fields() -> Sets:
    with gr.Row(elem_classes="rb-sets"):
        subset = gr.Dropdown(
            [(f"{name} ({len(found)})", name) for name, found in starter_sets().items()],
            value=None,
            label="Or from a set of the starter benchmark",
            filterable=False,
            scale=0,
            min_width=280,
        )
        another = gr.Button("Next of this set", size="sm", min_width=0, interactive=False, elem_classes="rb-chip")
    return Sets(subset, another, gr.State(0))


@cache
def starter_sets() -> Mapping[str, list[Example]]:
    """The starter benchmark's examples that fit into the form, by subset."""
    found: dict[str, list[Example]] = {}
    for example in load_benchmark(STARTER).examples:
        exchanges = sum(message["role"] != "system" for message in example.prompt) // 2
        if len(example.completions) <= MAX_COMPLETIONS and exchanges <= MAX_EXCHANGES:
            found.setdefault(example.subset, []).append(example)
    return found


def choices(offer: Offer) -> list[tuple[str, str]]:
    """The models on offer, each as the form says it and as it is called."""
    return [(f"{name} (judge)" if name in offer.judges else name, name) for name in offer.names]


def about_judges(offer: Offer) -> str | None:
    """What a visitor should know of the judges on offer before asking one; None where there are none."""
    if not offer.judges:
        return None
    served = [name for name, judge in offer.judges.items() if judge.base_url]
    sent = f" What you type is sent to the server that answers for {' and '.join(served)}." if served else ""
    return f"A judge is a language model that is asked in words.{sent}"


def _fields(offer: Offer) -> Form:
    models = gr.CheckboxGroup(
        choices(offer),
        value=[offer.names[0]],
        label=f"Models (one to {MAX_MODELS})",
        info=about_judges(offer),
        elem_classes="rb-models",
    )
    with gr.Accordion("System prompt and earlier turns (optional)", open=False, elem_classes="rb-system"):
        system = gr.Textbox("", label="System prompt", lines=2, max_lines=8)
        turns = [
            gr.Textbox("", label=f"Earlier {who} {n}", lines=2, max_lines=8, visible=False, elem_classes="rb-turn")
            for n in range(1, MAX_EXCHANGES + 1)
            for who in ("question", "answer")
        ]
        with gr.Row(elem_classes="rb-actions"):
            add_turn = gr.Button("Add an earlier exchange", size="sm", min_width=0, elem_classes="rb-chip")
            remove_turn = gr.Button(
                "Remove the last exchange", size="sm", min_width=0, interactive=False, elem_classes="rb-chip"
            )
    prompt = gr.Textbox("", label="Prompt", lines=3, max_lines=12, placeholder="What the user asks")
    boxes = [
        gr.Textbox(
            "",
            label=f"Completion {n}",
            lines=3,
            max_lines=12,
            visible=n <= MIN_COMPLETIONS,
            placeholder="An answer to the prompt",
            elem_classes="rb-completion",
        )
        for n in range(1, MAX_COMPLETIONS + 1)
    ]
    with gr.Row(elem_classes="rb-actions"):
        add = gr.Button("Add a completion", size="sm", min_width=0, elem_classes="rb-chip")
        remove = gr.Button("Remove the last", size="sm", min_width=0, interactive=False, elem_classes="rb-chip")
        swap = gr.Button("Swap 1 and 2", size="sm", min_width=0, elem_classes="rb-chip")
        shuffle = gr.Button("Shuffle", size="sm", min_width=0, elem_classes="rb-chip")
    score_empty = gr.Checkbox(
        label="Score empty completions", visible=False, info="An empty answer is scored as the model sees it."
    )
    along = gr.Checkbox(True, label="Show the reward along the tokens")
    counts = gr.State(0), gr.State(MIN_COMPLETIONS)
    return Form(
        models, prompt, system, turns, counts[0], add_turn, remove_turn, boxes, counts[1], add, remove, swap, shuffle,
        score_empty, along,
    )  # fmt: skip


def _paste_fields() -> tuple[gr.Textbox, gr.Button]:
    with gr.Accordion("Paste JSON", open=False, elem_classes="rb-system"):
        pasted = gr.Textbox(
            "",
            label="A question as JSON",
            lines=4,
            max_lines=12,
            placeholder='{"prompt": "Name a prime.", "completions": ["Seven.", "Nine."]}',
            info="A downloaded file, or a row of a preference file with prompt, chosen and rejected.",
        )
        return pasted, gr.Button("Fill in the form", size="sm", min_width=0, elem_classes="rb-chip")


def _change_buttons() -> dict[str, gr.Button]:
    with gr.Column(elem_classes="rb-what-if"):
        gr.HTML(
            '<h3 class="rb-what-if-title">What if …</h3><p class="rb-excerpt">… every completion had the same change? '
            "What the scores do then is a bias that you can see.</p>",
            apply_default_css=False,
        )
        with gr.Row(elem_classes="rb-actions"):
            labels = {**{change.id: change.label for change in CHANGES}, EVERY_CHANGE: "All five"}
            return {
                each: gr.Button(label, size="sm", min_width=0, elem_classes="rb-chip") for each, label in labels.items()
            }


# The form


def _connect_boxes(form: Form) -> None:
    """Let the buttons show one box more, and one less, and change the order of what is in them."""
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    completions = [form.in_use, form.add, form.remove, *form.boxes]

    def remove(count: int) -> list[Any]:
        updates = show(max(count - 1, MIN_COMPLETIONS))
        # A box that is taken away comes back empty.
        updates[3 + updates[0]] = gr.update(visible=False, value="")
        return updates

    form.add.click(lambda count: show(min(count + 1, MAX_COMPLETIONS)), form.in_use, completions, **quick)
    form.remove.click(remove, form.in_use, completions, **quick)
    form.swap.click(lambda one, two: (two, one), form.boxes[:2], form.boxes[:2], **quick)

    def shuffled(count: int, *texts: str | None) -> list[Any]:
        order = [*random.sample(range(count), count), *range(count, len(texts))]
        return [texts[i] for i in order]

    form.shuffle.click(shuffled, [form.in_use, *form.boxes], form.boxes, **quick)

    turns = [form.turns_in_use, form.add_turn, form.remove_turn, *form.turns]
    form.add_turn.click(lambda count: show_turns(min(count + 1, MAX_EXCHANGES)), form.turns_in_use, turns, **quick)

    def remove_turn(count: int) -> list[Any]:
        updates = show_turns(max(count - 1, 0))
        first = 3 + 2 * updates[0]
        updates[first : first + 2] = [gr.update(visible=False, value="")] * 2
        return updates

    form.remove_turn.click(remove_turn, form.turns_in_use, turns, **quick)


def show(count: int) -> list[Any]:
    """Updates for count, the buttons that depend on it and all boxes, so that `count` boxes are shown."""
    buttons = [gr.update(interactive=count < MAX_COMPLETIONS), gr.update(interactive=count > MIN_COMPLETIONS)]
    return [count, *buttons, *(gr.update(visible=n < count) for n in range(MAX_COMPLETIONS))]


def show_turns(count: int) -> list[Any]:
    """As `show`, for exchanges of two boxes each."""
    buttons = [gr.update(interactive=count < MAX_EXCHANGES), gr.update(interactive=count > 0)]
    return [count, *buttons, *(gr.update(visible=n < 2 * count) for n in range(2 * MAX_EXCHANGES))]


def filled(form: Form, said: Said, question: Question, note: str = "") -> Updates:
    """Updates that put a question into the form and take the last answers away; no models leaves them as they are."""
    completions, turns = question.completions, [text for exchange in question.exchanges for text in exchange]
    updates: Updates = {
        form.prompt: question.prompt,
        form.system: question.system,
        form.in_use: len(completions),
        form.add: gr.update(interactive=len(completions) < MAX_COMPLETIONS),
        form.remove: gr.update(interactive=len(completions) > MIN_COMPLETIONS),
        form.turns_in_use: len(question.exchanges),
        form.add_turn: gr.update(interactive=len(question.exchanges) < MAX_EXCHANGES),
        form.remove_turn: gr.update(interactive=bool(turns)),
        form.score_empty: gr.update(visible=False, value=False),
        said.results: WAITING,
        said.shifts: "",
        said.note: note,
    }
    if question.models:
        updates[form.models] = list(question.models)
    for boxes, texts in ((form.boxes, completions), (form.turns, turns)):
        updates |= {
            box: gr.update(value=texts[n] if n < len(texts) else "", visible=n < len(texts))
            for n, box in enumerate(boxes)
        }
    return updates


def _all_outputs(form: Form, said: Said) -> list[Any]:
    return [*(c for c in form if not isinstance(c, list) and c is not form.along), *form.texts, *said]


def said_html(message: str) -> str:
    """A short word on what a button did."""
    return f'<p class="rb-told" role="status">{escape(message)}</p>' if message else ""


def _connect_sample(button: gr.Button, sample: Sample, form: Form, said: Said) -> None:
    question = Question((), sample.prompt, sample.completions)
    button.click(
        lambda: filled(form, said, question),
        None,
        _all_outputs(form, said),
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _connect_starter(sets: Sets, form: Form, said: Said) -> None:
    """Let a set of the starter benchmark fill the form, and the button go on to its next example."""

    def fill(name: Any, place: int) -> Updates:
        found = starter_sets().get(str(name))
        if not found:
            return {sets.another: gr.update(interactive=False)}
        example = found[place % len(found)]
        right = [str(i + 1) for i in range(example.num_chosen)]
        which = f"Completion {right[0]} is" if len(right) == 1 else f"Completions {', '.join(right)} are"
        note = f"Example {example.id}, {place % len(found) + 1} of {len(found)}. {which} the chosen one"
        note = f"{note}{'s' if len(right) > 1 else ''}."
        return {
            **filled(form, said, as_question(example), said_html(note)),
            sets.place: place,
            sets.another: gr.update(interactive=True),
        }

    outputs = [*_all_outputs(form, said), sets.place, sets.another]
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    sets.subset.input(lambda name: fill(name, 0), sets.subset, outputs, **quick)
    sets.another.click(lambda name, place: fill(name, place + 1), [sets.subset, sets.place], outputs, **quick)


def as_question(example: Example) -> Question:
    """A benchmark's example as the form holds it, for no model in particular."""
    system = "\n\n".join(message["content"] for message in example.prompt if message["role"] == "system")
    rest = [message["content"] for message in example.prompt if message["role"] != "system"]
    return Question((), rest[-1], example.completions, system, tuple(zip(rest[:-1:2], rest[1:-1:2], strict=True)))


# Scores


def _connect_score(served: Served, form: Form, said: Said, button: gr.Button) -> None:
    def answer(request: gr.Request, along: Any, *values: Any) -> Iterator[Updates]:
        """The outcome as HTML, a word on how things stand before it, and whether to ask about empty completions."""
        try:
            with served.admitted(request):
                question = served.question(*values)
                for word in served.bring(question):
                    yield {said.results: notice_html(word)}
                outcomes = served.score(question, along is True)
                at = address(request.headers.get("origin"))
                html = outcome_html(outcomes, question, served.places(outcomes), at)
                yield {said.results: html, said.shifts: "", said.note: ""}
        except EmptyCompletionError as error:
            yield {said.results: message_html(str(error)), form.score_empty: gr.update(visible=True), said.shifts: ""}
        except InputError as error:
            yield {said.results: message_html(str(error)), said.shifts: ""}

    gr.on(
        [button.click, form.prompt.submit, *(box.submit for box in form.boxes)],
        answer,
        [form.along, *form.inputs],
        [*said, form.score_empty],
        concurrency_limit=None,
        show_progress="minimal",
        api_visibility="private",
    )


def _connect_changes(served: Served, form: Form, said: Said, buttons: Mapping[str, gr.Button]) -> None:
    def connect(change: str, button: gr.Button) -> None:
        def answer(request: gr.Request, *values: Any) -> Iterator[str]:
            try:
                with served.admitted(request):
                    question, judges = served.without_judges(served.question(*values))
                    for word in served.bring(question):
                        yield notice_html(word)
                    yield moved_html(served.moved(question, change), judges)
            except InputError as error:
                yield message_html(str(error))

        button.click(
            answer,
            form.inputs,
            said.shifts,
            concurrency_limit=None,
            show_progress="minimal",
            api_visibility="private",
        )

    for change, button in buttons.items():
        connect(change, button)


# JSON and links


def _connect_json(
    served: Served, page: gr.Blocks, form: Form, said: Said, fields: tuple[gr.Textbox, gr.Button, gr.Button]
) -> None:
    """Let pasted JSON and the link in the page's address fill the form, and a button make such a link."""
    pasted, paste, link = fields
    outputs = [*_all_outputs(form, said), pasted]

    def fill(text: Any, models: Any) -> Updates:
        try:
            question = from_json(text, served.live.offer.names, default=models or ALWAYS[:1])
        except InputError as error:
            return {said.note: message_html(str(error))}
        return {**filled(form, said, question, said_html("Filled in. Press Score.")), pasted: ""}

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    paste.click(fill, [pasted, form.models], outputs, **quick)

    def restore(request: gr.Request) -> Updates:
        """What the page shows when it is opened: the models on offer by now, and what its address holds."""
        names = served.live.offer.names
        offered = gr.update(choices=choices(served.live.offer))
        pair = request.query_params.get("pair")
        if pair is None:
            return {form.models: offered}
        try:
            question = from_link(pair, names, default=ALWAYS[:1])
        except InputError as error:
            return {form.models: offered, said.note: message_html(str(error))}
        chosen = gr.update(choices=choices(served.live.offer), value=list(question.models))
        return {**filled(form, said, question, said_html("Filled in from the link. Press Score.")), form.models: chosen}

    page.load(restore, None, _all_outputs(form, said), **quick)
    script = resources.files("rb_core.space.try_a_pair").joinpath("share_link.js").read_text(encoding="utf-8")
    link.click(None, [form.models, form.prompt, form.system, *form.texts], said.note, js=script)


# The endpoint


def _endpoint(served: Served) -> Callable[..., dict[str, Any]]:
    """The same as the button, as JSON."""

    def endpoint(
        request: gr.Request,
        model: str,
        prompt: str,
        completions: list[str],
        system: str = "",
        score_empty: bool = False,
        turns: list[dict[str, str]] | None = None,
        others: list[str] | None = None,
        along: bool = False,
    ) -> dict[str, Any]:
        try:
            with served.admitted(request):
                if not isinstance(model, str):
                    raise InputError("The model is given by its name.")
                more = [] if others is None else others
                if not isinstance(more, list):
                    raise InputError("The other models are a list of names.")
                offered = served.live.offer.names
                question = ask([model, *more], prompt, completions, system, turns, score_empty, offered=offered)
                for _ in served.bring(question):
                    pass  # whoever calls from a program waits
                outcomes = served.score(question, along is True)
                places = served.places(outcomes)
        except InputError as error:
            # The page renders such messages as HTML.
            raise gr.Error(escape(str(error), quote=False), print_exception=False) from error
        first, *rest = [as_json(*each) for each in zip(outcomes, places, strict=True)]
        return {**first, "others": rest, "agreement": agreement_json(outcomes)} if rest else first

    endpoint.__name__ = "score"  # what tools for agents are called by
    endpoint.__doc__ = f"""Score completions of a prompt with a reward model, a generative judge or a baseline.

    Returns scores in the order given (null where one could not be scored), ranks, token counts, between best and
    second the margin and, for a reward model, the Bradley-Terry probability, and the percentile of the margin's size
    among the model's margins on a benchmark where they are known (else null). Of a judge there is also `judge`: every
    request, which completions it showed in which order, the verdict and the judge's reply.

    Parameters:
        model: one of {", ".join(served.live.offer.names)}, or another that the page offers
        prompt: what the user asked, at most {MAX_CHARACTERS} characters
        completions: {MIN_COMPLETIONS} to {MAX_COMPLETIONS} answers to it
        system: a system prompt, or nothing
        score_empty: whether an empty completion is meant
        turns: earlier turns, user and assistant in alternation, each with role and content; at most {2 * MAX_EXCHANGES}
        others: up to {MAX_MODELS - 1} more models; their results stand under "others"
        along: whether the reward at each token of the completions is wanted
    """
    return endpoint
