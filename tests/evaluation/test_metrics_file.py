"""metrics.json holds nothing that JSON lacks."""

import json

import numpy as np
from packaging.version import Version

from selfieavatar.evaluation.metrics_file import as_json, package_versions


def test_what_is_not_finite_becomes_null_and_floats_are_short():
    numbers = {"d": np.float32(2), "e": np.int64(3)}
    value = as_json({"a": float("nan"), "b": [float("inf"), 1 / 3], "c": numbers, "f": np.float32("nan")})
    text = json.dumps(value, allow_nan=False)
    assert json.loads(text) == {"a": None, "b": [None, 0.333333], "c": {"d": 2.0, "e": 3}, "f": None}


def test_versions_are_versions():
    versions = package_versions()
    assert {"python", "torch", "numpy"} <= set(versions)
    assert all(Version(text) for text in versions.values())
