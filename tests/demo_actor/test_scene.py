"""Test images against their ground truth by OpenCV's projection and MediaPipe's trackers."""

import cv2
import numpy as np
import pytest

from selfieavatar.demo_actor.head import EXPRESSIONS
from selfieavatar.demo_actor.motion import Motion
from selfieavatar.demo_actor.scene import Scene

LIPS, LEFT_LID, RIGHT_LID = (13, 14), (386, 374), (159, 145)


def program(count=18):
    """Make a take in which mouth and lids cover their ranges at different paces while the head rotates."""
    step = np.arange(count)
    expression = np.zeros((count, len(EXPRESSIONS)))
    expression[:, EXPRESSIONS.index("jaw_open")] = (step * 7 % count) / count * 0.8
    lids = np.where(step % 3 == 1, np.linspace(0.0, 1.0, count), 0.0)
    expression[:, EXPRESSIONS.index("blink_left")] = expression[:, EXPRESSIONS.index("blink_right")] = lids
    turn = np.zeros((count, 3))
    turn[:, 0] = np.radians(18.0) * np.sin(2 * np.pi * step / count)
    turn[:, 1] = np.radians(5.0) * np.cos(2 * np.pi * 2 * step / count)
    turn[:, 2] = np.radians(4.0) * np.sin(2 * np.pi * 3 * step / count)
    gaze = np.repeat(np.stack([-0.5 * turn[:, 0], 0 * turn[:, 0]], -1), 2, axis=0).reshape(count, 4)
    return Motion(expression, gaze, turn, np.zeros((count, 3)))


@pytest.fixture(scope="module")
def scene():
    return Scene(0, 320)


@pytest.fixture(scope="module")
def drawn(scene):
    return list(scene.play(program(), threads=2))


@pytest.fixture(scope="module")
def tracked(drawn):
    """Detect MediaPipe's points of each frame (N,478,2) in px of the image, NaN without a face."""
    mediapipe = pytest.importorskip("mediapipe")
    points = np.full((len(drawn), 478, 2), np.nan)
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        for number, (image, _, _) in enumerate(drawn):
            found = mesh.process(cv2.resize(image, (512, 512), interpolation=cv2.INTER_CUBIC)).multi_face_landmarks
            if found:
                points[number] = [(p.x * 320, p.y * 320) for p in found[0].landmark]
    return points


def distance(points, pair):
    return np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=1)


def test_truth_projects_as_opencv_projects(scene, drawn):
    camera = np.array([[scene.focal_px, 0, 160.0], [0, scene.focal_px, 160.0], [0, 0, 1]])
    for _, _, truth in drawn[::5]:
        turn = cv2.Rodrigues(truth.rotation)[0]
        expected = cv2.projectPoints(truth.points_head, turn, truth.translation, camera, None)[0][:, 0]
        assert np.allclose(truth.points_px, expected, atol=1e-6)


def test_truth_without_drawing_is_the_same(scene, drawn):
    alone = scene.truth(program(), 4)
    assert np.array_equal(alone.points_px, drawn[4][2].points_px) and alone.lips_px == drawn[4][2].lips_px


def test_mediapipe_finds_the_face_and_lands_on_the_features(scene, drawn, tracked):
    assert np.isfinite(tracked).all()
    truth = np.stack([t.points_px for _, _, t in drawn])
    row = {name: k for k, name in enumerate(scene.points.name)}
    eyes = np.median(np.linalg.norm(truth[:, row["left_eye_outer"]] - truth[:, row["right_eye_outer"]], axis=1))
    error = np.median(np.linalg.norm(tracked[:, scene.points.index] - truth, axis=2), axis=0) / eyes
    for name, k in row.items():
        limit = 0.03 if name.split("_")[0] in ("mouth", "lip") or "eye" in name or "iris" in name else 0.08
        assert error[k] <= limit, f"{name}: {error[k]:.3f} of the distance of the eyes"


def test_mediapipe_sees_mouth_and_lids_move(drawn, tracked):
    lips = np.array([t.lips_px for _, _, t in drawn])
    lids = np.stack([t.lids_px for _, _, t in drawn])
    assert np.corrcoef(distance(tracked, LIPS), lips)[0, 1] >= 0.9
    assert np.corrcoef(distance(tracked, LEFT_LID), lids[:, 0])[0, 1] >= 0.9
    assert np.corrcoef(distance(tracked, RIGHT_LID), lids[:, 1])[0, 1] >= 0.9


def test_segmenter_agrees_with_the_alpha(drawn):
    mediapipe = pytest.importorskip("mediapipe")
    with mediapipe.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0) as segmenter:
        for image, alpha, _ in drawn[::6]:
            mask = segmenter.process(cv2.resize(image, (512, 512))).segmentation_mask
            mask, person = cv2.resize(mask, (320, 320)) > 0.5, alpha > 127
            assert (mask & person).sum() / (mask | person).sum() >= 0.9


def test_alpha_is_the_weight_of_the_person(scene, drawn, monkeypatch):
    """The difference of one frame before a black and before a white room is exactly the room's share."""
    _, alpha, _ = drawn[3]
    linear = []
    for level in (0.0, 1.0):
        monkeypatch.setattr(scene, "_background", np.full((320, 320, 3), level, np.float32))
        image, same, _ = scene.draw(program(), 3)
        assert np.array_equal(same, alpha)
        linear.append((image / 255.0) ** 2.2)
    share = 1.0 - (linear[1] - linear[0])[..., 1]
    unclipped = linear[1][..., 1] < 0.98
    edge = (alpha > 0) & (alpha < 255) & unclipped
    assert edge.sum() > 200
    assert np.abs(share - alpha / 255.0)[edge].max() < 0.02
    assert np.array_equal(linear[0][alpha == 255], linear[1][alpha == 255])
    assert np.all(linear[0][alpha == 0] == 0) and np.all(linear[1][alpha == 0] == 1)


def test_images_are_decided_by_the_seed(drawn):
    image, alpha, truth = Scene(0, 320).draw(program(), 7)
    assert image.tobytes() == drawn[7][0].tobytes() and alpha.tobytes() == drawn[7][1].tobytes()
    assert np.array_equal(truth.points_px, drawn[7][2].points_px)


def test_two_seeds_are_two_people_in_two_rooms(drawn):
    image, alpha, _ = Scene(1, 320).draw(program(), 0)
    first, first_alpha, _ = drawn[0]
    both, none = (alpha > 250) & (first_alpha > 250), (alpha < 5) & (first_alpha < 5)
    difference = np.abs(image.astype(int) - first).mean(axis=2)
    assert difference[both].mean() > 12 and difference[none].mean() > 12
    assert (np.abs(alpha.astype(int) - first_alpha) > 100).sum() > 100
