"""Read and write the Parquet manifests; the same content gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from selfieavatar.errors import UserError
from selfieavatar.io.facts import misfit
from selfieavatar.io.files import atomic_file
from selfieavatar.io.schemas import SCHEMAS

MOST_BYTES = 1 << 30  # unpacked; an hour at 60 frames/s with 478 landmarks has a third
_VALUE_BYTES = 4


class Facts(dict):
    """Facts about a whole manifest by name; asking for one that the file lacks raises UserError with the file."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise UserError(f"{self._path} lacks the fact '{name}'; delete it and run the workflow again")


class Columns(Protocol):
    """Columns by name: a manifest, or a dict of arrays."""

    def __getitem__(self, name: str, /) -> np.ndarray:
        """Look a column up."""


class Manifest:
    """A manifest in memory: `manifest["rotation"]` is a NumPy array, (N,) or (N, k) for list columns."""

    def __init__(self, kind: str, table: pa.Table, metadata: dict[str, Any]) -> None:
        self.kind = kind
        self.table = table
        self.metadata = metadata

    def __len__(self) -> int:
        return self.table.num_rows

    def rows(self, rows: slice) -> Manifest:
        """Take consecutive rows, with the facts about the whole."""
        return Manifest(self.kind, self.table.slice(rows.start, rows.stop - rows.start), self.metadata)

    def __getitem__(self, name: str) -> np.ndarray:
        column = self.table.column(name).combine_chunks()
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            values = column.flatten().to_numpy(zero_copy_only=False)
            return values.reshape(len(self), -1) if len(self) else values.reshape(0, 0)
        return column.to_numpy(zero_copy_only=False)


def write_manifest(
    path: Path | str, kind: str, columns: Mapping[str, Any], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write `columns` as a manifest of `kind`, atomically.

    Args:
        path: file to write.
        kind: name of its schema.
        columns: one array for each column of `SCHEMAS[kind]`, (N,) or (N, k) for list columns.
        metadata: facts about the whole manifest, stored as JSON in the file's schema.

    Raises:
        ValueError: a column is missing, unknown, of another length or type. That is a defect, not bad input.
    """
    schema = SCHEMAS[kind]
    if set(columns) != set(schema.names):
        raise ValueError(f"{kind} manifest: columns {sorted(columns)} instead of {sorted(schema.names)}")
    arrays = [_arrow_array(field, columns[field.name]) for field in schema]
    text = json.dumps(dict(metadata or {}), sort_keys=True, allow_nan=False)
    table = pa.Table.from_arrays(arrays, schema=schema.with_metadata({"selfieavatar": text, "kind": kind}))
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=False, write_statistics=False)


def _arrow_array(field: pa.Field, values: Any) -> pa.Array:
    if not (pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)):
        return pa.array(np.asarray(values), type=field.type, from_pandas=False)
    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 2:
        raise ValueError(f"column {field.name}: shape (N, k) expected, got {values.shape}")
    flat = pa.array(values.reshape(-1), type=pa.float32(), from_pandas=False)
    if pa.types.is_fixed_size_list(field.type):
        return pa.FixedSizeListArray.from_arrays(flat, field.type.list_size)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def read_manifest(path: Path | str, kind: str) -> Manifest:
    """Read a manifest and check that it is of `kind`.

    Raises:
        UserError: the file is missing, damaged, too large, or a manifest of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the manifest {path} is missing; run the workflow again to make it")
    try:
        stored = pq.ParquetFile(path)
        _refuse_giants(stored.metadata)
        schema = stored.schema_arrow
        found = (schema.metadata or {}).get(b"kind", b"?").decode(errors="replace")[:40]
        if found != kind:
            raise UserError(f"{path} is a manifest of kind '{found}', not '{kind}'; make it again")
        if not schema.equals(SCHEMAS[kind]):
            raise UserError(f"the columns of {path} are of another version of the manifest '{kind}'; make it again")
        table = stored.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a readable Parquet file ({_first_line(error)}); delete it and run the workflow again"
        ) from error
    ragged = [field.name for field in schema if pa.types.is_list(field.type) and not _even(table[field.name])]
    if ragged:
        raise UserError(f"the rows of {ragged[0]} in {path} differ in length; delete it and run the workflow again")
    if "time_s" in schema.names and not _finite(table["time_s"]):
        raise UserError(f"the times in {path} are not all numbers; delete it and run the workflow again")
    text = (schema.metadata or {}).get(b"selfieavatar", b"{}")
    try:
        facts = Facts(path, json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"the facts of {path} are not readable; delete it and run the workflow again") from error
    if wrong := misfit(text):
        raise UserError(f"{path} has a wrong fact, {wrong}; delete it and run the workflow again")
    return Manifest(kind, table, facts)


def _refuse_giants(metadata: pq.FileMetaData) -> None:
    """Raise ArrowInvalid where a file claims to unpack to more than any manifest, before it is unpacked."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    values = sum(group.column(index).num_values for group in groups for index in range(metadata.num_columns))
    if max(values * _VALUE_BYTES, sum(group.total_byte_size for group in groups)) > MOST_BYTES:
        raise pa.ArrowInvalid(f"it unpacks to more than {MOST_BYTES >> 20} MB")


def _even(column: pa.ChunkedArray) -> bool:
    """Whether all lists of a column have one length."""
    counts = pc.list_value_length(column)
    return len(counts) == 0 or bool(pc.equal(pc.min(counts), pc.max(counts)).as_py())


def _finite(column: pa.ChunkedArray) -> bool:
    """Whether all of a column are finite numbers."""
    return bool(pc.all(pc.is_finite(column), min_count=0).as_py())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def frame_rate(decode: Manifest) -> float:
    """Read the frames per second of a clip from its decode manifest; 25 where its source does not say."""
    return float(decode.metadata["fps"] or 25.0)
