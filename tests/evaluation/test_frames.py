"""Clips of several frame rates: a second of each, and one rate for the video of all."""

import logging

import numpy as np

from selfieavatar.evaluation.frames import Subject, seconds, video_rate


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
