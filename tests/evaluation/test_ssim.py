"""SSIM against scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from selfieavatar.evaluation.ssim import WINDOW, ssim, ssim_map, ssim_uniform7

BORDER = WINDOW // 2

ORACLE = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1)


def images(seed, size=48):
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size)[:, None, None] * np.array([1, 0.6, 0.2])
    truth = np.clip(np.broadcast_to(ramp, (size, size, 3)) + rng.normal(0, 0.1, (size, size, 3)), 0, 1)
    predicted = np.clip(truth + rng.normal(0, 0.08, truth.shape), 0, 1)
    return predicted.astype(np.float32), truth.astype(np.float32)


def test_mean_and_map_equal_scikit_image():
    predicted, truth = images(0)
    value, full = structural_similarity(truth, predicted, full=True, **ORACLE)
    ours = ssim_map(predicted, truth)
    np.testing.assert_allclose(ours, full.mean(axis=2)[BORDER:-BORDER, BORDER:-BORDER], atol=2e-5)
    assert ours.mean() == pytest.approx(value, abs=1e-5)


def test_regions_average_the_map_over_their_windows():
    predicted, truth = images(1)
    _, full = structural_similarity(truth, predicted, full=True, **ORACLE)
    mask = np.zeros((48, 48), bool)
    mask[20:48, 5:30] = True  # reaches over the border, where no whole window lies
    inner = np.zeros_like(mask)
    inner[BORDER:-BORDER, BORDER:-BORDER] = True
    scores = ssim(predicted[None], truth[None], {"face": mask[None], "none": np.zeros((1, 48, 48), bool)})
    assert scores["face"][0] == pytest.approx(full.mean(axis=2)[mask & inner].mean(), abs=2e-5)
    assert np.isnan(scores["none"][0])


def test_the_flat_window_is_scikit_image_s_default():
    predicted, truth = images(2)
    value = structural_similarity(truth, predicted, data_range=1, channel_axis=-1)
    found = ssim_uniform7(predicted[None], truth[None], {"full": np.ones((1, 48, 48), bool)})["full"][0]
    assert found == pytest.approx(value, abs=1e-5)
    assert abs(found - ssim_map(predicted, truth).mean()) > 1e-3, "the two forms are different figures"


def test_equal_images_score_one_also_where_they_are_flat():
    flat = np.full((1, 20, 20, 3), 0.5, np.float32)
    assert ssim(flat, flat, {"full": np.ones((1, 20, 20), bool)})["full"][0] == pytest.approx(1.0, abs=1e-4)


def test_too_small_a_image_is_refused():
    with pytest.raises(ValueError, match="11"):
        ssim_map(np.zeros((8, 8, 3)), np.zeros((8, 8, 3)))
