"""The functions behind the buttons of the tab, connected to its fields."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import resources
from typing import Any

import gradio as gr

from rb_core.audits.robustness.changes import Change
from rb_core.space.html import message_html, notice_html, render
from rb_core.space.limits import InputError
from rb_core.space.try_a_pair.available_models import ALWAYS_AVAILABLE
from rb_core.space.try_a_pair.client_code import page_address
from rb_core.space.try_a_pair.form import IMMEDIATE, Form, Outputs, StarterFields, Updates, model_choices
from rb_core.space.try_a_pair.question import (
    EmptyCompletionError,
    Question,
    checked_models,
    question_from_json,
    question_from_link,
)
from rb_core.space.try_a_pair.result_html import changes_html, result_html
from rb_core.space.try_a_pair.samples import example_question, starter_subsets
from rb_core.space.try_a_pair.service import PairService

# Options of an event whose function scores: as many at once as come, because the service has a waiting line.
SCORING: dict[str, Any] = {"concurrency_limit": None, "show_progress": "minimal", "api_visibility": "private"}


class Handlers:
    """The form, the areas for answers and the service, which all handlers share."""

    def __init__(self, service: PairService, form: Form, outputs: Outputs) -> None:
        self.service = service
        self.form = form
        self.outputs = outputs
        self._filled = [*form.filled_components, *outputs.components]

    def connect_boxes(self) -> None:
        """Let buttons add, remove and reorder text boxes."""
        form, boxes = self.form, self.form.completions.boxes
        form.completions.connect()
        form.turns.connect()
        form.swap.click(lambda first, second: (second, first), boxes[:2], boxes[:2], **IMMEDIATE)

        def shuffle(count: int, *texts: str | None) -> list[Any]:
            order = [*random.sample(range(count), count), *range(count, len(texts))]
            return [texts[index] for index in order]

        form.shuffle.click(shuffle, [form.completions.visible_items, *boxes], boxes, **IMMEDIATE)

    def connect_sample(self, button: gr.Button, question: Question) -> None:
        """Let a button fill in a sample."""
        button.click(lambda: self._fill(question), None, self._filled, **IMMEDIATE)

    def connect_starter(self, starter: StarterFields) -> None:
        """Let a subset of the starter benchmark fill the form, and a button go on to its next example."""

        def fill(subset: Any, position: int) -> Updates:
            examples = starter_subsets().get(str(subset))
            if not examples:
                return {starter.next: gr.update(interactive=False)}
            example = examples[position % len(examples)]
            chosen = ", ".join(str(number) for number in range(1, example.num_chosen + 1))
            subject = f"Completion {chosen} is" if example.num_chosen == 1 else f"Completions {chosen} are"
            note = f"Example {example.id}, {position % len(examples) + 1} of {len(examples)}. {subject} chosen."
            return {
                **self._fill(example_question(example), note),
                starter.position: position,
                starter.next: gr.update(interactive=True),
            }

        outputs = [*self._filled, starter.position, starter.next]
        starter.subset.input(lambda subset: fill(subset, 0), starter.subset, outputs, **IMMEDIATE)
        starter.next.click(
            lambda subset, position: fill(subset, position + 1),
            [starter.subset, starter.position],
            outputs,
            **IMMEDIATE,
        )

    def connect_score(self, button: gr.Button) -> None:
        """Let a button, and the Enter key, score the question in the form."""
        service, form, outputs = self.service, self.form, self.outputs

        # Not named `score`: a handler takes its name as an endpoint, private ones too.
        def answer(request: gr.Request, token_rewards: Any, *values: Any) -> Iterator[Updates]:
            try:
                with service.rate_limited(request):
                    question = service.question(*values)
                    for progress in service.load(question):
                        yield {outputs.note: notice_html(progress)}
                    results = service.score(question, token_rewards is True)
                    address = page_address(request.headers.get("origin"))
                    html = result_html(service.views(results), question, address)
                    yield {outputs.result: html, outputs.changes: "", outputs.note: ""}
            except InputError as error:
                updates = outputs.clear(message_html(str(error)))
                if isinstance(error, EmptyCompletionError):
                    updates[form.score_empty] = gr.update(visible=True)
                yield updates

        events = [button.click, form.prompt.submit, *(box.submit for box in form.completions.boxes)]
        fields = [*outputs.components, form.score_empty]
        scored = gr.on(events, answer, [form.token_rewards, *form.inputs], fields, **SCORING)
        scored.then(None, None, None, js="() => window.rbShowResult('outcome')")

    def connect_what_if(self, button: gr.Button, changes: tuple[Change, ...]) -> None:
        """Let a button show the effect of changes."""
        service = self.service

        def show_effects(request: gr.Request, *values: Any) -> Iterator[str]:
            try:
                with service.rate_limited(request):
                    question, judges = service.without_judges(service.question(*values))
                    for progress in service.load(question):
                        yield notice_html(progress)
                    yield changes_html(service.change_effects(question, changes), judges)
            except InputError as error:
                yield message_html(str(error))

        shown = button.click(show_effects, self.form.inputs, self.outputs.changes, **SCORING)
        shown.then(None, None, None, js="() => window.rbShowResult('shifts')")

    def connect_json(self, pasted: gr.Textbox, button: gr.Button) -> None:
        """Let a button fill in pasted JSON."""

        def fill(text: Any, models: Any) -> Updates:
            try:
                question = question_from_json(text, self.service.models.names, models or ALWAYS_AVAILABLE[:1])
            except InputError as error:
                return {self.outputs.note: message_html(str(error))}
            return {**self._fill(question, "Filled in. Press Score."), pasted: ""}

        button.click(fill, [pasted, self.form.models], [*self._filled, pasted], **IMMEDIATE)

    def connect_link(self, page: gr.Blocks, button: gr.Button) -> None:
        """Let a button put the question into the page's address, and fill in the question of such an address.

        An address with only a `scorer` chooses that model.
        """

        def restore(request: gr.Request) -> Updates:
            models = self.service.models
            choices = model_choices(models)  # more may be available by now than when the page was built
            pair, scorer = (request.query_params.get(name) for name in ("pair", "scorer"))
            try:
                if pair is None:
                    chosen: dict[str, Any] = {"value": list(checked_models(scorer, models.names))} if scorer else {}
                    return {self.form.models: gr.update(choices=choices, **chosen), **self.outputs.clear()}
                question = question_from_link(pair, models.names, ALWAYS_AVAILABLE[:1])
            except InputError as error:
                return {self.form.models: gr.update(choices=choices), self.outputs.note: message_html(str(error))}
            return {
                **self._fill(question, "Filled in from the link. Press Score."),
                self.form.models: gr.update(choices=choices, value=list(question.models)),
            }

        page.load(restore, None, self._filled, **IMMEDIATE)
        script = resources.files(__package__).joinpath("share_link.js").read_text(encoding="utf-8")
        inputs = [self.form.models, self.form.prompt, self.form.system, *self.form.texts]
        button.click(None, inputs, self.outputs.note, js=script)

    def _fill(self, question: Question, note: str = "") -> Updates:
        note_html = render("try_a_pair/note.html", message=note) if note else ""
        return {**self.form.fill(question), **self.outputs.clear(note_html)}
