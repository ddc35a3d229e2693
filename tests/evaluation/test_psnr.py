"""PSNR against scikit-image, by region."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from selfieavatar.evaluation.psnr import CEILING_DB, psnr_db


def test_regions_equal_scikit_image_on_their_pixels():
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 16, 12, 3)), rng.random((2, 16, 12, 3))
    mask = rng.random((2, 16, 12)) > 0.6
    scores = psnr_db(predicted, truth, {"full": np.ones_like(mask), "face": mask})
    for k in range(2):
        assert scores["full"][k] == pytest.approx(peak_signal_noise_ratio(truth[k], predicted[k], data_range=1))
        wanted = peak_signal_noise_ratio(truth[k][mask[k]], predicted[k][mask[k]], data_range=1)
        assert scores["face"][k] == pytest.approx(wanted)


def test_equal_images_reach_the_ceiling_and_an_empty_region_is_nan():
    image = np.full((1, 4, 4, 3), 0.3)
    scores = psnr_db(image, image, {"full": np.ones((1, 4, 4), bool), "face": np.zeros((1, 4, 4), bool)})
    assert scores["full"][0] == CEILING_DB
    assert np.isnan(scores["face"][0])


def test_what_is_outside_a_region_does_not_count():
    truth = np.zeros((1, 8, 8, 3))
    predicted = truth.copy()
    predicted[:, :4] = 1.0
    mask = np.zeros((1, 8, 8), bool)
    mask[:, 4:] = True
    assert psnr_db(predicted, truth, {"face": mask})["face"][0] == CEILING_DB
