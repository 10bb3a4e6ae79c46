"""The speed benchmark measures what it says: the same scores by every way, and the tokens that each needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.perf import coverage, generation, gpu, score_file, scoring
from tests.perf.scoring import Lengths, Line

SHAPE = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SHAPE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200, "initializer_range": 0.5}
LENGTHS = [Lengths(30, (5, 40)), Lengths(7, (9, 1, 20)), Lengths(50, (3, 3))]
CPU = torch.device("cpu")
UNIQUE = 30 + 45 + 7 + 30 + 50 + 6


@pytest.fixture(scope="module", params=scoring.KINDS)
def lines(request: pytest.FixtureRequest) -> dict[str, Line]:
    """Measure a very small model; return the lines by way."""
    rig = scoring.Rig.build(request.param, SHAPE, CPU, torch.float32)
    work = scoring.make_work(LENGTHS, SHAPE["vocab_size"])
    return {line.way: line for line in scoring.compare(rig, "test", work, rounds=2)}


def test_all_ways_give_the_models_own_scores(lines: dict[str, Line]) -> None:
    assert [way for way, line in lines.items() if not line.difference < 1e-4] == []


def test_packed_reads_each_token_once(lines: dict[str, Line]) -> None:
    packed = lines["packed"]
    predicted_only = 7 if packed.kind == "implicit" else 0  # the last token of each completion
    assert packed.tokens == packed.unique_tokens == UNIQUE - predicted_only
    assert all(lines[way].tokens > UNIQUE for way in (*scoring.CONVENTIONAL, "bucketed"))
    assert lines["single"].tokens == sum(each.prompt + n for each in LENGTHS for n in each.completions)


def test_ratios_are_to_the_fastest_conventional_way(lines: dict[str, Line]) -> None:
    (base,) = (line for line in lines.values() if line.conventional)
    assert base.way in scoring.CONVENTIONAL
    assert base.ratio == 1
    assert base.ratios == [1, 1]
    for line in lines.values():
        assert line.ratios == [a / b for a, b in zip(base.seconds, line.seconds, strict=True)]
        assert line.peak_share > 0
    assert all(base.ratio >= lines[way].ratio for way in scoring.CONVENTIONAL)


def test_a_table_names_every_way(lines: dict[str, Line]) -> None:
    for markdown in (False, True):
        text = scoring.table(list(lines.values()), markdown=markdown).splitlines()
        assert len(text) == 1 + markdown + len(scoring.WAYS)
        for row, line in zip(text[1 + markdown :], lines.values(), strict=True):
            assert row.removeprefix("| ").startswith(line.way)
            assert f"x{line.ratio:.2f}" in row
            assert str(line.tokens) in row


def test_a_wrong_score_is_noticed() -> None:
    rig = scoring.Rig.build("classifier", SHAPE, CPU, torch.float32)
    first, second = scoring.make_work([Lengths(40, (9, 9))], SHAPE["vocab_size"])[0]
    assert abs(rig.single(first) - rig.single(second)) > 0.01 * abs(rig.single(first))


def test_completions_share_their_prompt_and_nothing_more() -> None:
    for each in scoring.make_work([Lengths(6, (3,) * 20), Lengths(2, (1, 1))], 40):
        assert len({e.ids[: e.start] for e in each}) == 1
        assert len({e.ids[e.start] for e in each}) == len(each)
        assert all(scoring.PAD not in e.ids for e in each)


def test_conventional_batches_cover_everything_in_dataset_order() -> None:
    work = scoring.make_work([Lengths(3, (2, 2, 2))] * 9 + [Lengths(3, (2,))], 40)
    every = [(i, j) for i, each in enumerate(work) for j in range(len(each))]
    flat = scoring.conventional_batches(work, "transformers")
    assert [cell for batch in flat for cell in batch] == every
    assert [len(batch) for batch in flat] == [8, 8, 8, 4]
    assert scoring.conventional_batches(work, "single") == [[cell] for cell in every]
    by_length = [len(work[i][j].ids) for batch in scoring.conventional_batches(work, "sorted") for i, j in batch]
    assert by_length == sorted(by_length)
    apart = scoring.conventional_batches(work, "reward-bench")
    assert sorted(cell for batch in apart for cell in batch) == every
    assert apart[1] == [(i, 1) for i in range(8)]
    assert apart[-3:] == [[(8, 0), (9, 0)], [(8, 1)], [(8, 2)]]


def test_padding_is_on_the_left() -> None:
    (each,) = scoring.make_work([Lengths(3, (1, 4))], 40)
    ids, mask = scoring.left_padded(each)
    assert mask.tolist() == [[0, 0, 0, 1, 1, 1, 1], [1] * 7]
    assert [row[row != scoring.PAD].tolist() for row in ids] == [list(e.ids) for e in each]


def test_length_table() -> None:
    for work, completions in (("pairs", 2), ("six", 6), ("twenty", 20)):
        lengths = scoring.read_lengths(work)
        assert len(lengths) in (8, 32, 64)
        assert {len(each.completions) for each in lengths} == {completions}
        assert all(0 < length < 2000 for each in lengths for length in (each.prompt, *each.completions))
    assert all(480 <= each.prompt <= 520 for each in lengths)
    assert all(10 <= length <= 80 for each in lengths for length in each.completions)


def test_scaled_work_keeps_its_batches() -> None:
    lengths = scoring.read_lengths("pairs")
    assert scoring.scaled(lengths, 1) == lengths
    assert scoring.scaled(lengths, 0.25) == lengths[:8] + lengths[32:40]
    assert len(scoring.scaled(lengths, 2.5)) == 2.5 * len(lengths)
    assert scoring.scaled(LENGTHS, 0.1) == LENGTHS


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scoring.SHAPES, "tiny", SHAPE)
    monkeypatch.setattr(scoring, "matrix_speed", lambda *_: 1e9)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    row = {"prompt": "Name a river, please.", "chosen": "The Rhine is one of them.", "rejected": "No."}
    data = tmp_path / "mine.jsonl"
    data.write_text(json.dumps(row) + "\n" + json.dumps(row | {"prompt": "Name a lake."}) + "\n")
    scoring.main(["--data", str(data), "--kind", "classifier", "--rounds", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [line["way"] for line in found["lines"]] == list(scoring.WAYS)
    assert {line["work"] for line in found["lines"]} == {"mine.jsonl"}
    assert all(line["ratio"] > 0 and len(line["seconds"]) == 1 for line in found["lines"])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux says how much was in use at most")
def test_peak_memory_is_measured() -> None:
    rig = scoring.Rig.build("implicit", SHAPE | {"vocab_size": 20_000}, CPU, torch.float32)
    work = scoring.make_work([Lengths(10, (200, 200))] * 4, 20_000)
    logits = 8 * 210 * 20_000 * 4
    peak = scoring.peak_memory(rig, work, "transformers")
    assert peak is not None
    assert logits < peak < 6 * logits


def test_the_benchmark_of_replies_compares_the_same_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--requests", "4", "--max-tokens", "3", "--hidden", "64", "--layers", "1", "--rounds", "1")
    monkeypatch.setattr("sys.argv", ["generation", *sizes, "--device", "cpu"])
    generation.main()
    assert "4 replies of at most 3 tokens, 4 alike" in (shown := capsys.readouterr().out)
    assert float(shown.split()[-1]) > 0


def test_the_coverage_simulation_tells_right_from_wrong_rows() -> None:
    """A few repetitions of each table run; a row counts as out of range only beyond the simulation's own error."""
    rows = list(coverage.run(0.005))
    assert {row.table for row in rows} >= {"interval of a score", "false positives", "rank excludes the truth"}
    assert all(row.holds for row in rows if row.table == "gains by leaving out")
    assert coverage.Row("t", "d", 0.955, 1000, (0.93, 0.98)).holds
    assert not coverage.Row("t", "d", 0.90, 1000, (0.93, 0.98)).holds
    assert not coverage.Row("t", "d", 0.995, 1000, (0.93, 0.98)).holds
    assert coverage.Row("t", "d", 0.995, 1000, (0.93, 0.98), open_above=True).holds
    assert not coverage.Row("t", "d", 0.01, 1000, (0.0, 0.0)).holds


def test_the_pipeline_and_score_give_the_same_scores_and_a_ratio(tmp_path: Path) -> None:
    score_file.write_model(tmp_path, SHAPE)
    seconds = score_file.compare(tmp_path, score_file.make_rows(1), rounds=1)
    assert {len(times) for times in seconds.values()} == {1}
    assert min(score_file.ratios(seconds)) > 0


def test_the_checks_for_a_gpu_run_on_the_processor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(scoring, "read_lengths", lambda work: LENGTHS)
    monkeypatch.setitem(scoring.SHAPES, "tiny", SHAPE)
    monkeypatch.setattr(scoring, "matrix_speed", lambda *_: 1e9)
    gpu.main(["--rounds", "1"])
    report = json.loads(capsys.readouterr().out)
    assert {row["architecture"] for row in report["parity"]} == set(gpu.ARCHITECTURES)
    assert all(row["difference"] < 1e-4 for row in report["parity"] if row["dtype"] == "float32")
    assert report["memory"]["failures"] > 0
    assert {line["work"] for line in report["speed"]} == set(scoring.WORKS)
