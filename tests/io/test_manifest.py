"""Manifests keep their content, refuse another's, and give the same bytes for the same content."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io import manifest
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.io.schemas import SCHEMAS
from tests.training.makers import write_manifests

COLUMNS = {
    "frame": np.arange(3),
    "found": [True, False, True],
    "points_px": np.array([[1, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]], dtype=np.float32),
    "depth": np.zeros((3, 2)),
    "confidence": [0.5, 0.0, 1.0],
}


def test_round_trip(tmp_path):
    path = tmp_path / "landmarks.parquet"
    write_manifest(path, "landmarks", COLUMNS, {"count": 2})
    found = read_manifest(path, "landmarks")
    assert len(found) == 3 and found.metadata == {"count": 2}
    np.testing.assert_array_equal(found["points_px"], COLUMNS["points_px"])
    assert found["found"].tolist() == COLUMNS["found"]


def test_same_content_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_manifest(tmp_path / name, "landmarks", COLUMNS, {"count": 2, "set": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_empty_manifest(tmp_path):
    empty = {name: np.zeros((0, 2) if name in ("points_px", "depth") else 0) for name in COLUMNS}
    write_manifest(tmp_path / "e", "landmarks", empty)
    assert len(read_manifest(tmp_path / "e", "landmarks")) == 0


def test_other_scripts_can_read_it_with_units(tmp_path):
    write_manifest(tmp_path / "m", "landmarks", COLUMNS)
    schema = pq.read_schema(tmp_path / "m")
    assert schema.field("points_px").metadata[b"unit"] == b"px of the frame"


def test_wrong_columns_and_shapes_are_defects(tmp_path):
    with pytest.raises(ValueError, match="columns"):
        write_manifest(tmp_path / "m", "landmarks", {"frame": [0]})
    with pytest.raises(ValueError, match="shape"):
        write_manifest(tmp_path / "m", "landmarks", {**COLUMNS, "depth": [0, 1, 2]})
    assert not list(tmp_path.iterdir())


def test_missing_damaged_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_manifest(tmp_path / "none.parquet", "fit")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_manifest(tmp_path / "broken.parquet", "fit")
    write_manifest(tmp_path / "m", "landmarks", COLUMNS)
    with pytest.raises(UserError, match="m is a manifest of kind 'landmarks', not 'fit'"):
        read_manifest(tmp_path / "m", "fit")


def test_wrong_types_and_damaged_facts_are_refused(tmp_path):
    path = tmp_path / "m.parquet"
    write_manifest(path, "landmarks", COLUMNS)
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "frame", table["frame"].cast("int64")), path)
    with pytest.raises(UserError, match="the columns of .* are of another version of the manifest 'landmarks'"):
        read_manifest(path, "landmarks")
    pq.write_table(table.replace_schema_metadata({"kind": "landmarks", "selfieavatar": "{broken"}), path)
    with pytest.raises(UserError, match="the facts of .* are not readable"):
        read_manifest(path, "landmarks")


@pytest.mark.parametrize("facts", ["[" * 100_000, '{"a":' * 100_000, "[1]", "5", '"x"', b"\xff\xfe", "9" * 5000])
def test_facts_that_are_none_are_refused(tmp_path, facts):
    write_manifest(tmp_path / "m", "landmarks", COLUMNS)
    table = pq.read_table(tmp_path / "m")
    pq.write_table(table.replace_schema_metadata({"kind": "landmarks", "selfieavatar": facts}), tmp_path / "m")
    with pytest.raises(UserError, match="the facts of .* are not readable"):
        read_manifest(tmp_path / "m", "landmarks")


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ('{"fps": "$(touch x)"}', "'fps"),
        ('{"fps": NaN}', "'fps"),
        ('{"landmark_set": ["ibug68"]}', "'landmark_set'"),
        ('{"size_px": 0}', "'size_px'"),
        ('{"crop_px": [0, 0]}', "'crop_px'"),
        ('{"left_out": [[0, -1, "x"]]}', "'left_out.0.1'"),
        ('{"static_camera": 1}', "'static_camera'"),
    ],
)
def test_facts_of_wrong_types_are_refused_where_they_are_read(tmp_path, facts, wrong):
    write_manifest(tmp_path / "m", "landmarks", COLUMNS)
    table = pq.read_table(tmp_path / "m")
    pq.write_table(table.replace_schema_metadata({"kind": "landmarks", "selfieavatar": facts}), tmp_path / "m")
    with pytest.raises(UserError, match=f"m has a wrong fact, {re.escape(wrong)}"):
        read_manifest(tmp_path / "m", "landmarks")


def test_rows_of_different_lengths_are_refused_when_the_file_is_read(tmp_path):
    write_manifest(tmp_path / "m", "landmarks", COLUMNS)
    table = pq.read_table(tmp_path / "m")
    ragged = pa.array([[1.0], [1.0, 2.0], [3.0]], SCHEMAS["landmarks"].field("depth").type)
    place = table.schema.get_field_index("depth")
    pq.write_table(table.set_column(place, table.schema.field("depth"), ragged), tmp_path / "m")
    with pytest.raises(UserError, match="rows of depth in .* differ in length"):
        read_manifest(tmp_path / "m", "landmarks")


def test_a_manifest_that_unpacks_to_a_multiple_of_its_size_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    many = {name: np.zeros((100_000, 20) if name in ("points_px", "depth") else 100_000) for name in COLUMNS}
    write_manifest(tmp_path / "m", "landmarks", many | {"found": np.zeros(100_000, bool)}, {})
    assert (tmp_path / "m").stat().st_size < 1 << 20
    monkeypatch.setattr(manifest, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    with pytest.raises(UserError, match="unpacks to more than 1 MB"):
        read_manifest(tmp_path / "m", "landmarks")


def test_a_fact_that_is_not_there_is_named(tmp_path):
    write_manifest(tmp_path / "m", "landmarks", COLUMNS)
    with pytest.raises(UserError, match="m lacks the fact 'size_px'"):
        read_manifest(tmp_path / "m", "landmarks").metadata["size_px"]


def test_every_column_says_what_it_is():
    for schema in SCHEMAS.values():
        assert all(field.metadata and field.metadata[b"doc"] for field in schema)


@pytest.mark.parametrize("time_s", [np.nan, np.inf])
def test_times_that_are_no_numbers_are_refused(tmp_path, time_s):
    """Nothing can be drawn over them, and no frame is before another."""
    write_manifests(tmp_path, 3)
    path = tmp_path / "decode.parquet"
    assert read_manifest(path, "decode")["time_s"][1] == 0.1
    table = pq.read_table(path)
    place = table.schema.get_field_index("time_s")
    odd = pa.array([0.0, time_s, 0.2], pa.float64())
    pq.write_table(table.set_column(place, table.schema.field(place), odd), path)
    with pytest.raises(UserError, match=r"times in .*decode.parquet are not all numbers"):
        read_manifest(path, "decode")
