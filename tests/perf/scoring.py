"""How fast the ways of scoring are, side by side: python -m tests.perf.scoring --markdown --memory

Six ways to the scores of the same token ids, by a model with random weights:

- single: one conversation at a time, without padding, as transformers' pipeline does by default;
- transformers: all completions in dataset order, eight at a time, padded on the left, through the model's own forward;
- sorted: the same after sorting by length;
- reward-bench: the same with eight *prompts* at a time, chosen and rejected apart (of k completions each apart); for
  implicit rewards as its DPO inference and TRL have it, a chosen and a rejected one of eight prompts in one batch;
- bucketed, packed: rb_core's scorers; their time includes planning the batches, as the others' includes padding.

The ways take turns within a round, so that what else the machine does hits all alike. Ratios are to the *conventional*
way, the fastest of the first four, which are run with the model's own defaults. A classifier of those puts its
head on every token; for implicit rewards they take the softmax of length x vocabulary in
float32, as TRL does, of policy and reference.

lengths.csv holds the lengths, in tokens, of every 26th batch of eight pairs of RewardBench v1 (of the 14 subsets that
are freely available), in its own order, and of every 25th batch of eight prompts of RM-Bench with three chosen and
three rejected completions (without math); "twenty" is drawn at random, 10-80 tokens a completion and about 500 a
prompt, like Ties. `shared` is how many tokens all completions of a prompt begin with alike. Measured by a byte-level
BPE tokenizer of 32,000 tokens trained on those texts (4.7 characters a token in prose, 3.3 in code), chat template not
counted. The first of those batches was chosen so that mean lengths and the shares of padding and of shared tokens come
closest to those of all prompts: tokens through the first two ways, in unique ones, are 2.51 and 2.59 for all pairs,
1.98 and 1.64 for all of RM-Bench.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from rb_core.models.chat_format import Encoded
from rb_core.scorers.classifier import ClassifierScorer, head_in_float32
from rb_core.scorers.loading import batch_budget

LENGTHS = Path(__file__).with_name("lengths.csv")
TOKENIZER = Path(__file__).parents[2] / "rb_core" / "builtin" / "tiny_rm"
WORKS = ("pairs", "six", "twenty")
KINDS = ("classifier", "implicit")
CONVENTIONAL = ("single", "transformers", "sorted", "reward-bench")
WAYS = (*CONVENTIONAL, "bucketed", "packed")
DTYPES = {"cpu": "float32", "cuda": "bfloat16"}
BATCH, PAD, BETA, MOST_CHECKED = 8, 0, 0.1, 16

# What transformers' config of each takes.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"model_type": "llama", "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8,
             "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 32000},
    "0.6b": {"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
             "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
             "tie_word_embeddings": True},
    "8b": {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
           "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256},
}  # fmt: skip


class Lengths(NamedTuple):
    """Tokens of a prompt, of each of its completions, and of those how many all completions begin with."""

    prompt: int
    completions: tuple[int, ...]
    shared: int = 0


Work = list[list[Encoded]]  # for each prompt its conversations


@dataclass
class Line:
    """Measurements of one way of scoring one work.

    ratios, ratio: conventional seconds divided by this way's, for each round and for the medians.
    difference: the largest to the model's own pass on one conversation, relative to the largest score; peak_share: of
    the measured speed of matrix products, by what the unique tokens need; peak_bytes: memory beyond the model's.
    """

    kind: str
    work: str
    way: str
    unique_tokens: int
    tokens: int = 0
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    ratio: float = 0.0
    conventional: bool = False
    difference: float = 0.0
    peak_share: float = 0.0
    peak_bytes: int | None = None


# --------------------------------------------------------------------------------------------------------------------
# Work


def read_lengths(work: str) -> list[Lengths]:
    """Return the lengths of one of WORKS."""
    with LENGTHS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["work"] == work]
    return [
        Lengths(int(row["prompt"]), tuple(map(int, row["completions"].split(";"))), int(row["shared"])) for row in rows
    ]


def lengths_of_file(path: Path) -> list[Lengths]:
    """Return the lengths in a preference file, in tokens of the built-in model without its chat template."""
    from rb_core.benchmarks.load import load_benchmark

    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)

    def length(*texts: str) -> int:
        return max(1, sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts))

    examples = load_benchmark(str(path)).examples
    return [Lengths(length(*(m["content"] for m in e.prompt)), tuple(map(length, e.completions))) for e in examples]


def scaled(lengths: Sequence[Lengths], scale: float) -> list[Lengths]:
    """Return the work times `scale`, in whole batches taken evenly from it, in order."""
    blocks = [lengths[i : i + BATCH] for i in range(0, len(lengths), BATCH)]
    count = max(1, round(len(blocks) * scale))
    return [each for i in range(count) for each in blocks[i * len(blocks) // count]]


def make_work(lengths: Sequence[Lengths], vocabulary: int, seed: int = 20) -> Work:
    """Conversations of those lengths: random ids, the shared ones alike, the first after them different."""
    rng = random.Random(seed)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(PAD + 1, vocabulary) for _ in range(count))

    work = []
    for each in lengths:
        common, firsts = (
            draw(each.prompt + each.shared),
            rng.sample(range(PAD + 1, vocabulary), len(each.completions)),
        )
        own = [(first, *draw(length - each.shared - 1)) for first, length in zip(firsts, each.completions, strict=True)]
        work.append([Encoded(ids=common + ids, start=each.prompt, prompt=common) for ids in own])
    return work


def beginning(each: Sequence[Encoded]) -> int:
    """Return the length of the common prefix of conversations."""
    columns = zip(*(e.ids for e in each), strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def unique_tokens(work: Work, kind: str = "classifier") -> int:
    """Tokens that have to be read, with those that all completions of a prompt begin with counted once; for
    log-probabilities the last token of a conversation is only predicted."""
    total = 0
    for each in work:
        common = beginning(each)
        total += common + sum(len(e.ids) - common - (kind == "implicit") for e in each)
    return total


# --------------------------------------------------------------------------------------------------------------------
# Ways


@dataclass
class Rig:
    """The model or models of a kind on their device."""

    kind: str
    models: list[Any]
    device: torch.device
    batch_tokens: int

    @classmethod
    def build(
        cls, kind: str, shape: dict[str, Any], device: torch.device, dtype: torch.dtype, batch_tokens: int | None = None
    ) -> Rig:
        config = AutoConfig.for_model(**shape, pad_token_id=PAD, num_labels=1, max_position_embeddings=1 << 17)
        auto_class: Any = AutoModelForSequenceClassification if kind == "classifier" else AutoModelForCausalLM
        models = []
        for seed in range(1 if kind == "classifier" else 2):
            with torch.random.fork_rng(), device:
                torch.manual_seed(seed)
                models.append(auto_class.from_config(config, dtype=dtype).eval())
        if kind == "classifier":
            head_in_float32(models[0])
        return cls(kind, models, device, batch_tokens or batch_budget(models, device))

    @torch.inference_mode()
    def score(self, work: Work, way: str) -> list[list[float]]:
        """Return the score of every conversation."""
        found = [[0.0] * len(each) for each in work]
        batches = self._conventional(work, way) if way in CONVENTIONAL else self._rb_core(work, way)
        for cells, scores in batches:
            for (i, j), score in zip(cells, scores, strict=True):
                found[i][j] = score
        return found

    @torch.inference_mode()
    def single(self, each: Encoded) -> float:
        """By the model's own forward pass on this conversation, which is not padded."""
        return self._own([each])[0]

    def _conventional(self, work: Work, way: str) -> Iterator[tuple[list[tuple[int, int]], list[float]]]:
        for cells in conventional_batches(work, way, together=2 if self.kind == "implicit" else 1):
            yield cells, self._own([work[i][j] for i, j in cells])

    def _rb_core(self, work: Work, way: str) -> Iterator[tuple[list[tuple[int, int]], list[float]]]:
        scorer = self.scorer(way)
        batches = scorer.batches(work)
        for batch, scores in zip(batches, scorer.stream(batches), strict=True):
            yield list(batch.cells), [score.value for score in scores]

    def scorer(self, batching: str) -> Any:
        no_chat: Any = None
        if self.kind == "classifier":
            return ClassifierScorer(self.models[0], no_chat, self.device, self.batch_tokens, batching=batching)
        from rb_core.scorers.implicit import ImplicitScorer

        policy, reference = self.models
        options = {"batching": batching, "reference": reference, "beta": BETA}
        return ImplicitScorer(policy, no_chat, self.device, self.batch_tokens, **options)

    def _own(self, works: Sequence[Encoded]) -> list[float]:
        ids, mask = (t.to(self.device) for t in left_padded(works))
        if self.kind == "classifier":
            logits = self.models[0](input_ids=ids, attention_mask=mask).logits
            return list(logits[:, 0].float().tolist())
        own = [len(each.ids) - each.start for each in works]
        policy, reference = (_logprobs(model, ids, mask, own) for model in self.models)
        return list((BETA * (policy - reference)).tolist())


