"""The fields of the tab: their layout, and the updates that fill them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gradio as gr

from rb_core.space.try_a_pair.available_models import AvailableModels
from rb_core.space.try_a_pair.question import MAX_COMPLETIONS, MAX_EXCHANGES, MAX_MODELS, MIN_COMPLETIONS, Question

Updates = dict[Any, Any]
# Options of an event whose function only changes fields.
IMMEDIATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class BoxGroup(NamedTuple):
    """Text boxes of which the first items are visible; an item is a completion, or an earlier question and answer."""

    boxes: list[gr.Textbox]
    boxes_per_item: int
    min_items: int
    visible_items: gr.State
    add: gr.Button
    remove: gr.Button

    @property
    def components(self) -> list[Any]:
        return [self.visible_items, self.add, self.remove, *self.boxes]

    def show(self, items: int, texts: Sequence[str] | None = None) -> Updates:
        """Return updates that show the first items, filled with `texts` if given, and empty the hidden ones."""
        max_items = len(self.boxes) // self.boxes_per_item
        items = min(max(items, self.min_items), max_items)
        updates: Updates = {
            self.visible_items: items,
            self.add: gr.update(interactive=items < max_items),
            self.remove: gr.update(interactive=items > self.min_items),
        }
        for index, box in enumerate(self.boxes):
            if index >= items * self.boxes_per_item:
                updates[box] = gr.update(visible=False, value="")
            else:
                updates[box] = gr.update(visible=True) if texts is None else gr.update(visible=True, value=texts[index])
        return updates

    def connect(self) -> None:
        """Let the buttons show one item more or one less."""
        self.add.click(lambda items: self.show(items + 1), self.visible_items, self.components, **IMMEDIATE)
        self.remove.click(lambda items: self.show(items - 1), self.visible_items, self.components, **IMMEDIATE)


class Form(NamedTuple):
    """The input fields."""

    models: gr.CheckboxGroup
    system: gr.Textbox
    turns: BoxGroup
    prompt: gr.Textbox
    completions: BoxGroup
    swap: gr.Button
    shuffle: gr.Button
    score_empty: gr.Checkbox
    token_rewards: gr.Checkbox

    @property
    def texts(self) -> list[gr.Textbox]:
        return [*self.turns.boxes, *self.completions.boxes]

    @property
    def inputs(self) -> list[Any]:
        """The components of a question, in the order of `PairService.question`."""
        counts = [self.turns.visible_items, self.completions.visible_items]
        return [self.models, self.prompt, self.system, self.score_empty, *counts, *self.texts]

    @property
    def filled_components(self) -> list[Any]:
        """The components that `fill` updates."""
        fields = [self.models, self.prompt, self.system, self.score_empty]
        return [*fields, *self.turns.components, *self.completions.components]

    def fill(self, question: Question) -> Updates:
        """Return updates that show a question; one without models leaves the chosen models as they are."""
        updates: Updates = {
            self.prompt: question.prompt,
            self.system: question.system,
            self.score_empty: gr.update(visible=False, value=False),
            **self.turns.show(len(question.exchanges), [turn["content"] for turn in question.turns]),
            **self.completions.show(len(question.completions), question.completions),
        }
        return {**updates, self.models: list(question.models)} if question.models else updates


class Outputs(NamedTuple):
    """The areas that show HTML, and the content of the first one while there is no result."""

    result: gr.HTML
    changes: gr.HTML
    note: gr.HTML
    waiting: Callable[[], str]

    @property
    def components(self) -> list[gr.HTML]:
        return [self.result, self.changes, self.note]

    def clear(self, note: str = "") -> Updates:
        """Return updates that remove the last result; `note` is HTML."""
        return {self.result: self.waiting(), self.changes: "", self.note: note}


class StarterFields(NamedTuple):
    """The fields that fill in examples of the starter benchmark."""

    subset: gr.Dropdown
    next: gr.Button
    position: gr.State  # of the example in the form, within its subset


def model_choices(models: AvailableModels) -> list[tuple[str, str]]:
    """Return (label, name) of every available model."""
    return [(f"{name} (judge)" if name in models.judges else name, name) for name in models.names]


def small_button(label: str, **options: Any) -> gr.Button:
    return gr.Button(label, size="sm", min_width=0, elem_classes="rb-chip", **options)


def build_form(models: AvailableModels) -> Form:
    """Lay out the fields."""
    model_field = gr.CheckboxGroup(
        model_choices(models),
        value=[models.names[0]],
        label=f"Models (one to {MAX_MODELS})",
        info=_judges_note(models),
        elem_classes="rb-models",
    )
    with gr.Accordion("System prompt and earlier turns (optional)", open=False, elem_classes="rb-system"):
        system = gr.Textbox("", label="System prompt", lines=2, max_lines=8)
        turns = _turns()
    prompt = gr.Textbox("", label="Prompt", lines=2, max_lines=12, placeholder="The user's question")
    boxes = [
        gr.Textbox(
            "",
            label=f"Completion {number}",
            lines=2,
            max_lines=12,
            visible=number <= MIN_COMPLETIONS,
            placeholder="An answer to the prompt",
            elem_classes="rb-completion",
        )
        for number in range(1, MAX_COMPLETIONS + 1)
    ]
    with gr.Row(elem_classes="rb-actions"):
        add, remove = small_button("Add a completion"), small_button("Remove the last", interactive=False)
        swap, shuffle = small_button("Swap 1 and 2"), small_button("Shuffle")
    completions = BoxGroup(boxes, 1, MIN_COMPLETIONS, gr.State(MIN_COMPLETIONS), add, remove)
    score_empty = gr.Checkbox(
        label="Score empty completions", visible=False, info="The model reads an answer without text."
    )
    token_rewards = gr.Checkbox(True, label="Show the score after each token")
    return Form(model_field, system, turns, prompt, completions, swap, shuffle, score_empty, token_rewards)


def _turns() -> BoxGroup:
    boxes = [
        gr.Textbox("", label=f"Earlier {part} {number}", lines=2, max_lines=8, visible=False, elem_classes="rb-turn")
        for number in range(1, MAX_EXCHANGES + 1)
        for part in ("question", "answer")
    ]
    with gr.Row(elem_classes="rb-actions"):
        add = small_button("Add an earlier exchange")
        remove = small_button("Remove the last exchange", interactive=False)
    return BoxGroup(boxes, 2, 0, gr.State(0), add, remove)


def _judges_note(models: AvailableModels) -> str | None:
    """Return the note on judges under the model field, or None without judges."""
    if not models.judges:
        return None
    served = [name for name, judge in models.judges.items() if judge.base_url]
    sent = f" What you type is sent to the server of {' and '.join(served)}." if served else ""
    return f"A judge is a language model that is asked which answer is better.{sent}"
