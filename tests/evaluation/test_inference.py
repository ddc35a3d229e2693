"""The avatar as a function of arrays."""

import time

import numpy as np
import pytest
import torch

from selfieavatar.evaluation.inference import InferenceRunner, frames_per_second


class Swap:
    """Gives the render back a little too bright, and the face flag of I_UV as its matte."""

    def paint(self, render, uv):
        assert not torch.is_grad_enabled()
        return render + 0.2, uv[:, 2:3]


def test_paints_rounded_clamped_images_in_the_layout_of_arrays():
    rng = np.random.default_rng(0)
    render, uv = rng.random((2, 3, 4, 4, 3), np.float32)
    image, alpha = InferenceRunner(Swap(), "cpu").paint(render, uv)
    assert image.shape == (3, 4, 4, 3) and alpha.shape == (3, 4, 4)
    np.testing.assert_allclose(image, np.round(np.minimum(render + 0.2, 1) * 255) / 255, atol=1e-6)
    np.testing.assert_allclose(alpha, uv[..., 2])
    assert np.abs(image * 255 - np.round(image * 255)).max() < 1e-4


def test_speed_is_the_median_after_warm_up():
    calls = []

    def paint():
        calls.append(len(calls))
        time.sleep(0.2 if len(calls) <= 2 else 0.01)

    assert frames_per_second(paint, 5) == pytest.approx(100, rel=0.5)
    assert len(calls) == 7
    runner = InferenceRunner(Swap(), "cpu")
    assert runner.frames_per_second(np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 4, 4, 3), np.float32), 3) > 1
    assert "threads" in runner.device_name()
