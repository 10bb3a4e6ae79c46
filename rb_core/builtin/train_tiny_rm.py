"""Train the built-in tiny reward model and write its whole folder, model card included.

    python -m rb_core.builtin.train_tiny_rm --data DIR --out DIR [--seed N] [--steps N] ...

`--data` is a folder with the four public files that `tiny_rm_data` lists. The result is a plain
`LlamaForSequenceClassification` with one label, trained from scratch. The file follows the order of the work:
tokenizer, initial weights, training, evaluation, and saving with the card.
"""

from __future__ import annotations

import argparse
import copy
import functools
import math
import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rb_core.benchmarks.example import Message
from rb_core.builtin.tiny_rm_data import (
    CORRUPTIONS,
    PHRASES,
    SOURCES,
    SYNTHETIC_KINDS,
    AnsweredPrompt,
    AnswerPool,
    PreferencePair,
    Splits,
    Turn,
    answered_prompts,
    corrupt,
    first_sentences,
    read_pairs,
    split_pairs,
    synthetic_pairs,
)
from rb_core.scorers.baseline import BASELINES
from rb_core.stats.intervals import interval

# ---- tokenizer: byte-level BPE of the training split, and the chat template

PAD, BOS, CLOSE = "<|void|>", "<|open|>", "<|shut|>"
ROLE_TOKENS = {"system": "<|setting|>", "user": "<|asker|>", "assistant": "<|helper|>"}
MAX_POSITIONS = 2048  # tokens
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{- '<|setting|>' -}}"
    "{%- elif message['role'] == 'user' -%}{{- '<|asker|>' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<|helper|>' -}}"
    "{%- else -%}{{- raise_exception('unknown role: ' + message['role']) -}}{%- endif -%}"
    "{{- message['content'] | trim -}}{{- eos_token -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|helper|>' -}}{%- endif -%}"
)


