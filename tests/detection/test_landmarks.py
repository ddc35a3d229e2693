"""Test the landmark detectors: choice of a face, MediaPipe on real footage, the adapter of face-alignment."""

import cv2
import numpy as np
import pytest

from selfieavatar.detection import landmarks as det
from selfieavatar.errors import UserError


def face_at(x, y, size, seed=0):
    points = np.random.default_rng(seed).uniform(-size / 2, size / 2, (478, 2)) + [x, y]
    return det.Detection(points.astype(np.float32), np.zeros(478, np.float32), 1.0)


def test_the_largest_face_is_chosen_then_the_nearest_to_the_previous():
    small, large = face_at(50, 50, 20), face_at(30, 60, 40)
    assert det.choose_face([small, large], (100, 100)) is large
    assert det.choose_face([small, large], (100, 100), previous=face_at(52, 50, 20)) is small


def test_of_equal_faces_the_central_one_is_chosen():
    middle, corner = face_at(50, 50, 20), face_at(15, 15, 20)
    assert det.choose_face([corner, middle], (100, 100)) is middle


def test_an_image_without_a_face_gives_none():
    detector = det.MediaPipeDetector()
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    assert detector.detect(noise) is None
    detector.close()


def frames(path, count, step=1):
    capture, out = cv2.VideoCapture(str(path)), []
    for number in range(count * step):
        ok, image = capture.read()
        if not ok:
            break
        if number % step == 0:
            out.append(image[..., ::-1])
    return out


def test_real_face_is_tracked_at_sub_pixel_resolution(shared):
    detector = det.MediaPipeDetector()
    found = [detector.detect(image) for image in frames(shared / "data" / "videos" / "anchor.mp4", 12)]
    detector.close()
    assert all(face is not None and face.points_px.shape == (478, 2) and face.depth.shape == (478,) for face in found)
    points = np.stack([face.points_px for face in found])
    assert np.abs(points - np.round(points)).mean() > 0.1, "points must not be rounded to pixels"
    assert np.median(np.linalg.norm(np.diff(points, axis=0), axis=2)) < 4
    assert points[0, 263, 0] > points[0, 33, 0] and points[0, 152, 1] > points[0, 10, 1]
    assert found[0].depth[4] < found[0].depth[[234, 454]].min(), "the nose tip is nearest"


def test_detection_moves_with_the_image(shared):
    image = frames(shared / "data" / "videos" / "anchor.mp4", 1)[0]
    shifted = np.roll(image, 17, axis=1)
    found = []
    for one in (image, shifted):
        detector = det.MediaPipeDetector()
        found.append(detector.detect(one).points_px)
        detector.close()
    assert np.abs(np.median(found[1] - found[0], axis=0) - [17, 0]).max() < 1.0


def test_a_small_face_is_found_in_the_enlarged_crop(shared):
    image = frames(shared / "data" / "videos" / "anchor.mp4", 1)[0]
    detector = det.MediaPipeDetector()
    whole = detector.detect(image)  # the last face, which the enlarged crop surrounds
    found = detector._enlarged(np.ascontiguousarray(image))
    detector.close()
    eye_distance = np.linalg.norm(whole.points_px[33] - whole.points_px[263])
    assert found and np.median(np.linalg.norm(found[0].points_px - whole.points_px, axis=1)) < 0.05 * eye_distance


def test_letters_after_the_face_are_ignored(shared):
    """A selfie is followed by a cartoon's title from frame 71 on."""
    detector = det.MediaPipeDetector()
    images = frames(shared / "data" / "videos" / "face_then_none.mov", 90)
    found = [detector.detect(image) for image in images]
    detector.close()
    assert sum(face is not None for face in found[:60]) >= 57
    assert sum(face is not None for face in found[75:]) <= 2


class StandIn:
    """Return fixed landmarks in the form of face_alignment.FaceAlignment."""

    def __init__(self, faces):
        self.faces = faces

    def get_landmarks_from_image(self, image, return_bboxes, return_landmark_score):
        assert image.dtype == np.uint8 and return_bboxes and return_landmark_score
        if not self.faces:
            return None, None, None
        scores = [np.full(68, 0.9, np.float32) for _ in self.faces]
        return self.faces, scores, [np.array([0, 0, 1, 1, 0.9])] * len(self.faces)


def test_face_alignment_adapter_shifts_to_pixel_centres_and_chooses_one_face():
    rng = np.random.default_rng(0)
    near, far = rng.uniform(40, 90, (68, 2)), rng.uniform(0, 20, (68, 2))
    detector = det.FaceAlignmentDetector(StandIn([far, near]))
    face = detector.detect(np.zeros((128, 128, 3), np.uint8))
    np.testing.assert_allclose(face.points_px, near + 0.5, rtol=1e-6)
    assert face.depth.shape == (68,) and not face.depth.any()
    assert abs(face.confidence - 0.9) < 1e-6
    assert det.FaceAlignmentDetector(StandIn([])).detect(np.zeros((8, 8, 3), np.uint8)) is None


@pytest.mark.slow
def test_face_alignment_reads_local_files_without_download(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from face_alignment import api
    from face_alignment.detection.sfd.net_s3fd import s3fd

    asked = []
    monkeypatch.setattr(api, "load_file_from_url", lambda url, *a, **k: asked.append(url))
    torch.manual_seed(0)
    torch.save(api.FAN(4).state_dict(), tmp_path / "fan.pth")
    torch.save(s3fd().state_dict(), tmp_path / "s3fd.pth")
    network = det.load_face_alignment(str(tmp_path / "fan.pth"), str(tmp_path / "s3fd.pth"), "cpu")
    stored = torch.load(tmp_path / "fan.pth", weights_only=True)
    name, value = next(iter(stored.items()))
    assert torch.equal(network.face_alignment_net.state_dict()[name], value)
    assert not asked


def test_sides_that_would_end_mediapipe_are_refused():
    detector = det.MediaPipeDetector()
    with pytest.raises(UserError, match="33000 x 60 px is too large"):
        detector.detect(np.zeros((60, 33000, 3), np.uint8))
    detector.close()
