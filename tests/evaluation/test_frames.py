"""Clips of several frame rates: a second of each, and one rate for the video of all."""

import logging

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.evaluation.frames import Images, Subject, driver_only, seconds, video_rate
from tests.training.makers import write_manifests


def subject(**frames):
    return Subject("anna", 64, {clip: np.arange(count) for clip, count in frames.items()}, {}, 0)


def test_the_video_has_the_rate_of_most_frames(caplog):
    rates = {"angry": 25.0, "calm": 29.97, "happy": 30.0}
    with caplog.at_level(logging.INFO):
        assert video_rate(subject(angry=50, calm=30, happy=30), rates) == 29.97
    assert "different frames/s (frames: 50 of 25, 60 of 30); the video shows all at 30" in caplog.text
    assert video_rate(subject(angry=70, calm=30, happy=30), rates) == 25.0
    assert seconds(rates) == {"angry": 25, "calm": 30, "happy": 30}


def test_clips_of_one_rate_are_not_mentioned(caplog):
    with caplog.at_level(logging.INFO):
        assert video_rate(subject(angry=5, calm=3), {"angry": 23.976, "calm": 23.976}) == 23.976
    assert not caplog.text


def test_manifests_that_lack_what_is_measured_are_refused(tmp_path):
    """As of a results folder that was copied by halves."""
    write_manifests(tmp_path / "talk", 3, landmarks_found=np.zeros(3, bool))
    images, beyond = Images(tmp_path, 1), np.array([2, 3])
    with pytest.raises(UserError, match="clip 'talk': no frame of the clip has landmarks"):
        images.filled_points("talk", np.arange(3))
    for read in (images.points, images.filled_points, lambda *of: driver_only(None, images, *of)):
        with pytest.raises(UserError, match="lacks frames that are asked for"):
            read("talk", beyond)
    write_manifests(tmp_path / "long", 5)
    write_manifests(tmp_path / "long/short", 3)
    (tmp_path / "long/short/decode.parquet").rename(tmp_path / "long/decode.parquet")
    with pytest.raises(UserError, match="decode.parquet lacks frames that are asked for"):
        next(images.batches("long", beyond, 2))