def train_tokenizer(pairs: Iterable[PreferencePair], vocab_size: int) -> Any:
    """Train the BPE on the texts of the pairs and wrap it as a transformers tokenizer with the chat template."""
    bpe = Tokenizer(models.BPE())
    # With so little text, one form of each word matters more than case. Curly quotes and double spaces after a full
    # stop would tell the sources apart.
    bpe.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[\u2018\u2019]"), "'"),
            normalizers.Replace(Regex("[\u201c\u201d]"), '"'),
            normalizers.Replace(Regex("(?<=[.!?:,]) {2,}"), " "),
        ]
    )
    # The leading space gives the first word of a turn the same token as elsewhere.
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, CLOSE, *ROLE_TOKENS.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for p in pairs for text in (*(text for _, text in p.prompt), p.chosen, p.rejected))
    bpe.train_from_iterator(texts, trainer)
    tokenizer_class: Any = PreTrainedTokenizerFast
    return tokenizer_class(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=CLOSE,
        additional_special_tokens=list(ROLE_TOKENS.values()),
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_POSITIONS,
        padding_side="right",
        truncation_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


class Codec:
    """Encodes conversations as the chat template does, but each text only once."""

    def __init__(self, tokenizer: Any) -> None:
        self.pad, self.bos, self.close = (tokenizer.convert_tokens_to_ids(token) for token in (PAD, BOS, CLOSE))
        self.roles = {role: tokenizer.convert_tokens_to_ids(token) for role, token in ROLE_TOKENS.items()}
        self.text_ids: Callable[[str], list[int]] = functools.lru_cache(maxsize=60_000)(
            lambda text: tokenizer.encode(text, add_special_tokens=False)
        )

    def conversation(self, prompt: Sequence[Turn], answer: str, limit: int) -> list[int]:
        """Return the token ids of prompt and answer. Above `limit` the oldest tokens of the prompt are dropped."""
        answer_ids = self._turn("assistant", answer)[: MAX_POSITIONS - 1]
        prompt_ids = [token_id for role, text in prompt for token_id in self._turn(role, text)]
        room = max(limit - 1 - len(answer_ids), 0)
        return [self.bos, *prompt_ids[max(len(prompt_ids) - room, 0) :], *answer_ids]

    def _turn(self, role: str, text: str) -> list[int]:
        return [self.roles[role], *self.text_ids(text.strip()), self.close]


def check_template(tokenizer: Any, codec: Codec, pair: PreferencePair) -> None:
    """Raise RuntimeError if template and codec differ, or the prompt is no prefix of the conversation."""
    turns: list[Turn] = [("system", "Be kind."), *pair.prompt]
    prompt = [{"role": role, "content": text} for role, text in turns]
    conversation = [*prompt, {"role": "assistant", "content": pair.chosen}]
    prompt_ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    ids = tokenizer.apply_chat_template(conversation, return_dict=False)
    same = ids == codec.conversation(turns, pair.chosen, 10**9) and ids[: len(prompt_ids)] == prompt_ids
    if not same or ids.count(codec.bos) != 1 or ids[-1] != codec.close:
        raise RuntimeError("the chat template does not give the tokens that training uses")


# ---- initial weights: word vectors from the text, and heads that look for the answer's words in the question

WIDTH, LAYERS, HEAD_WIDTH = 192, 3, 32
# The first dimensions of the hidden vector carry flags when training starts; word vectors fill the others.
ALWAYS, IS_HELPER, IS_ASKER, ANSWERING, SEEN, SEEN_MEAN, FLAGS = 0, 1, 2, 3, 4, 5, 8
# Rotary embeddings rotate dimensions i and i + 16 of a head together, the slower the larger i is. Dimension 15 hardly
# rotates within a context: what is compared there does not depend on distance.
STILL, ROTATING = 15, (0, 1, 2, 3, 4, 16, 17, 18, 19, 20)


def build_network(codec: Codec, vocab_size: int) -> Any:
    config: Any = LlamaConfig
    model_class: Any = LlamaForSequenceClassification
    return model_class(
        config(
            vocab_size=vocab_size,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=WIDTH // HEAD_WIDTH,
            num_key_value_heads=WIDTH // HEAD_WIDTH,
            max_position_embeddings=MAX_POSITIONS,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            pad_token_id=codec.pad,
            bos_token_id=codec.bos,
            eos_token_id=codec.close,
            num_labels=1,
        )
    )


def co_occurrences(rows: Sequence[Sequence[int]], size: int) -> Tensor:
    """Return (size, size) weighted counts of tokens near each other or in one row; symmetric, zero diagonal."""
    counts = torch.zeros(size * size)
    for distance in range(1, 9):
        long_rows = [torch.tensor(row) for row in rows if len(row) > distance]
        left = torch.cat([row[:-distance] for row in long_rows])
        right = torch.cat([row[distance:] for row in long_rows])
        counts.index_add_(0, left * size + right, torch.full((len(left),), max(1.0 / distance, 0.3)))
    for row in rows:
        present = torch.tensor(sorted(set(row)))
        counts.index_add_(0, (present[:, None] * size + present).flatten(), torch.full((len(present) ** 2,), 0.1))
    table = counts.view(size, size)
    return (table + table.T).fill_diagonal_(0.0)


def word_vectors(rows: Sequence[Sequence[int]], size: int, width: int) -> Tensor:
    """Return (size, width) vectors of equal length: the leading singular vectors of the tokens' positive pointwise
    mutual information, with contexts smoothed to the power 0.75 (Levy, Goldberg and Dagan 2015,
    doi:10.1162/tacl_a_00134)."""
    table = co_occurrences(rows, size)
    word_counts = table.sum(dim=1) + 1e-9
    context_counts = word_counts**0.75
    context_counts *= table.sum() / context_counts.sum()
    information = torch.log(table * table.sum() / (word_counts[:, None] * context_counts) + 1e-12).clamp(min=0.0)
    left, values, _ = torch.svd_lowrank(information, q=width, niter=3)
    return F.normalize(left * values.sqrt(), dim=1) * math.sqrt(width)


def initial_embeddings(codec: Codec, vectors: Tensor) -> Tensor:
    """Return (tokens, WIDTH): a constant, a flag for each role token, and word vectors (random for control tokens)."""
    table = torch.zeros(len(vectors), WIDTH)
    table[:, FLAGS:] = 0.3 * vectors
    special = [codec.pad, codec.bos, codec.close, *codec.roles.values()]
    table[special, FLAGS:] = 0.3 * torch.randn(len(special), WIDTH - FLAGS)
    table[:, ALWAYS] = 0.6
    table[codec.roles["assistant"], IS_HELPER] = 4.0
    table[codec.roles["user"], IS_ASKER] = 4.0
    return table


def zero_head(layer: Any, head: int) -> slice:
    """Set the weights of an attention head to zero, and return its rows."""
    rows = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
    for projection in (layer.q_proj, layer.k_proj, layer.v_proj):
        projection.weight[rows] = 0.0
    layer.o_proj.weight[:, rows] = 0.0
    return rows


@torch.no_grad()
def set_initial_weights(model: Any, codec: Codec, rows: Sequence[Sequence[int]]) -> None:
    """Set the weights so that the model can tell from the start which words of an answer are in its question.

    That is the best simple sign of relevance, and gradient descent is slow to find it. A head of the first layer tells
    every token whether the answer has begun. Three heads of the second compare a token with those before it: if similar
    ones are in the question, they attend less to the answer. A head of the third averages that over the answer. All
    these weights are trained with the rest.
    """
    embeddings = initial_embeddings(codec, word_vectors(rows, model.config.vocab_size, WIDTH - FLAGS))
    model.model.embed_tokens.weight.copy_(embeddings)
    first, second, third = (layer.self_attn for layer in model.model.layers)
    zero_head(first, 0)
    first.q_proj.weight[STILL, ALWAYS] = 1.5
    first.k_proj.weight[STILL, [IS_HELPER, IS_ASKER]] = torch.tensor([1.5, 0.7])
    first.v_proj.weight[0, IS_HELPER] = 0.1
    first.o_proj.weight[ANSWERING, 0] = 0.5
    for head in range(3):
        head_rows = zero_head(second, head)
        projection = torch.linalg.qr(torch.randn(WIDTH - FLAGS, HEAD_WIDTH))[0].T
        projection *= math.sqrt((WIDTH - FLAGS) / HEAD_WIDTH)
        projection[list(ROTATING)] = 0.0
        second.q_proj.weight[head_rows, FLAGS:] = second.k_proj.weight[head_rows, FLAGS:] = 0.75 * projection
        second.v_proj.weight[head_rows.start, ANSWERING] = 0.5
        second.o_proj.weight[SEEN, head_rows.start] = -0.4
    zero_head(third, 0)
    third.q_proj.weight[STILL, ALWAYS] = 1.5
    third.k_proj.weight[STILL, ANSWERING] = 2.0
    third.v_proj.weight[0, SEEN] = 1.0
    third.o_proj.weight[SEEN_MEAN, 0] = 1.0
    model.score.weight[0, SEEN_MEAN] = 1.0


# ---- training: Bradley-Terry loss over human pairs and synthetic ones


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainingOptions:
    """The options of the command line, apart from the folders."""

    seed: int = _option(17, "seed of the split, the initial weights and the training data")
    device: str = _option("cpu", "torch device")
    vocab_size: int = _option(6144, "size of the vocabulary")
    steps: int = _option(1500, "steps of training")
    rate: float = _option(1.5e-3, "peak learning rate")
    groups: int = _option(12, "prompts in one step")
    batch_tokens: int = _option(8192, "padded tokens in one forward pass")
    evaluations: int = _option(3, "how often the validation pairs are scored")


class TokenRows:
    """Token ids of conversations, and the pairs among them as (better row, worse row)."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.pairs: list[tuple[int, int]] = []

    def add(self, row: list[int]) -> int:
        """Add a row and return its index."""
        self.rows.append(row)
        return len(self.rows) - 1


def batches_by_length(rows: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Return indices of rows, shortest first, in batches of at most `tokens` padded tokens."""
    batches: list[list[int]] = [[]]
    for index in sorted(range(len(rows)), key=lambda index: len(rows[index])):
        if batches[-1] and (len(batches[-1]) + 1) * len(rows[index]) > tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


def right_padded(rows: Sequence[Sequence[int]], pad: int, device: str) -> Tensor:
    """Return the rows as one (rows, longest) tensor."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)


def draw_prompt(
    item: AnsweredPrompt, rng: random.Random, items: Sequence[AnsweredPrompt]
) -> tuple[tuple[Turn, ...], int]:
    """Return a variant of the prompt and its limit in tokens.

    Mostly the last question alone, as visitors ask; sometimes a longer conversation, a system prompt or, rarely, a long
    unrelated history, so that the model has seen long inputs.
    """
    prompt = item.prompt
    if rng.random() < 0.85:
        prompt = prompt[-1:] if len(prompt[-1][1].split()) >= 4 else prompt[-3:]
    if prompt[0][0] == "assistant":
        prompt = prompt[1:]
    if rng.random() < 0.01:
        history: list[Turn] = []
        for other in [rng.choice(items) for _ in range(8)]:
            history += [*other.prompt[-1:], ("assistant", other.chosen)]
        return (*history, *prompt), rng.randint(900, 1800)
    if rng.random() < 0.1:
        prompt = (("system", rng.choice(PHRASES["system_prompts"])), *prompt)
    return prompt, 192


def add_group(
    batch: TokenRows, item: AnsweredPrompt, pool: AnswerPool, items: Sequence[AnsweredPrompt], codec: Codec,
    rng: random.Random,
) -> None:  # fmt: skip
    """Add one prompt with a good answer, answers to other prompts, corrupted answers and the human-rejected one.

    A good answer cut back to its first sentences is still good, and then shorter than most bad ones; otherwise the
    model would learn to prefer length. Long answers are cut back more often, because they take the most time.
    """
    prompt, limit = draw_prompt(item, rng, items)
    beginning = first_sentences(item.chosen, rng)
    shorten = len(beginning.split()) >= 4 and rng.random() < (0.7 if len(item.chosen) > 400 else 0.35)
    answer = beginning if shorten else item.chosen
    draws = [pool.draw_other(item, rng, similar_length=rng.random() < 0.5) for _ in range(2)]
    other_answers = [text for text in draws if text is not None]
    if shorten:
        other_answers = [first_sentences(text, rng) if rng.random() < 0.8 else text for text in other_answers]
    corrupted = []
    for kind in rng.choices(list(CORRUPTIONS), list(CORRUPTIONS.values()), k=2):
        bad_answer = corrupt(kind, item.prompt, answer, rng, evaluating=False)
        if bad_answer is not None and bad_answer != answer:
            corrupted.append(bad_answer)

    def add(text: str) -> int:
        return batch.add(codec.conversation(prompt, text, limit))

    good = add(answer)
    other_rows = [add(text) for text in other_answers]
    batch.pairs += [(good, row) for row in other_rows]
    batch.pairs += [(good, add(text)) for text in corrupted]
    if isinstance(item, PreferencePair) and not shorten:
        rejected = add(item.rejected)
        # The human-rejected answer still answers this prompt, so it beats an answer to another one. Its pair counts
        # double: there is one such pair for every four synthetic ones.
        batch.pairs += [(good, rejected), (good, rejected), *((rejected, row) for row in other_rows[:1])]


def batch_loss(model: Any, batch: TokenRows, codec: Codec, options: TrainingOptions) -> tuple[Tensor, float]:
    """Return the Bradley-Terry loss with a small penalty on the size of rewards, and the share of correct pairs."""
    rewards = torch.zeros(len(batch.rows), device=options.device)
    for indices in batches_by_length(batch.rows, options.batch_tokens):
        ids = right_padded([batch.rows[index] for index in indices], codec.pad, options.device)
        last = torch.tensor([len(batch.rows[index]) - 1 for index in indices], device=options.device)
        # Right padding needs no mask: attention is causal, so no token before the padding sees it.
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        scores = model.score(hidden[torch.arange(len(indices)), last]).squeeze(-1)
        rewards = rewards.index_copy(0, torch.tensor(indices, device=options.device), scores)
    better, worse = torch.tensor(batch.pairs, device=options.device).unbind(dim=1)
    margin = rewards[better] - rewards[worse]
    loss = F.softplus(-margin).mean() + 0.003 * rewards.square().mean()
    return loss, float((margin > 0).float().mean())


def build_optimizer(model: Any) -> torch.optim.AdamW:
    """Return AdamW with a lower rate for the word vectors, so that rare words keep theirs."""
    embeddings = [model.model.embed_tokens.weight]
    others = [weight for name, weight in model.named_parameters() if "embed_tokens" not in name]
    groups = [{"params": others, "scale": 1.0}, {"params": embeddings, "scale": 0.3}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)


def learning_rate(step: int, options: TrainingOptions) -> float:
    """Return the rate of a linear warm-up over 30 steps and a cosine down to 2% of the peak."""
    cosine = 0.02 + 0.49 * (1.0 + math.cos(math.pi * step / options.steps))
    return options.rate * min(1.0, (step + 1) / 30) * cosine


def train(splits: Splits, codec: Codec, vocab_size: int, options: TrainingOptions) -> Any:
    """Train the classifier and return it with the weights that do best in validation."""
    torch.manual_seed(options.seed)
    model = build_network(codec, vocab_size)
    answers = [(pair.prompt[-1:], text) for pair in splits.train for text in (pair.chosen, pair.rejected)]
    set_initial_weights(model, codec, [codec.conversation(prompt, text, 512) for prompt, text in answers])
    model.to(options.device)
    rng = random.Random(options.seed + 2)
    items = [item for item in answered_prompts(splits.train) if len(item.chosen.split()) >= 3]
    pool, queue, optimizer = AnswerPool(items), list[AnsweredPrompt](), build_optimizer(model)
    evaluated_steps = {round(options.steps * (n + 1) / options.evaluations) for n in range(options.evaluations)}
    best_accuracy, best_weights, started, correct = -1.0, None, time.monotonic(), 0.5
    for step in range(options.steps):
        model.train()
        if len(queue) < options.groups:
            queue = rng.sample(items, len(items))
        batch = TokenRows()
        for item in queue[: options.groups]:
            add_group(batch, item, pool, items, codec, rng)
        queue = queue[options.groups :]
        loss, correct_in_batch = batch_loss(model, batch, codec, options)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options) * group["scale"]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        correct += 0.04 * (correct_in_batch - correct)
        progress = f"step {step + 1}/{options.steps}"
        if step % 50 == 0:
            print(f"{progress}: {correct:.3f} of pairs correct, {time.monotonic() - started:.0f} s", flush=True)
        if step + 1 in evaluated_steps:
            human, synthetic = validation_accuracy(model, splits.validation, codec, options)
            print(f"{progress}: validation: human {human:.3f}, synthetic {synthetic:.3f}", flush=True)
            if human + synthetic >= best_accuracy:
                best_accuracy, best_weights = human + synthetic, copy.deepcopy(model.state_dict())
    if best_weights is not None:
        model.load_state_dict(best_weights)
    return model


# ---- evaluation: accuracy by source, beside the baselines'


def rewards_of(model: Any, rows: Sequence[Sequence[int]], pad: int, options: TrainingOptions) -> list[float]:
    rewards = [0.0] * len(rows)
    model.eval()
    with torch.inference_mode():
        for indices in batches_by_length(rows, options.batch_tokens):
            ids = right_padded([rows[index] for index in indices], pad, options.device)
            logits = model(input_ids=ids, attention_mask=(ids != pad).long(), use_cache=False).logits
            for index, value in zip(indices, logits[:, 0].float().tolist(), strict=True):
                rewards[index] = value
    return rewards


def credit(chosen: float, rejected: float) -> float:
    """Return 1.0, 0.5 or 0.0 for a chosen answer that scores higher, the same or lower."""
    return 1.0 if chosen > rejected else 0.5 if chosen == rejected else 0.0


def model_credits(model: Any, pairs: Sequence[PreferencePair], codec: Codec, options: TrainingOptions) -> list[float]:
    # Many pairs share their chosen answer: each text is scored only once.
    texts = list(dict.fromkeys((p.prompt, text) for p in pairs for text in (p.chosen, p.rejected)))
    rows = [codec.conversation(prompt, text, MAX_POSITIONS) for prompt, text in texts]
    reward = dict(zip(texts, rewards_of(model, rows, codec.pad, options), strict=True))
    return [credit(reward[p.prompt, p.chosen], reward[p.prompt, p.rejected]) for p in pairs]


def baseline_credits(name: str, pairs: Sequence[PreferencePair], seed: int) -> list[float]:
    score = BASELINES[name](seed)
    prompts = [tuple(Message(role=role, content=text) for role, text in pair.prompt) for pair in pairs]
    return [
        credit(score(prompt, pair.chosen), score(prompt, pair.rejected))
        for prompt, pair in zip(prompts, pairs, strict=True)
    ]


def validation_accuracy(
    model: Any, pairs: Sequence[PreferencePair], codec: Codec, options: TrainingOptions
) -> tuple[float, float]:
    """Return the accuracy on human pairs and the mean accuracy over the kinds of synthetic pairs."""
    sample = random.Random(options.seed).sample(list(pairs), min(len(pairs), 100))
    synthetic = synthetic_pairs(sample, options.seed)
    human_credits = model_credits(model, pairs, codec, options)
    credits_by_kind: dict[str, list[float]] = {kind: [] for kind in SYNTHETIC_KINDS}
    for pair, value in zip(synthetic, model_credits(model, synthetic, codec, options), strict=True):
        credits_by_kind[pair.source].append(value)
    means = {kind: sum(values) / len(values) for kind, values in credits_by_kind.items() if values}
    print("  " + ", ".join(f"{kind} {value:.2f}" for kind, value in means.items()), flush=True)
    return sum(human_credits) / max(1, len(human_credits)), sum(means.values()) / max(1, len(means))


# ---- saving: the folder, and the card with the accuracy of the reloaded checkpoint

CARD_BASELINES = ("longest", "shortest", "random", "prompt-overlap")


def accuracy_table(pairs: Sequence[PreferencePair], results: Sequence[float], sources: Sequence[str], seed: int) -> str:
    """Return Markdown: accuracy by source, of all pairs, and of those whose chosen answer is longer or shorter."""
    baselines = [baseline_credits(name, pairs, seed) for name in CARD_BASELINES]
    indices = {source: [i for i, pair in enumerate(pairs) if pair.source == source] for source in sources}
    indices["all"] = list(range(len(pairs)))
    indices["chosen is longer"] = [i for i, pair in enumerate(pairs) if len(pair.chosen) > len(pair.rejected)]
    indices["chosen is shorter"] = [i for i, pair in enumerate(pairs) if len(pair.chosen) < len(pair.rejected)]
    lines = [
        f"| pairs | count | accuracy, % | 95% interval | {' | '.join(CARD_BASELINES)} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, kept in indices.items():
        if kept:
            accuracy, *others = (sum(values[i] for i in kept) / len(kept) for values in (results, *baselines))
            low, high = interval(accuracy, accuracy * (1 - accuracy) / len(kept), len(kept))
            cells = " | ".join(f"{100 * value:.1f}" for value in others)
            ends = f"{100 * low:.1f}-{100 * high:.1f}"
            lines.append(f"| {name} | {len(kept)} | {100 * accuracy:.1f} | {ends} | {cells} |")
    return "\n".join(lines)


def save_model(model: Any, tokenizer: Any, out: Path) -> None:
    """Write configuration, tokenizer, and weights as float16."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["LlamaForSequenceClassification"]
    model.float().cpu().save_pretrained(out)
    tokenizer.save_pretrained(out)
    # The configuration still declares float32, so that the model runs in it; only the file is halved.
    path = out / "model.safetensors"
    save_file({name: w.half().contiguous() for name, w in load_file(path).items()}, path, {"format": "pt"})
    path.chmod(0o644)  # safetensors makes it readable by its owner only


def reload_model(out: Path, device: str) -> tuple[Any, Any]:
    """Load (model, tokenizer) as a user of the folder does."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(out, dtype="auto")
    tokenizer: Any = AutoTokenizer.from_pretrained(out)
    if model.dtype != torch.float32 or model.config.pad_token_id != tokenizer.pad_token_id:
        raise RuntimeError("the saved folder does not load in float32 with the tokenizer's pad token")
    return model.to(device), tokenizer


def write_card(out: Path, model: Any, tokenizer: Any, splits: Splits, options: TrainingOptions, started: float) -> None:
    """Measure the reloaded model on the held-out pairs and write README.md from the template of the card."""
    codec, human = Codec(tokenizer), splits.held_out
    synthetic = synthetic_pairs(human, options.seed + 3)
    tables = {
        name: accuracy_table(pairs, model_credits(model, pairs, codec, options), sources, options.seed)
        for name, pairs, sources in (("human", human, SOURCES), ("synthetic", synthetic, SYNTHETIC_KINDS))
    }
    counts = {
        source: " / ".join(str(sum(pair.source == source for pair in split)) for split in splits) for source in SOURCES
    }
    on_gpu = torch.device(options.device).type == "cuda"
    cpu = f"{torch.get_num_threads()} CPU threads ({platform.machine()})"
    card = Path(__file__).with_name("tiny_rm_card.md").read_text(encoding="utf-8")
    card = card.format(
        parameters=f"{sum(weight.numel() for weight in model.parameters()):,}",
        size=sum(file.stat().st_size for file in out.iterdir() if file.name != "README.md") / 1e6,
        context=MAX_POSITIONS,
        vocabulary=f"{len(tokenizer):,}",
        minutes=(time.monotonic() - started) / 60,
        hardware=torch.cuda.get_device_name() if on_gpu else cpu,
        options=options,
        **counts,
        **tables,
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    print("\n\n".join(tables.values()), flush=True)


def parse_arguments(arguments: Sequence[str] | None) -> tuple[Path, Path, TrainingOptions]:
    """Return (data folder, output folder, options)."""
    parser = argparse.ArgumentParser(description="Train the built-in tiny reward model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the four data files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    for option in fields(TrainingOptions):
        name, kind = option.name.replace("_", "-"), type(option.default)
        parser.add_argument(f"--{name}", type=kind, default=option.default, help=option.metadata["help"])
    values = vars(parser.parse_args(arguments))
    return values.pop("data"), values.pop("out"), TrainingOptions(**values)


def main(arguments: Sequence[str] | None = None) -> None:
    data, out, options = parse_arguments(arguments)
    started = time.monotonic()
    splits = split_pairs(read_pairs(data), options.seed)
    tokenizer = train_tokenizer(splits.train, options.vocab_size)
    codec = Codec(tokenizer)
    for pair in splits.train[:20]:
        check_template(tokenizer, codec, pair)
    print(f"{len(splits.train)} training pairs, {len(tokenizer)} tokens in the vocabulary", flush=True)
    save_model(train(splits, codec, len(tokenizer), options), tokenizer, out)
    write_card(out, *reload_model(out, options.device), splits, options, started)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    main()
