"""The differences of images are those that NumPy computes of all at once."""

import numpy as np
import pytest

from selfieavatar.export.parity import Parity


def test_figures_are_of_all_frames():
    random = np.random.default_rng(0)
    wanted = random.uniform(size=(5, 3, 8, 8)).astype(np.float32), random.uniform(size=(5, 1, 8, 8)).astype(np.float32)
    found = tuple((part + random.normal(scale=0.01, size=part.shape)).astype(np.float32) for part in wanted)
    parity = Parity()
    for rows in (slice(0, 2), slice(2, 5)):
        parity.add((found[0][rows], found[1][rows]), (wanted[0][rows], wanted[1][rows]))
    image, alpha = (np.abs(one.astype(float) - other) for one, other in zip(found, wanted, strict=True))
    assert parity.frames == 5
    assert parity.figures() == pytest.approx({
        "frames": 5, "image_mean_abs": image.mean(), "alpha_mean_abs": alpha.mean(), "image_max_abs": image.max(),
        "alpha_max_abs": alpha.max(), "image_psnr_db": round(-10 * np.log10((image**2).mean()), 2),
    })  # fmt: skip
    assert parity.in_words().startswith("5 frames, mean difference 0.008")


def test_the_same_images_have_no_psnr():
    same = np.ones((1, 3, 4, 4)), np.ones((1, 1, 4, 4))
    parity = Parity()
    parity.add(same, same)
    assert parity.figures()["image_psnr_db"] is None and parity.figures()["image_max_abs"] == 0
