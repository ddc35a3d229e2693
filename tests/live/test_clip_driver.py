"""An avatar driven by a whole video: what it follows, what it holds, and parts that leave no seam."""

from types import SimpleNamespace

import numpy as np
import pytest

from selfieavatar.detection.landmarks import Detection
from selfieavatar.errors import UserError
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.live import clip_driver
from selfieavatar.live.clip_driver import Track, follow, track
from selfieavatar.morphable.landmark_sets import landmark_set
from selfieavatar.settings.config import stage_settings
from tests.fitting import makers

COUNT, FPS = 90, 30.0
AT, ENLARGED = np.array([200.0, 60.0]), 1.5  # where the video shows the made-up person, px
SETTINGS = stage_settings("reenact")


def avatar(reach=True, set_name="mediapipe478"):
    pose, wide = np.array([0, 0, 0, 0, 0, 90], np.float32), np.array([0.5, 0.8, 0.4, 9, 9, 20], np.float32)
    identity = makers.identity(pose_range=PoseRange(pose, -wide, wide) if reach else None)
    return SimpleNamespace(subject="anna", identity=identity, model=identity.model, camera=identity.camera,
                           landmark_set=landmark_set(set_name))  # fmt: skip


@pytest.fixture(scope="module")
def seen():
    """Rest, then a head that turns by 20 degrees while the mouth opens, and back."""
    expression, rotation = np.zeros((COUNT, 4)), np.zeros((COUNT, 3))
    rise = np.sin(np.pi * np.clip((np.arange(COUNT) - 30) / 40, 0, 1))
    rotation[:, 1], expression[:, 1] = np.radians(20) * rise, 0.8 * rise
    translation = np.tile([0.0, 0, 90], (COUNT, 1))
    points, depth = makers.landmarks(makers.model(), rotation, translation, expression, noise_px=0.05)
    found = Track((points * ENLARGED + AT).astype(np.float32), (depth * ENLARGED).astype(np.float32),
                  np.arange(COUNT) / FPS, (640, 480))  # fmt: skip
    return found, rotation, expression


def without(found, rows):
    points = found.points.copy()
    points[rows] = np.nan
    return Track(points, found.depth, found.times_s, found.size)


@pytest.mark.parametrize("is_person", [True, False])
def test_the_avatar_follows_relative_to_the_clip_s_own_rest(seen, is_person):
    found, rotation, expression = seen
    followed = follow(avatar(), found, SETTINGS, is_person)
    assert followed.seen.all() and followed.carried.expression == pytest.approx(1, abs=0.2)
    np.testing.assert_allclose(followed.motion.rotation[:, 1], rotation[:, 1], atol=np.radians(3))
    np.testing.assert_allclose(followed.motion.expression[:, 1], expression[:, 1], atol=0.15)


def test_without_a_face_the_last_motion_holds_and_is_counted(seen):
    followed = follow(avatar(), without(seen[0], np.r_[0:5, 50:70]), SETTINGS)
    assert followed.seen.sum() == COUNT - 25
    for rows, held in ((slice(0, 5), 5), (slice(50, 70), 49)):
        for name in ("rotation", "translation", "expression", "gaze"):
            values = getattr(followed.motion, name)
            assert (values[rows] == values[held]).all()
    assert np.isfinite(followed.motion.expression).all()


def test_a_clip_that_is_fitted_in_parts_has_no_seam(seen, monkeypatch):
    whole = follow(avatar(), seen[0], SETTINGS, True)
    monkeypatch.setattr(clip_driver, "_PART", 35)
    monkeypatch.setattr(clip_driver, "_OVERLAP", 20)
    parts = follow(avatar(), seen[0], SETTINGS, True)
    np.testing.assert_allclose(parts.motion.rotation, whole.motion.rotation, atol=2e-3)
    np.testing.assert_allclose(parts.motion.expression, whole.motion.expression, atol=2e-2)


def test_frames_are_tracked_one_after_the_other():
    class Sees:
        def detect(self, image):
            return None if image[0, 0, 0] else Detection(np.ones((478, 2), np.float32), np.zeros(478), 1.0)

    images = ((number, number / 10, np.full((4, 6, 3), number == 1, np.uint8)) for number in range(3))
    found = track(images, Sees(), (6, 4))
    assert found.points.dtype == np.float32 and found.times_s.tolist() == [0, 0.1, 0.2]
    np.testing.assert_array_equal(np.isfinite(found.points).all((1, 2)), [True, False, True])


@pytest.mark.parametrize("what, said", [("nobody", "no frame"), ("reach", "pose_rest"), ("landmarks", "MediaPipe")])
def test_what_cannot_be_is_said(seen, what, said):
    found = without(seen[0], slice(None)) if what == "nobody" else seen[0]
    with pytest.raises(UserError, match=said):
        follow(avatar(what != "reach", "ibug68" if what == "landmarks" else "mediapipe478"), found, SETTINGS)
