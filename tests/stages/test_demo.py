"""Test the demo stage: a video of two takes with its ground truth."""

import json

import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.settings.sections import Demo
from stages.demo import build_parser, run

SMALL = {"size_px": 96, "train_frames": 5, "test_frames": 3}


def arguments(folder, seed=0, truth="demo.npz", **settings):
    args = build_parser().parse_args(
        ["--seed", str(seed), "--out", str(folder / "demo.mp4"), "--truth", str(folder / truth), "--threads", "2"]
    )
    args.settings = Demo(**SMALL | settings)
    return args


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    run(arguments(folder))
    return folder


def test_video_and_truth_have_the_same_frames(made):
    capture = cv2.VideoCapture(str(made / "demo.mp4"))
    images = []
    while (frame := capture.read())[0]:
        images.append(frame[1])
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25)
    assert len(images) == 8 and images[0].shape == (96, 96, 3)
    with np.load(made / "demo.npz", allow_pickle=False) as truth:
        assert truth["alpha"].shape == (8, 96, 96) and truth["alpha"].dtype == np.uint8
        assert truth["take"].tolist() == [0] * 5 + [1] * 3
        for name in ("rotation", "translation", "expression", "gaze", "points_px", "points_head", "lids_px", "lips_px"):
            assert len(truth[name]) == 8 and np.isfinite(truth[name]).all(), name
        assert truth["expression"].shape[1] == len(truth["expression_names"])
        assert truth["points_px"].shape == (8, len(truth["point_index"]), 2)
        assert float(truth["focal_px"]) == pytest.approx(1.25 * 96)
        assert 0.2 < (truth["alpha"] / 255).mean() < 0.8


def test_truth_points_equal_the_projection_by_pose_and_camera(made):
    with np.load(made / "demo.npz", allow_pickle=False) as truth:
        focal, (cx, cy) = float(truth["focal_px"]), truth["principal"]
        camera = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        for k in range(8):
            points = cv2.projectPoints(
                truth["points_head"][k], truth["rotation"][k], truth["translation"][k], camera, None
            )[0][:, 0]
            assert np.allclose(points, truth["points_px"][k], atol=1e-3)


def test_truth_is_reproducible_to_the_byte(made, tmp_path):
    run(arguments(tmp_path))
    assert (tmp_path / "demo.npz").read_bytes() == (made / "demo.npz").read_bytes()


def test_a_negative_seed_or_a_wrong_truth_file_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="seed -1"):
        run(arguments(tmp_path, seed=-1))
    with pytest.raises(UserError, match="npz"):
        run(arguments(tmp_path, truth="truth.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    from selfieavatar.demo_actor.scene import Scene

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Scene, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        run(arguments(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_settings_are_json():
    assert json.loads(json.dumps(dict(Demo()))) == dict(Demo())
    assert set(Demo.model_fields) == {"size_px", "fps", "train_frames", "test_frames", "crf"}
