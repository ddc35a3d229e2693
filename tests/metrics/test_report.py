"""metrics.json holds nothing that JSON lacks."""

import json

import numpy as np
from packaging.version import Version

from stages.metrics.report import as_json, package_versions


def test_what_is_not_finite_becomes_null_and_floats_are_short():
    value = as_json({"a": float("nan"), "b": [float("inf"), 1 / 3], "c": {"d": np.float64(2.0)}, "e": None, "f": 3})
    text = json.dumps(value, allow_nan=False)
    assert json.loads(text) == {"a": None, "b": [None, 0.333333], "c": {"d": 2.0}, "e": None, "f": 3}


def test_versions_are_versions():
    versions = package_versions()
    assert {"python", "torch", "numpy"} <= set(versions)
    assert all(Version(text) for text in versions.values())
