"""The live avatar: calibration, what it then follows, and what it does without a face or with another one."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from selfieavatar.detection.landmarks import Detection
from selfieavatar.errors import UserError
from selfieavatar.fitting.registration import Registration
from selfieavatar.geometry.camera import transform
from selfieavatar.live.live_driver import LiveDriver
from selfieavatar.morphable.landmark_sets import landmark_set
from tests.fitting import makers
from tests.fitting.filmed import video
from tests.live.makers import SIZE, Painted

COUNT, CALIBRATION, FPS = 90, 45, 30.0
AT, ENLARGED = np.array([200.0, 60.0]), 1.5  # where the camera sees the made-up person, px


class Sees:
    """A detector that finds in the n-th image the landmarks of frame n, or none."""

    def __init__(self, points, depth):
        self.frames = [
            None if p is None else Detection(p * ENLARGED + AT, d * ENLARGED, 1.0)
            for p, d in zip(points, depth, strict=False)
        ]
        self.number = -1

    def detect(self, image):
        self.number += 1
        return self.frames[self.number]

    def close(self):
        self.frames = []


def performance():
    """Rest for the calibration, then a head that turns by 20 degrees while the mouth opens."""
    rotation, translation = np.zeros((COUNT, 3)), np.tile([0.0, 0, 90], (COUNT, 1))
    expression = np.zeros((COUNT, 4))
    rise = np.clip((np.arange(COUNT) - CALIBRATION - 5) / 20, 0, 1)
    rotation[:, 1], expression[:, 1] = np.radians(20) * rise, 0.8 * rise
    return rotation, translation, expression


def follow(driver, avatar, count=COUNT, size=(480, 640), start=0):
    frames = []
    for number in range(count):
        frames.append(driver(np.zeros((*size, 3), np.uint8), (start + number) / FPS))
        frames[-1] = (frames[-1], avatar.asked)
    return frames


def live(points, depth, reach=True, **options):
    avatar = Painted(reach)
    return avatar, LiveDriver(avatar, detector=Sees(points, depth), smooth=False, **options)


@pytest.fixture(scope="module")
def seen():
    rotation, translation, expression = performance()
    points, depth = makers.landmarks(makers.model(), rotation, translation, expression, noise_px=0.05)
    return points, depth


def test_after_a_calibration_the_avatar_follows(seen):
    avatar, driver = live(*seen)
    frames = follow(driver, avatar)
    states = [frame.state for frame, _ in frames]
    assert states == ["calibrating"] * (CALIBRATION + 1) + ["following"] * (COUNT - CALIBRATION - 1)
    first, asked = frames[10]
    assert not asked.expression.any() and asked.translation[0].tolist() == [0, 0, 90], "the avatar's rest meanwhile"
    assert first.image.shape == (SIZE, SIZE, 3) and first.image.dtype == np.uint8 and (first.image == 128).all()
    last, asked = frames[-1]
    assert last.alpha.shape == (SIZE, SIZE) and (last.alpha == 255).all()
    assert np.degrees(asked.rotation[0]) == pytest.approx([0, 20, 0], abs=2)
    assert asked.expression[0, 1] == pytest.approx(0.8, abs=0.15)
    assert set(last.timings_ms) == {"landmarks", "fit", "retarget", "render", "paint"}


def test_the_person_is_followed_to_the_truth(seen):
    """Where camera and person are those of the avatar's own clip, coefficients come back."""
    rotation, _, expression = performance()
    side = round(makers.SIZE * ENLARGED)
    avatar, driver = live(*seen, is_person=True, pose="absolute", crop=(*AT.astype(int).tolist(), side))
    for number, (frame, asked) in enumerate(follow(driver, avatar)):
        if frame.state == "following":
            np.testing.assert_allclose(asked.rotation[0], rotation[number], atol=np.radians(0.5))
            np.testing.assert_allclose(asked.expression[0], expression[number], atol=0.06)


