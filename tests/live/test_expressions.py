"""Sliders move on the landmarks what their names say, and little else; what a person cannot do is not offered."""

from dataclasses import replace

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.fitting.landmark_measures import openings
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.live.expressions import Sliders
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers

POSES = PoseRange(np.array([0, 0, 0, 0, 0, 90], np.float32), *np.array([[-0.3] * 3 + [-4] * 3, [0.3] * 3 + [4] * 3]))


@pytest.fixture(scope="module")
def sliders():
    return Sliders(makers.identity(pose_range=POSES))


def points(sliders, **values):
    """Landmarks (1, 478, 2) px that a detector would find, and the motion."""
    motion = sliders.motion(values)
    seen, _ = makers.landmarks(
        makers.model(), motion.rotation, motion.translation, motion.expression, motion.gaze[:, :2]
    )
    return seen, motion


def test_what_the_person_can_do_is_offered(sliders):
    """The made-up person has one component for both lids, none that moves the mouth aside or one corner."""
    keys = [slider.key for slider in sliders.offered]
    assert keys == ["mouth_open", "smile", "pucker", "brows", "blink", "gaze_x", "gaze_y", "turn", "nod", "tilt",
                    "nearer"]  # fmt: skip
    without = replace(makers.model(), expression_scale=np.array([1, 1, 1, 1e-4]))
    assert "brows" not in [slider.key for slider in Sliders(makers.identity(without, pose_range=POSES)).offered]


def test_the_rest_is_neutral(sliders):
    motion = sliders.motion({})
    assert not motion.expression.any() and not motion.gaze.any()
    np.testing.assert_allclose([*motion.rotation[0], *motion.translation[0]], POSES.reference, atol=1e-9)


def test_mouth_and_lids(sliders):
    rest = openings(points(sliders)[0], ls.MEDIAPIPE)[0]
    opened = openings(points(sliders, mouth_open=1)[0], ls.MEDIAPIPE)[0]
    assert opened[2] > 1.8 * rest[2], "the lips part"
    np.testing.assert_allclose(opened[:2], rest[:2], rtol=0.05)

    def gaps(blink):
        seen = points(sliders, blink=blink)[0][0, :, 1]
        return np.array([np.mean([seen[low] - seen[up] for up, low in lids]) for lids in (ls.LEFT_LIDS, ls.RIGHT_LIDS)])

    assert (gaps(1) < 0.2 * gaps(0)).all() and (gaps(0.5) < 0.8 * gaps(0)).all() and (gaps(0.5) > gaps(1)).all()


def test_corners_and_brows(sliders):
    def width(**values):
        seen = points(sliders, **values)[0][0]
        return seen[ls.MOUTH_LEFT, 0] - seen[ls.MOUTH_RIGHT, 0]

    assert width(smile=1) > width() + 1 and width(pucker=1) < width() - 1
    rest, raised, lowered = (points(sliders, brows=way)[0][0, list(ls.LEFT_BROW), 1].mean() for way in (0, 1, -1))
    assert raised < rest - 1 and lowered > rest + 1, "rows count downwards"


def test_gaze_and_head(sliders):
    rest = points(sliders)[0][0]
    right = points(sliders, gaze_x=1)[0][0]
    assert right[473, 0] > rest[473, 0] + 1, "to the image's right"
    assert points(sliders, gaze_y=1)[0][0][473, 1] < rest[473, 1] - 1
    for key, landmark, axis, sign in (("turn", ls.NOSE_TIP, 0, 1), ("nod", ls.NOSE_TIP, 1, -1)):
        moved = points(sliders, **{key: 1})[0][0] - rest
        assert sign * moved[landmark, axis] > 1, key
    tilted = points(sliders, tilt=1)[0][0]
    assert tilted[ls.LEFT_OUTER_CORNER, 1] > tilted[ls.RIGHT_OUTER_CORNER, 1] + 1
    assert np.ptp(points(sliders, nearer=1)[0][0], axis=0).min() > 1.01 * np.ptp(rest, axis=0).min()


def test_the_head_stays_where_the_clips_show_it(sliders):
    motion = sliders.motion({"turn": 1, "nearer": -1})
    assert (
        np.degrees(motion.rotation[0, 1]) == pytest.approx(np.degrees(-0.3), rel=1e-5)
        and motion.translation[0, 2] == 94
    )


def test_values_beyond_the_range_are_limited_and_nonsense_is_refused(sliders):
    np.testing.assert_array_equal(sliders.motion({"blink": 9}).expression, sliders.motion({"blink": 1}).expression)
    for wrong in ({"fly": 1}, {"blink": float("nan")}, {"blink": "much"}):
        with pytest.raises((ValueError, TypeError)):
            sliders.motion(wrong)
    with pytest.raises(UserError, match="usual pose"):
        Sliders(makers.identity())
