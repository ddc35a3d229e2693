"""A made-up subject on MediaPipe's mesh with known truth, for the tests of the fit."""

import numpy as np

from selfieavatar.geometry.camera import Camera, transform
from selfieavatar.identity import Identity
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.morphable.uv_layout import layout

SIZE = 256


def template() -> np.ndarray:
    """(468, 3) cm: the mesh spread over an oval by springs (Tutte), bent over an ellipsoid, with a nose.

    The outer eye corners are 9 cm apart, the origin is in their middle.
    """
    tri, _ = ls.facemesh_triangles()
    laplacian = np.zeros((ls.FACE_VERTICES, ls.FACE_VERTICES))
    for i in range(3):
        laplacian[tri[:, i], tri[:, i - 1]] = laplacian[tri[:, i - 1], tri[:, i]] = -1.0
    np.fill_diagonal(laplacian, -laplacian.sum(1))
    oval = list(ls.OVAL)
    angle = np.linspace(0, 2 * np.pi, len(oval), endpoint=False) - np.pi / 2
    flat = np.zeros((ls.FACE_VERTICES, 2))
    flat[oval] = np.stack([7.2 * np.cos(angle), 8.5 * np.sin(angle)], 1)
    free = np.setdiff1d(np.arange(ls.FACE_VERTICES), oval)
    flat[free] = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, oval)] @ flat[oval])
    # Springs crowd the middle: spread it.
    radius = np.hypot(flat[:, 0] / 7.2, flat[:, 1] / 8.5)
    flat *= (np.maximum(radius, 1e-6) ** -0.35)[:, None]
    x, y = flat.T
    nose = np.exp(-(((x - x[ls.NOSE_TIP]) / 1.2) ** 2) - ((y - y[ls.NOSE_TIP]) / 2.0) ** 2)
    shape = np.stack([x, y, 0.06 * x**2 + 0.02 * y**2 - 2.2 * nose], 1)
    right, left = shape[ls.RIGHT_OUTER_CORNER], shape[ls.LEFT_OUTER_CORNER]
    return (shape - 0.5 * (right + left)) * (9.0 / np.linalg.norm(left - right))


def model(expressions: int = 4) -> MorphableModel:
    """The subject: coefficient 0 closes the eyes, 1 opens the mouth, 2 widens it, 3 raises the brows."""
    shape = template()
    tri, part = ls.facemesh_triangles()
    basis = np.zeros((4, *shape.shape))
    for ring in (ls.LEFT_EYE, ls.RIGHT_EYE):
        upper = list(ring[9:])
        middle = shape[list(ring), 1].mean()
        basis[0, upper, 1] = 0.9 * (middle - shape[upper, 1]) * 2
    below = np.clip((shape[:, 1] - shape[ls.LOWER_LIP, 1] + 0.2) / 2, 0, 1)
    basis[1, :, 1] = 1.5 * below * np.exp(-((shape[:, 0] / 4) ** 2))
    mouth = np.exp(-((shape[:, 0] / 4) ** 2) - ((shape[:, 1] - shape[ls.UPPER_LIP, 1]) / 1.5) ** 2)
    basis[2, :, 0] = 0.2 * shape[:, 0] * mouth
    brows = list(ls.LEFT_BROW + ls.RIGHT_BROW)
    basis[3, brows, 1] = -0.6
    basis = basis[:expressions]
    vertices = np.full(478, -1, np.int32)
    vertices[:468] = np.arange(468)
    ones = np.ones(len(basis))
    eyes = np.stack([shape[list(ring)].mean(0) for ring in (ls.LEFT_EYE, ls.RIGHT_EYE)])
    eyes[:, 2] += 1.0
    uv = layout(shape, tri, part, rounds=5)
    return MorphableModel(
        "facemesh", shape, basis, ones, -ones, ones, tri, part, uv, vertices, eyes, np.full(2, 1.2), 0.585
    )


def movement(frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smooth rotation (N, 3), translation (N, 3) and expression (N, 4) with blinks of three frames every 25."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / 25.0
    phase = rng.uniform(0, 6.28, 10)
    rotation = np.stack(
        [0.15 * np.sin(1.3 * time + phase[0]), 0.4 * np.sin(0.9 * time + phase[1]), 0.1 * np.sin(time)], 1
    )
    translation = np.stack(
        [1.5 * np.sin(0.7 * time + phase[3]), np.sin(0.5 * time + phase[4]), 90 + 4 * np.sin(0.4 * time)], 1
    )
    blink = np.zeros(frames)
    for start in range(10, frames - 3, 25):
        blink[start : start + 3] = (0.6, 1.0, 0.5)
    speech = np.maximum(np.sin(7 * time + phase[6]), 0) * (np.sin(0.8 * time + phase[7]) > -0.3)
    smile = 0.5 + 0.5 * np.sin(1.1 * time + phase[8])
    return rotation, translation, np.stack([blink, speech, smile, 0.5 * np.sin(0.6 * time + phase[9])], 1)


def camera() -> Camera:
    """The project's default camera at SIZE."""
    return Camera.default(SIZE)


def identity(subject: MorphableModel | None = None, view: Camera | None = None, **parts: object) -> Identity:
    """The subject's identity with a plain texture; parts: what else it holds."""
    texture = np.full((16, 16, 3), 128, np.uint8)
    return Identity(subject or model(), view or camera(), texture, **parts)


def landmarks(
    subject: MorphableModel, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray,
    gaze: np.ndarray | None = None, noise_px: float = 0.0, seed: int = 1,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """What a detector would say: points (N, 478, 2) px and relative depth (N, 478) px; gaze (N, 2) yaw, pitch of
    both eyes.
    """
    view = camera()
    points = transform(subject.vertices(expression), rotation, translation)
    gaze = np.zeros((len(points), 2)) if gaze is None else gaze
    reach = np.sqrt(subject.eye_radius[0] ** 2 - subject.iris_radius**2)
    yaw, pitch = gaze.T
    ahead = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], 1)
    irises = []
    for eye in (1, 0):  # the right iris comes first in MediaPipe's numbering
        centre = transform(subject.eye_center[eye] + reach * ahead[:, None], rotation, translation)
        ring = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]]) * subject.iris_radius
        irises.append(centre + np.concatenate([ring, np.zeros((5, 1))], 1))
    points = np.concatenate([points, *irises], axis=1)
    pixels = view.project(points)
    rng = np.random.default_rng(seed)
    depth = (points[..., 2] - points[:, :468, 2].mean(1, keepdims=True)) * view.focal_px / translation[:, 2:]
    return pixels + rng.normal(0, noise_px, pixels.shape) if noise_px else pixels, depth


def hold_out(clip, held_from, test_from):
    """Write into a clip's manifests that its frames from `test_from` on are held out, with the gap before them."""
    for kind in ("decode", "fit"):
        if (path := clip / f"{kind}.parquet").is_file():
            table = read_manifest(path, kind)
            columns = {name: table[name] for name in table.table.column_names}
            write_manifest(path, kind, columns, {**table.metadata, "held_from": held_from, "test_from": test_from})
