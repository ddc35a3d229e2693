"""Test the landmarks stage: manifest, frames without a face, clips without any."""

import numpy as np
import pytest

from selfieavatar.detection.landmarks import Detection
from selfieavatar.errors import UserError
from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.settings.sections import Landmarks
from stages import landmarks

SIZE = 64


class Marker:
    """Detect a face at the brightest pixel; a black image has none."""

    set_name = "mediapipe478"

    def detect(self, image):
        if image.max() < 50:
            return None
        y, x = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
        points = np.tile([x + 0.5, y + 0.5], (478, 1)).astype(np.float32)
        return Detection(points, np.full(478, 2.0, np.float32), 0.9)

    def close(self):
        """Nothing to free."""


def clip(folder, places, **more):
    """Write a folder of images 96 px wide with one bright block each (None: black), and its decode.parquet."""
    source = folder / "source"
    source.mkdir()
    for number, place in enumerate(places):
        image = np.zeros((96, 96, 3), np.uint8)
        if place is not None:
            x, y = place
            image[y - 3 : y + 3, x - 3 : x + 3] = 120
            image[y, x] = 255
        write_image(source / image_name(number), image)
    count = len(places)
    columns = {
        "frame": np.arange(count), "time_s": np.arange(count) / 25, "source_frame": np.arange(count),
        "face": np.ones(count, bool), "face_box_px": np.zeros((count, 4)), "duplicate": np.zeros(count, bool),
        "sharpness": np.ones(count), "picture_hash": np.array([""] * count),
    }  # fmt: skip
    facts = {
        "source": str(source), "fps": 25.0, "size_px": SIZE, "crop_px": [0, 0, 96], "source_size": [96, 96],
        "reader": "folder", "faces_per_frame_max": 1, "static_camera": True,
    } | more  # fmt: skip
    write_manifest(folder / "decode.parquet", "decode", columns, facts)
    return source


def stage(folder, source, **settings):
    options = {"--source": source, "--decode": folder / "decode.parquet", "--manifest": folder / "out.parquet"}
    args = landmarks.build_parser().parse_args([str(word) for option in options.items() for word in option])
    args.settings = Landmarks(**{"size_px": 192} | settings)
    landmarks.run(args)
    return read_manifest(folder / "out.parquet", "landmarks")


def test_points_are_in_frame_pixels_and_missing_faces_are_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "make_detector", lambda settings: Marker())
    source = clip(tmp_path, [(30, 60), None, (48, 20)])
    found = stage(tmp_path, source)
    assert found["found"].tolist() == [True, False, True]
    assert found.metadata == {"landmark_set": "mediapipe478", "count": 478, "size_px": SIZE}
    points = found["points_px"].reshape(3, 478, 2)
    np.testing.assert_allclose(points[0, 0], np.array([30.5, 60.5]) * SIZE / 96, atol=0.7)
    np.testing.assert_allclose(points[2, 0], np.array([48.5, 20.5]) * SIZE / 96, atol=0.7)
    assert np.isnan(points[1]).all() and found["confidence"][1] == 0
    np.testing.assert_allclose(found["depth"][0], 2.0 * SIZE / 192)


def test_frames_left_out_are_counted_apart(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(landmarks, "make_detector", lambda settings: Marker())
    caplog.set_level("INFO")
    stage(tmp_path, clip(tmp_path, [(30, 60), (48, 20), (48, 20)], left_out=[[0, 1, "somebody else"]]))
    assert "a face in 2 of 2 frames; 1 more show" in caplog.text
    assert "WARNING" not in {record.levelname for record in caplog.records}


def test_a_clip_without_any_face_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "make_detector", lambda settings: Marker())
    source = clip(tmp_path, [None, None])
    with pytest.raises(UserError, match="start_frame"):
        stage(tmp_path, source)
    assert not (tmp_path / "out.parquet").exists()


def test_missing_weights_of_face_alignment_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path / "none"))
    source = clip(tmp_path, [(30, 60)])
    with pytest.raises(UserError, match="face_alignment_2d"):
        stage(tmp_path, source, detector="face_alignment")
