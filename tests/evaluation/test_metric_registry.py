"""The sheet of scores over batches, and its speed."""

import time

import numpy as np
import pytest

from selfieavatar.evaluation.metric_registry import FRAME_METRICS, ScoreSheet
from selfieavatar.evaluation.psnr import psnr_db
from selfieavatar.evaluation.ssim import ssim


def scene(count, size=32, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random((count, size, size, 3), np.float32)
    predicted = np.clip(truth + rng.normal(0, 0.1, truth.shape).astype(np.float32), 0, 1)
    masks = {"full": np.ones((count, size, size), bool), "person": rng.random((count, size, size)) > 0.3}
    masks["face"] = masks["person"] & (rng.random((count, size, size)) > 0.5)
    return predicted, truth, masks


def test_batches_do_not_change_the_figures():
    predicted, truth, masks = scene(5)
    whole, parts = ScoreSheet(), ScoreSheet()
    whole.add(predicted, truth, masks)
    for part in (slice(0, 2), slice(2, 5)):
        parts.add(predicted[part], truth[part], {r: m[part] for r, m in masks.items()})
    assert whole.summary() == parts.summary()
    np.testing.assert_array_equal(whole.per_frame("face", "ssim"), ssim(predicted, truth, masks)["face"])
    assert whole.summary()["person"]["psnr_db"] == pytest.approx(psnr_db(predicted, truth, masks)["person"].mean())


def test_a_frame_without_the_region_does_not_count():
    predicted, truth, masks = scene(2)
    masks["face"][1] = False
    sheet = ScoreSheet()
    sheet.add(predicted, truth, masks)
    assert sheet.summary()["face"]["psnr_db"] == pytest.approx(sheet.per_frame("face", "psnr_db")[0])
    masks["face"][:] = False
    empty = ScoreSheet()
    empty.add(predicted, truth, masks)
    assert empty.summary()["face"] == {name: None for name in FRAME_METRICS}


@pytest.mark.slow
def test_five_hundred_frames_of_256_px_take_less_than_twenty_seconds():
    predicted, truth, masks = scene(10, 256)
    sheet = ScoreSheet()
    start = time.process_time()
    for _ in range(5):
        sheet.add(predicted, truth, masks)
    # CPU time over two cores, so that other work on the machine does not count
    assert (time.process_time() - start) * 10 / 2 < 20
