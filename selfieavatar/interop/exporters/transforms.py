"""Export NeRF-style data: images, masks, meshes and the camera's pose relative to the head, as published code reads it.

World axes: the head's, x to its left, y up, z out of the face (FLAME's), in centimetres times `scale`. The head is
fixed and the camera moves. NeRFace (Gafni et al., CVPR 2021) reads cameras in OpenGL's axes (x right, y up, z
backward), as NeRF code does in general. INSTA (Zielonka et al., CVPR 2023) reads OpenCV's (x right, y down, z forward),
takes the mask from a fourth channel, and reads meshes, coefficients and depth from files.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import Camera, rotation_matrix, transform
from selfieavatar.io.images import encode_png
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.raster_cpu import ZBuffer, clip_matrix, clip_positions

METHODS = ("nerface", "insta")
SCALE = 0.01  # metres
FLIP = np.array([1.0, -1.0, -1.0])  # model axes <-> world axes, OpenCV's camera axes <-> OpenGL's
NERFACE_EXPRESSIONS, INSTA_EXPRESSIONS = 76, 16  # coefficients that their networks take
DEPTH_STEPS = 1000  # of INSTA's depth images for one unit


def to_world(points: np.ndarray, scale: float) -> np.ndarray:
    """Transform model points (..., 3) cm to world axes and units."""
    return np.asarray(points, float) * (scale * FLIP)


def camera_to_world(rotation: np.ndarray, translation: np.ndarray, scale: float, opengl: bool) -> np.ndarray:
    """Invert head poses, camera from model in OpenCV's axes (docs/conventions.md), to camera-to-world matrices.

    Args:
        rotation: axis-angle (N, 3).
        translation: (N, 3) cm.
        scale: world units of a cm.
        opengl: the camera's axes are OpenGL's, else OpenCV's.

    Returns:
        (N, 4, 4), world point = matrix @ camera point.
    """
    world_from_camera = FLIP[:, None] * np.swapaxes(rotation_matrix(np.asarray(rotation, float)), -1, -2)
    matrices = np.tile(np.eye(4), (len(rotation), 1, 1))
    matrices[:, :3, :3] = world_from_camera * (FLIP if opengl else 1.0)
    matrices[:, :3, 3] = -scale * (world_from_camera @ np.asarray(translation, float)[..., None])[..., 0]
    return matrices


def camera_fields(camera: Camera, method: str) -> dict[str, Any]:
    """List the intrinsics of a transforms file.

    cx, cy: pixels, the first pixel's centre at 0.5. `intrinsics` is NeRFace's fx, fy, cx, cy, the latter as shares of
    the side with pixel centres at whole numbers, which is how it casts rays.
    """
    (cx, cy), side = camera.principal, camera.size_px
    angle = 2 * math.atan(side / (2 * camera.focal_px))
    fields = {
        "camera_angle_x": angle, "camera_angle_y": angle, "fl_x": camera.focal_px, "fl_y": camera.focal_px, "cx": cx,
        "cy": cy, "w": side, "h": side,
    }  # fmt: skip
    if method == "nerface":
        return fields | {"intrinsics": [camera.focal_px, camera.focal_px, (cx - 0.5) / side, (cy - 0.5) / side]}
    return fields | {"integer_depth_scale": 1 / DEPTH_STEPS}


def padded(expression: np.ndarray, least: int) -> list[float]:
    """Pad coefficients (E,) by zeros to at least `least` numbers."""
    values = np.asarray(expression, float)
    return [*values.tolist(), *[0.0] * (least - len(values))]


def face_box(points: np.ndarray, side: int) -> list[float]:
    """Compute NeRFace's bounding box of pixels (V, 2): first and last row, first and last column, as shares."""
    low, high = np.clip(points.min(0) / side, 0, 1), np.clip(points.max(0) / side, 0, 1)
    return [float(low[1]), float(high[1]), float(low[0]), float(high[0])]


def latent_codes(count: int) -> bytes:
    """Write NeRFace's index_map.npy for `count` test frames: the number of a latent code in the second column.

    Its evaluation takes that of row 10 for all; here each is 0, the first frame trained on.
    """
    file = io.BytesIO()
    np.save(file, np.zeros((max(count, 11), 2), np.int64))
    return file.getvalue()


def obj_faces(tri: np.ndarray) -> str:
    """Format triangles (F, 3) as lines of an OBJ file."""
    return "".join(f"f {a} {b} {c}\n" for a, b, c in (np.asarray(tri) + 1).tolist())


def obj(vertices: np.ndarray, faces: str) -> bytes:
    """Format an OBJ file of vertices (V, 3) and the lines of `obj_faces`."""
    return ("".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in vertices.tolist()) + faces).encode()


def depth_map(points: np.ndarray, tri: np.ndarray, camera: Camera) -> np.ndarray:
    """Render a mesh (V, 3) cm, (F, 3) to depth along the camera's axis (S, S) cm, 0 off the mesh."""
    size = (camera.size_px, camera.size_px)
    buffer = ZBuffer(size, len(tri))
    buffer.draw(clip_positions(points, camera.focal_px, camera.principal, size), np.ascontiguousarray(tri, np.int32))
    matrix = clip_matrix(camera.focal_px, camera.principal, size)
    return np.where(buffer.face_at >= 0, matrix[2, 3] / (buffer.depth - matrix[2, 2]), 0.0)


