"""Records of models: settings that their checkpoints do not declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rb_core.models.chat_format import SystemRole
from rb_core.models.options import SINGLE_OUTPUT, Kind, Output

# Prompt and completion as a sentence pair, as the DeBERTa reward models were trained; the turns of a longer prompt are
# joined by blank lines.
_PAIR_TEMPLATE = (
    "{{ cls_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' and loop.last %}{{ sep_token }}{{ message['content'] }}{{ sep_token }}"
    "{%- else %}{{ message['content'] }}"
    "{%- if not loop.last and not (loop.revindex == 2 and loop.nextitem['role'] == 'assistant') %}{{ '\\n\\n' }}"
    "{%- endif %}{%- endif %}"
    "{%- endfor %}"
)


@dataclass(frozen=True)
class ModelRecord:
    """Settings of a model beyond its checkpoint."""

    name: str
    kind: Kind
    description: str = ""
    chat_template: str | None = None
    system_role: SystemRole = "native"
    output: Output = SINGLE_OUTPUT
    max_length: int | None = None
    folder: str | None = None  # PACKAGE/FOLDER of a checkpoint that is installed with this package


_RECORDS = (
    ModelRecord(
        "builtin/tiny-rm",
        "classifier",
        "A tiny reward model of this package, for demonstration and tests",
        folder="rb_core.builtin/tiny_rm",
    ),
    ModelRecord("baseline/longest", "baseline", "Prefers the completion with the most characters"),
    ModelRecord("baseline/shortest", "baseline", "Prefers the completion with the fewest characters"),
    ModelRecord("baseline/random", "baseline", "A random score, from a hash of seed, prompt and completion"),
    ModelRecord("baseline/constant", "baseline", "The same score for every completion: only ties"),
    ModelRecord("baseline/prompt-overlap", "baseline", "Share of the completion's words that are in the prompt"),
    ModelRecord(
        "Skywork/Skywork-Reward-V2-Qwen3-0.6B", "classifier", "A small, strong classifier on Qwen3", max_length=16384
    ),
    ModelRecord(
        "Skywork/Skywork-Reward-V2-Llama-3.1-8B", "classifier", "A strong classifier on Llama 3.1", max_length=16384
    ),
    ModelRecord(
        "Skywork/Skywork-Reward-Gemma-2-27B-v0.2",
        "classifier",
        "A classifier on Gemma 2, whose template refuses system messages",
        system_role="fold",
    ),
    ModelRecord(
        "OpenAssistant/reward-model-deberta-v3-large-v2",
        "classifier",
        "An encoder that reads prompt and completion as a sentence pair",
        chat_template=_PAIR_TEMPLATE,
        system_role="fold",
        max_length=512,
    ),
)
RECORDS: Mapping[str, ModelRecord] = {record.name: record for record in _RECORDS}
