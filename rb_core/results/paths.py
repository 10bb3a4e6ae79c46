"""Paths of result, score and transcript files below a results root."""

from __future__ import annotations

from pathlib import Path


def result_path(benchmark: str, model: str) -> Path:
    return Path("results", benchmark, f"{model}.json")


def scores_path(benchmark: str, model: str) -> Path:
    return Path("scores", benchmark, f"{model}.parquet")


def transcript_path(benchmark: str, model: str) -> Path:
    return Path("transcripts", benchmark, f"{model}.parquet")