def _logprobs(model: Any, ids: Tensor, mask: Tensor, own: Sequence[int]) -> Tensor:
    """The log-probabilities of each row's last `own` tokens, summed up, from the logits of all."""
    logits: Tensor = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    each = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[:, :, 0]
    from_end = torch.arange(ids.shape[1] - 1, 0, -1, device=ids.device)
    return (each * (from_end <= torch.tensor(own, device=ids.device)[:, None])).sum(1)


def conventional_batches(work: Work, way: str, together: int = 1) -> list[list[tuple[int, int]]]:
    """(prompt, completion) of each batch, in dataset order; together: of reward-bench's, how many completions of a
    prompt are in one batch (a chosen one from the first half, a rejected one from the second)."""
    if way != "reward-bench":
        cells = [(i, j) for i, each in enumerate(work) for j in range(len(each))]
        if way == "sorted":
            cells.sort(key=lambda cell: len(work[cell[0]][cell[1]].ids))
        size = 1 if way == "single" else BATCH
        return [cells[i : i + size] for i in range(0, len(cells), size)]
    batches = []
    for first in range(0, len(work), BATCH):
        prompts = range(first, min(first + BATCH, len(work)))
        most = max(len(work[i]) for i in prompts)
        apart = [[(i, j) for i in prompts if j < len(work[i])] for j in range(most)]
        step = most // together
        batches += [[cell for part in apart[j::step] for cell in part] for j in range(step)]
    return batches


