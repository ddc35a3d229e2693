"""Test the guided filter against its definition, window by window."""

import numpy as np
import pytest

from selfieavatar.matting.guided import box_mean, guided_filter


def naive_guided_filter(guide, mask, radius, epsilon):
    """Compute equations 19 to 21 of He et al. 2013 by loops and np.linalg.solve."""
    height, width = mask.shape
    slope, offset = np.zeros((height, width, 3)), np.zeros((height, width))
    pad = ((radius, radius), (radius, radius))
    guide_padded, mask_padded = np.pad(guide, (*pad, (0, 0)), mode="reflect"), np.pad(mask, pad, mode="reflect")
    for y in range(height):
        for x in range(width):
            window = slice(y, y + 2 * radius + 1), slice(x, x + 2 * radius + 1)
            colours, values = guide_padded[window].reshape(-1, 3), mask_padded[window].reshape(-1)
            covariance = np.cov(colours.T, bias=True) + epsilon * np.eye(3)
            cross = ((colours - colours.mean(0)) * (values - values.mean())[:, None]).mean(0)
            slope[y, x] = np.linalg.solve(covariance, cross)
            offset[y, x] = values.mean() - slope[y, x] @ colours.mean(0)
    out = np.zeros((height, width))
    slope_padded, offset_padded = np.pad(slope, (*pad, (0, 0)), mode="reflect"), np.pad(offset, pad, mode="reflect")
    for y in range(height):
        for x in range(width):
            window = slice(y, y + 2 * radius + 1), slice(x, x + 2 * radius + 1)
            out[y, x] = slope_padded[window].reshape(-1, 3).mean(0) @ guide[y, x] + offset_padded[window].mean()
    return out


def everywhere(guide, mask, radius, epsilon, subsample=1):
    return guided_filter(guide, mask, radius, epsilon, np.arange(mask.size), subsample).reshape(mask.shape)


def test_equals_definition():
    rng = np.random.default_rng(3)
    guide = rng.random((17, 19, 3)).astype(np.float32)
    mask = rng.random((17, 19)).astype(np.float32)
    expected = naive_guided_filter(guide.astype(float), mask.astype(float), 2, 1e-2)
    assert np.abs(everywhere(guide, mask, 2, 1e-2) - expected).max() < 2e-4


def test_equals_opencv():
    ximgproc = pytest.importorskip("cv2.ximgproc")
    if not hasattr(ximgproc, "guidedFilter"):
        pytest.skip("this build of OpenCV has no guided filter")
    rng = np.random.default_rng(4)
    guide = rng.random((48, 48, 3)).astype(np.float32)
    mask = rng.random((48, 48)).astype(np.float32)
    expected = ximgproc.guidedFilter(guide, mask, 3, 1e-2)
    inner = slice(8, -8)
    assert np.abs(everywhere(guide, mask, 3, 1e-2) - expected)[inner, inner].max() < 2e-3


def test_a_linear_function_of_the_guide_is_kept():
    rng = np.random.default_rng(5)
    guide = rng.random((40, 40, 3)).astype(np.float32)
    mask = guide @ np.array([0.2, -0.5, 0.7], np.float32) + 0.1
    assert np.abs(everywhere(guide, mask, 4, 1e-7) - mask).max() < 1e-3


def test_a_misplaced_edge_moves_to_the_image_s_edge():
    guide = np.zeros((64, 64, 3), np.float32)
    guide[:, 32:] = (0.9, 0.6, 0.5)
    mask = np.zeros((64, 64), np.float32)
    mask[:, 35:] = 1.0
    for subsample in (1, 2):
        moved = everywhere(guide, mask, 8, 1e-4, subsample)
        assert moved[32, 33] > 0.55 and moved[32, 30] < 0.1 and mask[32, 33] == 0.0


def test_box_mean_is_the_mean_of_the_window():
    rng = np.random.default_rng(6)
    plane = rng.random((12, 9)).astype(np.float32)
    assert box_mean(plane, 2)[5, 4] == pytest.approx(plane[3:8, 2:7].mean(), abs=1e-6)
