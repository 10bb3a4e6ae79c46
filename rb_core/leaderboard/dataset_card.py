"""The dataset card of a results repository on the hub; its text is dataset_card.md.jinja."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined

from rb_core.leaderboard.board import Board
from rb_core.results.schema import Result


def dataset_card(
    boards: Mapping[str, Board],
    results_by_benchmark: Mapping[str, Sequence[Result]],
    columns: Mapping[str, str],
    tables: Mapping[str, str],
    repo: str,
) -> str:
    """Return the card.

    Args:
        columns: descriptions of the tables' columns.
        tables: path of each benchmark's table.
        repo: ORG/NAME of the repository.
    """
    from huggingface_hub import DatasetCardData

    num_results = sum(map(len, results_by_benchmark.values()))
    front_matter = DatasetCardData(
        pretty_name="Reward model results",
        license="apache-2.0",
        language=["en"],
        size_categories=["n<1K" if num_results < 1000 else "1K<n<10K"],
        tags=["reward-model", "leaderboard", "evaluation"],
        configs=[{"config_name": benchmark, "data_files": path} for benchmark, path in tables.items()],
    )
    # The card is Markdown: escaping for HTML would spoil it.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    template = resources.files(__package__).joinpath("dataset_card.md.jinja").read_text(encoding="utf-8")
    card = environment.from_string(template).render(
        front_matter=front_matter.to_yaml(),
        boards=boards,
        results_by_benchmark=results_by_benchmark,
        columns=columns,
        repo=repo,
    )
    return card.rstrip() + "\n"