def left_padded(works: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask."""
    width = max(len(each.ids) for each in works)
    ids = torch.tensor([[PAD] * (width - len(each.ids)) + list(each.ids) for each in works])
    mask = torch.tensor([[0] * (width - len(each.ids)) + [1] * len(each.ids) for each in works])
    return ids, mask


# --------------------------------------------------------------------------------------------------------------------
# Measurements


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """Collect the number of tokens of each forward pass."""
    found: list[int] = []
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, args: found.append(args[0].numel()))
    try:
        yield found
    finally:
        hook.remove()


def compare(rig: Rig, name: str, work: Work, rounds: int) -> list[Line]:
    """All ways, round by round, and between them how fast the machine is."""
    speed = 0.0
    lines = [Line(rig.kind, name, way, unique_tokens(work, rig.kind)) for way in WAYS]
    singles = {(i, j): rig.single(work[i][j]) for i, j in _some(work)}
    warm_up(rig, WAYS)
    for number in range(rounds):
        for line in lines[number % len(lines) :] + lines[: number % len(lines)]:
            with counted(rig.models[0]) as tokens:
                start = _now(rig.device)
                scores = rig.score(work, line.way)
                line.seconds.append(_now(rig.device) - start)
            line.tokens = sum(tokens)
            line.difference = _difference(scores, singles)
            speed = max(speed, matrix_speed(rig.device, rig.models[0].dtype))
    _relate(lines, _operations(rig, work) / speed)
    return lines


def warm_up(rig: Rig, ways: Sequence[str]) -> None:
    work = make_work([Lengths(8, (4, 6)), Lengths(5, (3, 9))], rig.models[0].config.vocab_size)
    for way in ways:
        rig.score(work, way)


def _some(work: Work) -> list[tuple[int, int]]:
    """A few conversations from all over it, with as many places among their prompt's completions."""
    cells = [(i, j) for i, each in enumerate(work) for j in range(len(each))]
    return [cells[round(n * (len(cells) - 1) / MOST_CHECKED)] for n in range(MOST_CHECKED + 1)]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _difference(scores: list[list[float]], singles: dict[tuple[int, int], float]) -> float:
    return max(abs(scores[i][j] - own) for (i, j), own in singles.items()) / max(map(abs, singles.values()))


def _relate(lines: list[Line], ideal_seconds: float) -> None:
    """Set the ratios to the conventional way, the fastest of CONVENTIONAL."""
    base = min((line for line in lines if line.way in CONVENTIONAL), key=lambda line: median(line.seconds))
    base.conventional = True
    for line in lines:
        line.ratios = [a / b for a, b in zip(base.seconds, line.seconds, strict=True)]
        line.ratio = median(base.seconds) / median(line.seconds)
        line.peak_share = ideal_seconds / median(line.seconds)


def _operations(rig: Rig, work: Work) -> float:
    """Return the operations that the unique tokens need: two per weight, and four per attended key and element of the
    state; for log-probabilities also the head on the completions' tokens."""
    model, config = rig.models[0], rig.models[0].config
    weights = sum(p.numel() for p in model.base_model.parameters()) - model.get_input_embeddings().weight.numel()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    seen = 0
    for each in work:
        common = _triangle(beginning(each))
        seen += common + sum(_triangle(len(e.ids)) - common for e in each)
    total = (
        2 * weights * unique_tokens(work, rig.kind)
        + 4 * seen * config.num_hidden_layers * config.num_attention_heads * width
    )
    if rig.kind == "implicit":
        own = sum(len(e.ids) - e.start for each in work for e in each)
        total += 2 * own * config.hidden_size * config.vocab_size
    return float(total * len(rig.models))


def _triangle(side: int) -> int:
    return side * (side + 1) // 2


def matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(8):
        start = _now(device)
        _ = left @ left
        best = min(best, _now(device) - start)
    return 2 * size**3 / best


def peak_memory(rig: Rig, work: Work, way: str) -> int | None:
    """Bytes beyond those in use once the model is loaded and warm; None where the system does not say. Wants a process
    of its own: what an earlier way has left behind would count."""
    warm_up(rig, [way])
    if rig.device.type == "cuda":
        before = torch.cuda.memory_allocated(rig.device)
        torch.cuda.reset_peak_memory_stats(rig.device)
        rig.score(work, way)
        return torch.cuda.max_memory_allocated(rig.device) - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    except OSError:
        return None
    resident = psutil.Process().memory_info().rss
    rig.score(work, way)
    # not ru_maxrss, which a process takes over from the one that started it
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 for row in status if row.startswith("VmHWM")) - resident


