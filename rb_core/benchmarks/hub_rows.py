"""Read rows of datasets on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from rb_core.benchmarks.files import Rows, table_rows
from rb_core.benchmarks.spec import Source
from rb_core.errors import DataError, first_line, hub_errors
from rb_core.files import atomic_file

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "hf://"
_STREAMED_ROWS = 1024  # held in memory at a time
_ADDRESS = re.compile(r"(?:datasets/)?(?P<repo>[\w.-]+/[\w.-]+)(?::(?:(?P<config>[^:/]+)/)?(?P<split>[^:/]+))?")


def parse_address(address: str) -> Source:
    """Return the source that `hf://ORG/NAME:SPLIT` or `hf://ORG/NAME:CONFIG/SPLIT` names.

    Without a split, its only one is read. Raises DataError for another form.
    """
    match = _ADDRESS.fullmatch(address.removeprefix(PREFIX))
    if match is None:
        raise DataError(f"{address!r}: expected hf://ORG/NAME:SPLIT or hf://ORG/NAME:CONFIG/SPLIT")
    return Source(match["repo"], (match["split"],) if match["split"] else (), config=match["config"])


def hub_rows(source: Source, revision: str | None, *, otherwise: str) -> tuple[Rows, str | None]:
    """Return the rows of a hub dataset and their commit.

    otherwise: what a user can do without the hub, for the error. Raises DataError when the rows cannot be downloaded.
    """
    from datasets import load_dataset

    with _explaining_hub_errors(source, otherwise):
        commit = _commit(source, revision)
        splits = source.splits or (_only_split(source, commit),)
        tables = {split: load_dataset(source.repo, source.config, split=split, revision=commit) for split in splits}
    return chain.from_iterable(_rows(table, source.repo, split) for split, table in tables.items()), commit


def stream_to_file(source: Source, revision: str | None, path: Path) -> None:
    """Stream the rows of a hub dataset into a parquet file, some thousand at a time.

    Raises DataError when the rows cannot be downloaded, and FileError when the file cannot be written.
    """
    import pyarrow.parquet as pq
    from datasets import load_dataset

    with atomic_file(path) as file, _explaining_hub_errors(source, ""):
        commit = _commit(source, revision)
        (split,) = source.splits or (_only_split(source, commit),)
        streamed = load_dataset(source.repo, source.config, split=split, revision=commit, streaming=True)
        tables = streamed.with_format("arrow").iter(_STREAMED_ROWS)
        first = next(tables, None)
        if first is None:
            raise DataError(f"dataset {source.repo}: the split {split} has no rows")
        with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
            for table in chain([first], tables):
                writer.write_table(table.cast(first.schema))


@contextmanager
def _explaining_hub_errors(source: Source, otherwise: str) -> Iterator[None]:
    """Turn an error of the hub inside the block into a DataError of one line."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (*hub_errors(), DatasetsError) as error:
        raise DataError(
            f"dataset {source.repo} cannot be loaded from the hub ({first_line(error)}): check the connection and the "
            f"revision{otherwise}"
        ) from error


def _commit(source: Source, revision: str | None) -> str | None:
    from huggingface_hub import HfApi

    return HfApi().dataset_info(source.repo, revision=revision or source.revision).sha


def _only_split(source: Source, commit: str | None) -> str:
    """Return the dataset's split. Raises DataError that names the choices where there are several."""
    from datasets import get_dataset_config_names, get_dataset_split_names

    configs = [source.config] if source.config else get_dataset_config_names(source.repo, revision=commit)
    if len(configs) > 1:
        raise DataError(
            f"dataset {source.repo} has several configurations: choose {PREFIX}{source.repo}:CONFIG/SPLIT with one of "
            f"{', '.join(configs)}"
        )
    splits = get_dataset_split_names(source.repo, configs[0], revision=commit)
    if len(splits) != 1:
        raise DataError(
            f"dataset {source.repo} has several splits: choose {PREFIX}{source.repo}:SPLIT with one of "
            f"{', '.join(splits)}"
        )
    return str(splits[0])


def _rows(table: Dataset, repo: str, split: str) -> Rows:
    return table_rows(table.with_format("arrow").iter(1024), f"{repo}/{split}", split)