class TransformsData:
    """Collect one subject's data for one method; frames may be added from several threads.

    Args:
        model: the subject's face.
        camera: of the frames (S px).
        method: one of METHODS.
        scale: world units of a centimetre.
    """

    def __init__(self, model: MorphableModel, camera: Camera, method: str, scale: float) -> None:
        self.model, self.camera, self.method, self.scale = model, camera, method, scale
        self._faces = obj_faces(model.tri)
        self._fields: dict[int, dict[str, Any]] = {}
        self._reach: list[tuple[float, float]] = []

    def frame_files(
        self, number: int, row: Mapping[str, np.ndarray], filmed: tuple[np.ndarray, np.ndarray] | None
    ) -> dict[str, bytes]:
        """Encode the files of a frame, by their paths.

        Args:
            number: the running number.
            row: rotation (3,), translation (3,) cm, expression (E,), gaze (4,) rad.
            filmed: frame (S, S, 3) and alpha (S, S), uint8, 255 on the person; None for a driver's frames: their
                image is black, since both readers open it and neither renders from it.

        Raises:
            UserError: the depth overflows 16 bits.
        """
        pose = row["rotation"][None].astype(float), row["translation"][None].astype(float)
        vertices = self.model.vertices(row["expression"])
        points = transform(vertices.astype(float), *pose)[0]
        self._reach.append((points[:, 2].min() * self.scale, points[:, 2].max() * self.scale))
        name, insta = f"{number:06d}", self.method == "insta"
        black = np.zeros((self.camera.size_px, self.camera.size_px, 3), np.uint8)
        frame, alpha = filmed or (black, black[..., 0])
        fields = {
            "transform_matrix": camera_to_world(*pose, self.scale, opengl=not insta)[0].tolist(),
            "mesh_path": f"meshes/{name}.obj", "gaze": row["gaze"].tolist(),
        }  # fmt: skip
        files = {f"meshes/{name}.obj": obj(to_world(vertices, self.scale), self._faces)}
        if insta:
            fields |= {
                "file_path": f"images/{name}.png", "exp_path": f"flame/exp/{name}.txt",
                "depth_path": f"depth/{name}.png",
            }  # fmt: skip
            numbers = "".join(f"{value:.8f}\n" for value in padded(row["expression"], INSTA_EXPRESSIONS))
            files |= {
                f"images/{name}.png": encode_png(np.dstack([frame, alpha])),
                f"flame/exp/{name}.txt": numbers.encode(), f"depth/{name}.png": encode_png(self._depth(points)),
            }  # fmt: skip
        else:  # NeRFace appends .png to file_path itself
            fields |= {
                "file_path": f"images/{name}", "bbox": face_box(self.camera.project(points), self.camera.size_px),
                "expression": padded(row["expression"], NERFACE_EXPRESSIONS),
            }  # fmt: skip
            files[f"images/{name}.png"] = encode_png(frame)
            if filmed is not None:
                fields["mask_path"] = f"masks/{name}.png"
                files[f"masks/{name}.png"] = encode_png(alpha)
        self._fields[number] = fields
        return files

    def _depth(self, points: np.ndarray) -> np.ndarray:
        """Render the uint16 depth image in steps of 1 / DEPTH_STEPS units."""
        depth = depth_map(points, self.model.tri, self.camera) * self.scale
        if depth.max() * DEPTH_STEPS > np.iinfo(np.uint16).max:
            raise UserError(f"at this --scale the face is {depth.max():.0f} units away, more than INSTA's depth "
                            f"images can hold; leave it at {SCALE}, metres")  # fmt: skip
        return np.round(depth * DEPTH_STEPS).astype(np.uint16)

    def shared_files(self, splits: Mapping[str, Iterable[int]]) -> dict[str, bytes]:
        """Write the files for all frames, once they have been added: a transforms file for each split, a mesh."""
        common = camera_fields(self.camera, self.method)
        files = {}
        for split, numbers in splits.items():
            numbers = list(numbers)
            if self.method == "nerface" and split == "test":
                files["index_map.npy"] = latent_codes(len(numbers))
            content = common | {"frames": [self._fields[number] for number in numbers]}
            files[f"transforms_{split}.json"] = (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
        if self.method == "insta":
            files["canonical.obj"] = obj(to_world(self.model.template, self.scale), self._faces)
        return files

    def facts(self) -> dict[str, Any]:
        """Collect the facts for the README, once all frames have been added; near and far in world units."""
        near, far = zip(*self._reach, strict=True)
        return {
            "size": self.camera.size_px, "count": self.model.expression_count, "model": self.model.name,
            "unit": "metres" if self.scale == SCALE else f"1 unit is {1 / self.scale:g} cm", "near": min(near),
            "far": max(far),
        }  # fmt: skip