def peak_memory_apart(args: argparse.Namespace, line: Line) -> int | None:
    command = [sys.executable, "-m", "tests.perf.scoring", "--only", line.way, "--kind", line.kind]
    command += ["--model-shape", args.model_shape, "--device", args.device, "--scale", str(args.scale)]
    command += ["--data", str(args.data)] if args.data else ["--work", line.work]
    command += ["--dtype", args.dtype] if args.dtype else []
    command += ["--batch-tokens", str(args.batch_tokens)] if args.batch_tokens else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: int | None = json.loads(done.stdout.splitlines()[-1])
    return found


# --------------------------------------------------------------------------------------------------------------------
# Tables

COLUMNS = (
    "way", "seconds (min-max)", "tokens", "tokens / unique", "ratio (by round)", "memory", "difference", "of peak"
)  # fmt: skip


def row_of(line: Line) -> list[str]:
    low, high = min(line.seconds), max(line.seconds)
    ratios = f"x{line.ratio:.2f} ({min(line.ratios):.2f}-{max(line.ratios):.2f})"
    memory = "" if line.peak_bytes is None else f"{line.peak_bytes / 2**20:,.0f} MiB"
    return [
        line.way + (" (conventional)" if line.conventional else ""),
        f"{median(line.seconds):.2f} ({low:.2f}-{high:.2f})",
        f"{line.tokens:,}",
        f"{line.tokens / line.unique_tokens:.2f}",
        ratios,
        memory,
        f"{line.difference:.0e}",
        f"{line.peak_share:.0%}",
    ]


