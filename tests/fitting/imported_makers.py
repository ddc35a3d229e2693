"""Files of fitted coefficients as others write them, with the truth computed as their own programs do."""

import json

import numpy as np
from scipy.spatial.transform import Rotation

from tests.morphable.published.test_flame import naive

INTRINSICS = np.array([-2.5, 2.5, 0.52, 0.47])  # fx, fy, cx, cy over the side of the image
FOCAL = 657 / 256 * 2 / 3  # FaceVerse v3, over the side of the whole crop


def flame_content(frames: int, first: int = 1, seed: int = 0, distance: float = 4.0, look: float = 1.0) -> dict:
    """flame_params.json of a head that turns (root and neck), talks and looks about."""
    rng = np.random.default_rng(seed)
    shape, axis = 0.5 * rng.normal(size=100), rng.normal(size=3)
    entries = []
    for n in range(frames):
        turn = Rotation.from_rotvec(0.15 * np.sin(0.2 * n) * axis / np.linalg.norm(axis)).as_matrix()
        place = [[0.05 * np.sin(0.3 * n)], [-0.05], [-distance + 0.02 * n]]
        root, neck = 0.1 * rng.normal(size=3), 0.1 * rng.normal(size=3)
        jaw = [0.08 + 0.08 * np.sin(n), 0.02 * np.cos(n), 0]
        eye = [look * 0.1 * np.sin(0.5 * n), look * 0.2 * np.cos(0.5 * n), 0]
        entries.append({
            "file_path": f"./image/{first + n}", "world_mat": np.concatenate([turn, place], 1).tolist(),
            "expression": (0.2 * rng.normal(size=50)).tolist(), "pose": [*root, *neck, *jaw, *eye, *eye],
        })  # fmt: skip
    return {"frames": entries, "intrinsics": INTRINSICS.tolist(), "shape_params": shape.tolist()}


def flame_truth(data: dict, content: dict) -> np.ndarray:
    """(N, V, 2) where IMAvatar sees the vertices, shares of the image's side: naive skinning, x4, along -z."""
    seen = []
    shaped = data["v_template"] + data["shapedirs"][:, :, :100] @ np.array(content["shape_params"])
    for frame in content["frames"]:
        shape = shaped + data["shapedirs"][:, :, 300:350] @ np.array(frame["expression"])
        world = np.array(frame["world_mat"])
        points = 4 * naive(data, shape, np.array(frame["pose"]).reshape(5, 3)) @ world[:, :3].T + world[:, 3]
        seen.append(INTRINSICS[:2] * points[:, :2] / points[:, 2:] + INTRINSICS[2:])
    return np.array(seen)


def write_flame(path, content):
    path.write_text(json.dumps(content))
    return path


def faceverse_rows(frames: int, seed: int = 0) -> np.ndarray:
    """(N, 490) vectors of a head that turns, talks and moves."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((frames, 490), np.float32)
    rows[:, :150] = 0.2 * rng.normal(size=150)
    rows[:, 150:202] = rng.uniform(0, 0.5, (frames, 52)) * (rng.random((frames, 52)) < 0.2)
    rows[:, 453:456] = 0.2 * rng.normal(size=(frames, 3))
    rows[:, 483:486] = 0.3 * rng.normal(size=(frames, 3))
    return rows


def faceverse_truth(table: dict, rows: np.ndarray) -> np.ndarray:
    """(N, V, 2) where FaceVerse v3 sees the vertices (mm, y up), over the side of the whole crop."""
    seen = []
    basis = [np.reshape(table[key], (-1, 3, table[key].shape[-1])) for key in ("idBase", "exBase_52")]
    for row in rows.astype(float):
        shape = table["meanshape"] + basis[0] @ row[:150] + basis[1] @ row[150:202]
        shape = 0.01 * shape * [1, -1, -1]  # 10 cm, y down, z away
        turn = Rotation.from_euler("xyz", row[453:456]).as_matrix()
        points = shape @ turn.T + row[483:486] + [0, 0, 10]
        seen.append(FOCAL * points[:, :2] / points[:, 2:] + 0.5)
    return np.array(seen)
