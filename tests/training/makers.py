"""A tiny subject on disk: 32 px frames of a textured disc that wanders, with its UV image, matte and manifests."""

import numpy as np

from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import write_manifest
from selfieavatar.settings.train_section import Train
from tests.networks.settings import TINY

SIZE = 32
# one small run: no network losses, no discriminator unless asked for
SETTINGS = TINY | {
    "images": 40,
    "minutes": 0,
    "batch": 4,
    "ema_images": 20,
    "maps_until": 16,
    "weight_mrf": 0.0,
    "weight_cos": 0.0,
    "weight_gan": 0.0,
    "weight_mask": 0.3,
    "backbone_weights": "random",
    "report_s": 600,
    "save_s": 600,
    "validations": 4,
}


def settings(**changes):
    """Whole train section of a tiny run."""
    return Train(**SETTINGS | changes)


def images(number):
    """frames, alpha, render, uv of one frame: the face is a disc whose place depends on the number."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    x, y = 16 + 5 * np.sin(number / 3), 16 + 3 * np.cos(number / 5)
    u, v = (columns - x) / 18 + 0.5, (rows - y) / 18 + 0.5
    face = (u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.25
    skin = np.stack([0.7 + 0.2 * np.sin(12 * u), 0.5 + 0.2 * np.cos(9 * v), 0.4 + 0.2 * np.sin(8 * u * v)], -1)
    wall = np.stack([columns / SIZE, rows / SIZE, np.full_like(rows, 0.3)], -1)
    frame = np.where(face[..., None], skin, wall)
    render = np.where(face[..., None], np.stack([u, v, 1 - u], -1), 0)
    uv = np.where(face[..., None], np.stack([u, v, np.ones_like(u)], -1), 0)
    eight = {
        name: (np.clip(p, 0, 1) * 255).round().astype(np.uint8) for name, p in (("frames", frame), ("render", render))
    }
    return eight | {"alpha": face.astype(np.uint8) * 255, "uv": (np.clip(uv, 0, 1) * 65535).round().astype(np.uint16)}


def write_clip(folder, count, first=0, fit_torso=None):
    """Image folders and fit.parquet of a clip of `count` frames."""
    for number in range(count):
        for name, image in images(first + number).items():
            write_image(folder / name / image_name(number), image)
    torso = {} if fit_torso is None else {"torso": fit_torso}
    write_manifest(folder / "fit.parquet", "fit", fit_columns(count) | torso, {})


def fit_columns(count):
    """Columns of fit.parquet: small rotations, all else in the middle."""
    random = np.random.default_rng(0)
    return {
        "frame": np.arange(count, dtype=np.int32),
        "fitted": np.ones(count, bool),
        "rotation": random.normal(size=(count, 3)) * 0.1,
        "translation": np.zeros((count, 3)),
        "expression": random.normal(size=(count, 5)),
        "gaze": np.zeros((count, 4)),
        "light": np.zeros((count, 27)),
        "torso": np.zeros((count, 2)),
        "landmark_error": np.zeros(count),
        "quality": np.array(["ok"] * count, dtype=object),
    }


def write_manifests(folder, count, fps=10.0, **changes):
    """The five manifests of a clip; `changes` replace columns, as "kind_column"."""
    frame = np.arange(count, dtype=np.int32)
    hashes = np.array(["0" * 16] * count)
    columns = {
        "decode": {
            "frame": frame,
            "time_s": frame / fps,
            "source_frame": frame,
            "face": np.ones(count, bool),
            "face_box_px": np.zeros((count, 4)),
            "duplicate": np.zeros(count, bool),
            "sharpness": np.full(count, 100.0),
            "picture_hash": hashes,
        },
        "landmarks": {
            "frame": frame,
            "found": np.ones(count, bool),
            "points_px": np.zeros((count, 956)),
            "depth": np.zeros((count, 478)),
            "confidence": np.ones(count),
        },
        "matting": {"frame": frame, "alpha_hash": hashes, "coverage": np.full(count, 0.4), "flicker": np.zeros(count)},
        "fit": fit_columns(count),
        "render": {"frame": frame, "render_hash": hashes, "uv_hash": hashes, "face_share": np.full(count, 0.2)},
    }
    for name, values in changes.items():
        kind, column = name.split("_", 1)
        columns[kind][column] = values
    facts = {"decode": {"size_px": SIZE, "fps": fps, "source": "talk.mp4"}}
    facts["landmarks"] = {"landmark_set": "mediapipe478"}
    for kind, table in columns.items():
        write_manifest(folder / f"{kind}.parquet", kind, table, facts.get(kind))


def write_identity(path):
    """An identity.npz with what the train and avatar stages look at: a square of two triangles as the face."""
    corners = np.array([[-4, -4, 0], [4, -4, 0], [4, 4, 0], [-4, 4, 0]], np.float32)
    np.savez(
        path,
        model="facemesh",
        template=corners,
        expression_basis=np.zeros((2, 4, 3), np.float32) + np.array([0.1, 0, 0], np.float32),
        expression_scale=np.ones(2, np.float32),
        expression_low=-np.ones(2, np.float32),
        expression_high=np.ones(2, np.float32),
        tri=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        tri_part=np.zeros(2, np.int8),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        focal_px=np.float32(2.5 * SIZE),
        principal=np.full(2, SIZE / 2, np.float32),
        size_px=np.int32(SIZE),
        texture=np.full((16, 16, 3), 128, np.uint8),
        texture_weight=np.ones((16, 16), np.float32),
        eye_center=np.array([[2, -1, 1], [-2, -1, 1]], np.float32),
        eye_radius=np.ones(2, np.float32),
        iris_radius=np.float32(0.5),
        landmark_vertices=np.arange(4, dtype=np.int32),
    )
    return path