def table(lines: Sequence[Line], *, markdown: bool = False) -> str:
    """One row a way; the first column flush left, the others right."""
    rows = [list(COLUMNS), *map(row_of, lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    texts = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    if not markdown:
        return "\n".join("  ".join(row) for row in texts)
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (texts[0], rule, *texts[1:]))


def machine(device: torch.device) -> str:
    """Processor, cores, and versions."""
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        names = [row.partition(":")[2].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
        name = names[0] if names else name
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{name}, {os.cpu_count()} cores, {versions}"


# --------------------------------------------------------------------------------------------------------------------
# Command line


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.perf.scoring", description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--kind", choices=(*KINDS, "all"), default="all")
    made.add_argument("--work", choices=(*WORKS, "all"), default="all")
    made.add_argument("--data", type=Path, help="take the lengths from this preference file instead")
    made.add_argument("--scale", type=float, default=1.0, help="how many times the work (0.5: half the batches)")
    made.add_argument("--model-shape", choices=SHAPES, default="tiny")
    made.add_argument("--device", choices=DTYPES, default="cpu")
    made.add_argument("--dtype", help="default: bfloat16 on cuda, else float32")
    made.add_argument("--batch-tokens", type=int, help="default: what rb_core takes")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--memory", action="store_true", help="measure peak memory too, each way in its own process")
    made.add_argument("--only", choices=WAYS, help="run one way once and print its peak memory in bytes")
    made.add_argument("--markdown", action="store_true")
    made.add_argument("--json", action="store_true")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    device = torch.device(args.device)
    if device.type == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
    works = works_of(args)
    kinds = KINDS if args.kind == "all" else (args.kind,)
    if args.only:
        print(json.dumps(peak_memory(rig_of(args, kinds[0]), next(iter(works.values())), args.only)))
        return
    say = (lambda *_: None) if args.json else print
    about = f"{machine(device)}; model shape {args.model_shape}, {args.dtype or DTYPES[device.type]}"
    say(about)
    every = []
    for kind in kinds:
        rig = rig_of(args, kind)
        for name, work in works.items():
            lines = compare(rig, name, work, args.rounds)
            for line in lines if args.memory else ():
                line.peak_bytes = peak_memory_apart(args, line)
            every += lines
            counts = (
                f"{len(work)} prompts, {sum(map(len, work))} completions, {unique_tokens(work, kind):,} unique tokens"
            )
            say(f"\n{kind}, {name}: {counts}\n\n{table(lines, markdown=args.markdown)}")
    if args.json:
        print(json.dumps({"machine": about, "lines": [asdict(line) for line in every]}))


def works_of(args: argparse.Namespace) -> dict[str, Work]:
    """Return the works that the options name."""
    if args.data:
        lengths = {args.data.name: lengths_of_file(args.data)}
    else:
        lengths = {name: read_lengths(name) for name in (WORKS if args.work == "all" else (args.work,))}
    vocabulary = SHAPES[args.model_shape]["vocab_size"]
    return {name: make_work(scaled(each, args.scale), vocabulary) for name, each in lengths.items()}


def rig_of(args: argparse.Namespace, kind: str) -> Rig:
    device = torch.device(args.device)
    dtype = getattr(torch, args.dtype or DTYPES[device.type])
    return Rig.build(kind, SHAPES[args.model_shape], device, dtype, args.batch_tokens)


if __name__ == "__main__":
    main()
