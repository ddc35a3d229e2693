"""A subject's folder of results: a face on MediaPipe's mesh that moves as known, two clips to train on, one to test."""

import numpy as np

from selfieavatar.geometry.camera import Camera
from selfieavatar.identity import Torso
from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import write_manifest
from tests.fitting import makers

SIZE = 64
CLIPS = {"a": 6, "b": 4, "t": 5}


def camera():
    return Camera(2.0 * SIZE, (SIZE / 2 + 1.5, SIZE / 2 - 1.0), SIZE)


def coefficients(clip):
    """Rotation, translation, expression and gaze of a clip's frames."""
    seed = ord(clip)
    rotation, translation, expression = makers.movement(CLIPS[clip], seed)
    return rotation, translation, expression, np.random.default_rng(seed).normal(0, 0.1, (CLIPS[clip], 4))


def write_subject(folder):
    """results/anna with samples.parquet of clips a and b and test_samples.parquet of clip t.

    Frame 1 of clip a is a duplicate, frame 3 of t has no face; frame 2 of b validates.
    """
    rng = np.random.default_rng(0)
    for clip, count in CLIPS.items():
        for number in range(count):
            write_image(folder / "clips" / clip / "frames" / image_name(number),
                          rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8))  # fmt: skip
            alpha = np.zeros((SIZE, SIZE), np.uint8)
            alpha[20:, 16 + number : 48] = 255
            write_image(folder / "clips" / clip / "alpha" / image_name(number), alpha)
        rotation, translation, expression, gaze = coefficients(clip)
        columns = {
            "frame": np.arange(count), "fitted": np.ones(count, bool), "rotation": rotation, "translation": translation,
            "expression": expression, "gaze": gaze, "light": np.tile(np.linspace(3, 0, 27), (count, 1)),
            "torso": np.full((count, 2), 0.02), "landmark_error": np.zeros(count), "quality": ["ok"] * count,
        }  # fmt: skip
        write_manifest(folder / "clips" / clip / "fit.parquet", "fit", columns, {"size_px": SIZE})
    write_image(folder / "clips" / "b" / "plate.png", np.full((SIZE, SIZE, 3), 9, np.uint8))
    write_samples(folder / "samples.parquet", "ab", {("b", 2): "val"}, {("a", 1): "duplicate"})
    write_samples(folder / "test_samples.parquet", "t", {("t", k): "test" for k in range(5)}, {("t", 3): "no face"})
    identity().save(folder / "identity.npz")


def write_samples(path, clips, splits, left_out, digest="0123456789abcdef"):
    places = [(clip, number) for clip in clips for number in range(CLIPS[clip])]
    reason = [left_out.get(place, "") for place in places]
    columns = {
        "clip": [clip for clip, _ in places], "frame": [number for _, number in places],
        "split": [splits.get(place, "train") for place in places], "weight": np.ones(len(places)),
        "used": [not said for said in reason], "reason": reason,
    }  # fmt: skip
    facts = {"subject": "anna", "size_px": SIZE, "pictures": dict.fromkeys(clips, digest), "light": "fitted"}
    write_manifest(path, "samples", columns, facts)


DRIVER, LOST = "bert--talk", 2  # a driver's clip, and its frame that shows no face


def asked():
    """Rotation, translation, expression and gaze that the driver asks of the subject; LOST is NaN."""
    rotation, translation, expression = makers.movement(6, 9)
    columns = [rotation, translation, expression, np.full((6, 4), 0.1)]
    for values in columns:
        values[LOST] = np.nan
    return columns


def write_driver(folder, shift=0.0):
    """results/anna/reenact/bert--talk.parquet of 6 frames; shift: added to the translation."""
    rotation, translation, expression, gaze = asked()
    nothing = np.full(len(gaze), np.nan)
    columns = {
        "frame": np.arange(len(gaze)), "driven": np.isfinite(gaze[:, 0]), "rotation": rotation,
        "translation": translation + shift, "expression": expression, "gaze": gaze, "aed": nothing, "apd_deg": nothing,
        "identity_similarity": nothing,
    }  # fmt: skip
    write_manifest(folder / "reenact" / f"{DRIVER}.parquet", "reenact", columns, {"subject": "anna", "driver": DRIVER})


def identity():
    """Who the subject is."""
    image = np.full((128, 128), 255, np.uint8)
    return makers.identity(view=camera(), torso=Torso(image, image, 0.7))
