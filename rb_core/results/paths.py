"""Paths of result, score and transcript files below a results root."""

from __future__ import annotations

from pathlib import Path


def result_path(benchmark: str, model: str) -> Path:
    return Path("results", benchmark, f"{model}.json")


def scores_path(benchmark: str, model: str) -> Path:
    return Path("scores", benchmark, f"{model}.parquet")


def joint_scores_path(benchmark: str) -> Path:
    """Return the path of a file with the scores of many models."""
    return Path("scores", f"{benchmark}.parquet")


def transcript_path(benchmark: str, model: str) -> Path:
    return Path("transcripts", benchmark, f"{model}.parquet")


def root_of(path: Path, place: Path) -> Path | None:
    """Return the results root of a file whose place below it is given; None if the file is at another place."""
    path = path.resolve()
    return path.parents[len(place.parts) - 1] if path.parts[-len(place.parts) :] == place.parts else None
