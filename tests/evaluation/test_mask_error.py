"""The mask's errors: against SciPy's Jaccard distance, and what no mask means."""

import numpy as np
import pytest
from scipy.spatial.distance import jaccard

from selfieavatar.evaluation.mask_error import METRICS, NOT_KNOWN, MaskSheet, mask_error


def test_errors_are_those_of_scipy_and_numpy():
    alpha, matte = np.random.default_rng(1).random((2, 3, 8, 9))
    found = mask_error(alpha, matte)
    for row in range(3):
        wanted = 1 - jaccard((matte[row] >= 0.5).ravel(), (alpha[row] >= 0.5).ravel())
        assert found["mask_iou"][row] == pytest.approx(wanted)
        assert found["mask_mae"][row] == pytest.approx(np.mean(np.abs(alpha[row] - matte[row])))


def test_the_right_mask_has_no_error_and_the_inverted_one_all():
    matte = np.zeros((1, 4, 4))
    matte[:, :2] = 1
    assert mask_error(matte, matte) == {"mask_mae": [0], "mask_iou": [1]}
    assert mask_error(1 - matte, matte) == {"mask_mae": [1], "mask_iou": [0]}


def test_two_empty_masks_agree():
    assert mask_error(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))["mask_iou"] == [1]


def test_a_sheet_averages_over_batches_and_tells_when_there_is_no_mask():
    sheet = MaskSheet()
    assert sheet.summary() is None
    assert sheet.notes() == [f"{name}: {NOT_KNOWN}" for name in METRICS]
    matte = np.ones((3, 4, 4))
    sheet.add(matte[:1], matte[:1])
    sheet.add(np.zeros((2, 4, 4)), matte[1:])
    assert sheet.summary() == {"frames": 3, "mask_mae": pytest.approx(2 / 3), "mask_iou": pytest.approx(1 / 3)}
    assert sheet.per_frame()["mask_iou"].tolist() == [1, 0, 0] and sheet.notes() == []