@pytest.mark.parametrize("cut_off", [0, 40])  # px of the driver's square that lie outside the image
def test_the_skin_of_the_person_corrects_the_landmarks(cut_off):
    """The detector slides over the skin as the head turns; the avatar's own texture says so."""
    model, camera, pose = makers.model(), makers.camera(), performance()
    points, depth = makers.landmarks(model, *pose)
    images = video(model, *pose)
    reader = Registration(model, camera, makers.SIZE)
    surface = transform(model.vertices(pose[2]), *pose[:2])
    reference = reader.reference(reader.read(s, *p) for s, p in zip(surface, images, strict=True))
    points[:, :468, 0] += 5 * pose[0][:, 1:2] * (0.6 + 0.4 * np.sin(3 * np.pi * np.arange(468) / 468))
    side = round(makers.SIZE * ENLARGED)
    corner = AT - [0, AT[1] + cut_off]
    error = {}
    for name, texture in {"landmarks": None, "skin": reference}.items():
        driver_of = Sees(points + (corner - AT) / ENLARGED, depth)
        avatar = Painted()
        avatar.size_px = makers.SIZE
        avatar.identity = replace(avatar.identity, registration_reference=texture)
        driver = LiveDriver(
            avatar, detector=driver_of, smooth=False, is_person=True, pose="absolute",
            crop=(*corner.astype(int).tolist(), side),
        )  # fmt: skip
        away = []
        for number in range(COUNT):
            filmed = cv2.resize(images[number][0], (side, side), interpolation=cv2.INTER_CUBIC)
            whole = np.zeros((480 + 100, 900), np.uint8)
            whole[100 + int(corner[1]) :, int(corner[0]) :][:side, :side] = filmed
            frame = driver(np.repeat(whole[100:, :, None], 3, 2), number / FPS)
            if frame.state == "following":
                asked = avatar.asked
                there = transform(model.vertices(asked.expression), asked.rotation, asked.translation)[0]
                away.append(np.abs(camera.project(there) - camera.project(surface[number])).mean())
        assert len(away) == COUNT - CALIBRATION - 1
        assert ("registration" in frame.timings_ms) == (name == "skin")
        error[name] = np.mean(away)
    assert error["skin"] < 0.6 * error["landmarks"], error


def test_points_that_are_no_numbers_are_no_face(seen):
    points = [np.full_like(p, np.nan) if n in (3, 4, CALIBRATION + 20) else p for n, p in enumerate(seen[0])]
    _, driver = live(points, seen[1])
    states = [frame.state for frame, _ in follow(driver, driver.avatar)]
    assert [n for n, state in enumerate(states) if state == "no face"] == [3, 4, CALIBRATION + 20]
    assert states[-1] == "following"


def test_a_crop_beside_the_image_is_refused(seen):
    _, driver = live(*seen, crop=(700, 0, 300))
    with pytest.raises(UserError, match=r"crop \(700, 0, 300\) lies outside the image of 640 x 480 px"):
        follow(driver, driver.avatar)


def test_without_a_face_the_last_motion_holds(seen):
    points = [None if CALIBRATION + 20 <= n < CALIBRATION + 30 else p for n, p in enumerate(seen[0])]
    avatar, driver = live(points, seen[1])
    frames = follow(driver, avatar)
    before, lost, after = (frames[CALIBRATION + k] for k in (19, 25, 30))
    assert (before[0].state, lost[0].state, after[0].state) == ("following", "no face", "following")
    np.testing.assert_array_equal(lost[1].expression, before[1].expression)
    assert after[1].expression[0, 1] > lost[1].expression[0, 1] + 0.1


def test_another_image_size_calibrates_anew(seen):
    avatar, driver = live([*seen[0], *seen[0]], [*seen[1], *seen[1]])
    assert follow(driver, avatar)[-1][0].state == "following"
    frames = follow(driver, avatar, size=(720, 1280), start=COUNT)
    assert frames[0][0].state == "calibrating" and frames[-1][0].state == "following"


def test_another_face_calibrates_anew_after_a_second(seen):
    """Points that no pose and expression of the driver explain."""
    strange = np.random.default_rng(0).normal(128, 40, (60, 478, 2))
    avatar, driver = live([*seen[0], *strange], [*seen[1], *seen[1][:60]])
    follow(driver, avatar)
    states = [frame.state for frame, _ in follow(driver, avatar, 40, start=COUNT)]
    assert states[:30] == ["another face"] * 30 and states[-1] == "calibrating"


def test_what_cannot_be_driven_live_is_said(seen):
    with pytest.raises(UserError, match="lacks pose_rest"):
        live(*seen, reach=False)
    avatar = Painted()
    avatar.landmark_set = landmark_set("ibug68")
    with pytest.raises(UserError, match="not been tracked on MediaPipe's mesh"):
        LiveDriver(avatar)
