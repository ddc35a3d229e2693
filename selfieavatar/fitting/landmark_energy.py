"""The landmark energy of a linear face and its derivatives by pose and expression, for many frames at once.

A frame's parameters are rotation (3, axis-angle), translation (3) and E coefficients. With the camera point
Y = R (T + sum_k e_k B_k) + t of a landmark, its derivative by the image is P = dproject/dY (2, 3), and a Gauss-Newton
Hessian of the coefficients is sum_m B_m^T (R^T P^T P R)_m B_m: linear in the six entries of the symmetric matrix in
the middle. The products of the basis are therefore made once, and the Hessians of many frames are one matrix product.
Coordinates are 32-bit, the small systems 64-bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from selfieavatar.geometry.camera import Camera, left_jacobian, rotation_matrix

_CHUNK = 64  # frames worked on at once: their arrays stay in the CPU's cache
_MOST_PACKED = 64  # more coefficients than this: the table of products would grow out of hand
_FEW = 4  # frames for which the table is not worth reading
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


class _Linear(NamedTuple):
    """Weighted derivatives of an image's points, and their weighted errors (k, 2, M).

    pose: by the pose (k, 6, 2, M), the rotation about the camera's axes. middle: by the model point (k, 2, 3, M).
    zoom: by log focal length (k, 2, M).
    """

    pose: np.ndarray
    middle: np.ndarray
    error: np.ndarray
    zoom: np.ndarray


class LandmarkEnergy:
    """Robust reprojection energy of n frames.

    Args:
        template: (M, 3) cm. basis: (E, M, 3) cm. camera: in the pixels of `points`.
        points: (n, M, 2) px. weights: (M,) or (n, M). eye_distance: (n,) px, the unit of distances.
        noise: expected distance in that unit. support: independent landmarks that a weight of 1 counts for.
        dtype: of the coordinates.

    Attributes:
        robust_scale: scale of the robust cost, in medians of a frame's distances.
    """

    def __init__(
        self, template: np.ndarray, basis: np.ndarray, camera: Camera, points: np.ndarray, weights: np.ndarray,
        eye_distance: np.ndarray, noise: float, support: float, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        self.count = len(basis)
        self.camera, self.support, self.dtype = camera, support, dtype
        self.template = np.ascontiguousarray(template.T, dtype)
        self.basis = np.ascontiguousarray(np.swapaxes(basis, 1, 2), dtype).reshape(self.count, -1)  # (E, 3 M)
        self.noise = noise
        self.weights = np.broadcast_to(weights, points.shape[:2]).astype(dtype)
        self.robust_scale = 8.0
        self._products: np.ndarray | None = None
        self.observe(points, eye_distance)

    def observe(self, points: np.ndarray, eye_distance: np.ndarray) -> None:
        """Exchange points (n, M, 2) and eye distances (n,) for those of other frames."""
        self.points = np.empty((len(points), 2, points.shape[1]), self.dtype)
        for rows in self._chunks(np.arange(len(points))):
            self.points[rows] = np.swapaxes(points[rows] - np.asarray(self.camera.principal), 1, 2)
        self.scale2 = (1 / (self.noise * np.asarray(eye_distance, float)) ** 2).astype(self.dtype)[:, None]

    def _chunks(self, rows: np.ndarray) -> list[np.ndarray]:
        return [rows[low : low + _CHUNK] for low in range(0, len(rows), _CHUNK)]

    def transform(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pose the points: rotations (k, 3, 3), R X and camera points, both (k, 3, M), of parameters (k, 6 + E)."""
        rotation = rotation_matrix(parameters[:, :3]).astype(self.dtype)
        model = (parameters[:, 6:].astype(self.dtype) @ self.basis).reshape(-1, *self.template.shape) + self.template
        rotated = rotation @ model
        return rotation, rotated, rotated + parameters[:, 3:6, None].astype(self.dtype)

    def _errors(self, camera_points: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project: X/Z and Y/Z, and the reprojection errors in px, both (k, 2, M)."""
        flat = camera_points[:, :2] / camera_points[:, 2:]
        return flat, self.dtype(self.camera.focal_px) * flat - self.points[rows]

    def _robust(self, error: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances (k, M) in units of the noise, and 1 + d^2 / scale^2 of Geman and McClure's cost.

        The scale follows the frame: `robust_scale` times its own median distance, but never under that many times the
        noise.
        """
        distance2 = (error[:, 0] ** 2 + error[:, 1] ** 2) * self.scale2[rows]
        robust2 = self.dtype(self.robust_scale**2) * np.maximum(self._middle(distance2, rows), 1)
        return distance2, 1 + distance2 / robust2

    def _middle(self, distances: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the median (k, 1) of distances (k, M) over the points that count."""
        counts = self.weights[rows] > 0
        rank = counts.sum(1) // 2
        ranked = np.where(counts, distances, np.inf)
        ranked.partition(np.unique(rank), axis=1)
        return np.take_along_axis(ranked, rank[:, None], axis=1)

    def median_distance(self, parameters: np.ndarray) -> np.ndarray:
        """Return the median reprojection distance (n,) in px."""
        found = np.empty(len(parameters))
        for rows in self._chunks(np.arange(len(parameters))):
            error = self._errors(self.transform(parameters[rows])[2], rows)[1]
            found[rows] = self._middle(np.sqrt((error**2).sum(1)), rows)[:, 0]
        return found

    def cost(self, parameters: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the energy (k,) of the frames `rows` of parameters (n, 6 + E)."""
        cost = []
        for part in self._chunks(rows):
            distance2, denominator = self._robust(self._errors(self.transform(parameters[part])[2], part)[1], part)
            cost.append(np.einsum("nm,nm->n", distance2 / denominator, self.weights[part], dtype=float))
        return self.support * np.concatenate(cost) if cost else np.zeros(0)

    def normal_equations(
        self, parameters: np.ndarray, rows: np.ndarray, focal: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Assemble Gauss-Newton Hessians (k, P, P) and gradients (k, P), P = 6 + E, of half the energy of frames.

        `rows` are numbers of frames of parameters (n, 6 + E). With `focal` there is one more row and column at the end:
        the logarithm of the focal length.
        """
        size = 6 + self.count
        hessian = np.empty((len(rows), size + focal, size + focal))
        gradient = np.empty((len(rows), size + focal))
        for low, part in zip(range(0, len(rows), _CHUNK), self._chunks(rows), strict=True):
            at, frame = slice(low, low + len(part)), self._linearise(parameters[part], part)
            count = len(part)
            flat = frame.pose.reshape(count, 6, -1)
            hessian[at, :6, :6] = flat @ np.swapaxes(flat, 1, 2)
            if self.count > _MOST_PACKED or count < _FEW:
                shape = self._shape_rows(frame.middle)
                hessian[at, :6, 6:size] = flat @ shape
                hessian[at, 6:size, 6:size] = np.swapaxes(shape, 1, 2) @ shape
            else:
                hessian[at, :6, 6:size] = self._mixed(frame.pose, frame.middle)
                hessian[at, 6:size, 6:size] = self._packed(frame.middle)
            gradient[at, :6] = (flat @ frame.error.reshape(count, -1, 1))[..., 0]
            gradient[at, 6:size] = self._project(frame, frame.error)
            if focal:
                zoom = frame.zoom.reshape(count, -1)
                hessian[at, :6, -1] = (flat @ zoom[..., None])[..., 0]
                hessian[at, 6:size, -1] = self._project(frame, frame.zoom)
                hessian[at, -1, -1] = (zoom**2).sum(1)
                gradient[at, -1] = (zoom * frame.error.reshape(count, -1)).sum(1)
                hessian[at, -1, 6:size] = hessian[at, 6:size, -1]
            hessian[at, 6:, :6] = np.swapaxes(hessian[at, :6, 6:], 1, 2)
            jacobian = left_jacobian(parameters[part, :3])
            hessian[at, :3] = np.swapaxes(jacobian, 1, 2) @ hessian[at, :3]
            hessian[at, :, :3] = hessian[at, :, :3] @ jacobian
            gradient[at, :3] = np.einsum("nij,ni->nj", jacobian, gradient[at, :3])
        return hessian, gradient

    def _linearise(self, parameters: np.ndarray, rows: np.ndarray) -> _Linear:
        rotation, rotated, points = self.transform(parameters)
        flat, error = self._errors(points, rows)
        root = np.sqrt(self.support * self.scale2[rows] * self.weights[rows]) / self._robust(error, rows)[1]
        error *= root[:, None]
        zoom = flat * (self.camera.focal_px * root)[:, None]
        root = root * (self.camera.focal_px / points[:, 2])
        x, y = flat[:, 0], flat[:, 1]
        pose = np.empty((len(rows), 6, 2, root.shape[1]), self.dtype)
        # [1 0 -x; 0 1 -y] times e_i x R X, then times e_i.
        pose[:, 0, 0], pose[:, 0, 1] = -x * rotated[:, 1], -y * rotated[:, 1] - rotated[:, 2]
        pose[:, 1, 0], pose[:, 1, 1] = x * rotated[:, 0] + rotated[:, 2], y * rotated[:, 0]
        pose[:, 2, 0], pose[:, 2, 1] = -rotated[:, 1], rotated[:, 0]
        pose[:, 3, 0], pose[:, 3, 1], pose[:, 4, 0], pose[:, 4, 1] = 1, 0, 0, 1
        pose[:, 5, 0], pose[:, 5, 1] = -x, -y
        pose *= root[:, None, None]
        middle = rotation[:, :2, :, None] - flat[:, :, None] * rotation[:, 2, :, None][:, None]
        middle *= root[:, None, None]
        return _Linear(pose, middle, error, zoom)

    def _project(self, frame: _Linear, image: np.ndarray) -> np.ndarray:
        """Multiply the derivatives by the coefficients with weighted vectors (k, 2, M) in the image: (k, E)."""
        fields = frame.middle[:, 0] * image[:, 0, None] + frame.middle[:, 1] * image[:, 1, None]
        return fields.reshape(len(fields), -1) @ self.basis.T

    def _mixed(self, pose: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Return second derivatives (k, 6, E) by pose and coefficients."""
        fields = pose[:, :, 0, None] * middle[:, None, 0] + pose[:, :, 1, None] * middle[:, None, 1]  # (k, 6, 3, M)
        return (fields.reshape(len(pose) * 6, -1) @ self.basis.T).reshape(len(pose), 6, -1)

    def _packed(self, middle: np.ndarray) -> np.ndarray:
        """Return second derivatives (k, E, E) by the coefficients, one product with the table of basis products."""
        first, second = np.triu_indices(self.count)
        if self._products is None:
            b = self.basis.reshape(self.count, 3, -1)
            self._products = np.concatenate([
                (b[first, i] * b[second, j] + (b[first, j] * b[second, i] if i != j else 0)).T for i, j in _PAIRS
            ])  # fmt: skip
        fields = np.stack([(middle[:, :, i] * middle[:, :, j]).sum(1) for i, j in _PAIRS], 1)
        packed = fields.reshape(len(middle), -1) @ self._products
        out = np.empty((len(middle), self.count, self.count), self.dtype)
        out[:, first, second] = packed
        out[:, second, first] = packed
        return out

    def _shape_rows(self, middle: np.ndarray) -> np.ndarray:
        """Return weighted derivatives (k, 2 M, E) by the coefficients."""
        count, _, _, points = middle.shape
        by_point = middle.transpose(3, 0, 1, 2).reshape(points, count * 2, 3)
        rows = by_point @ self.basis.reshape(self.count, 3, points).transpose(2, 1, 0)
        return rows.reshape(points, count, 2, -1).transpose(1, 2, 0, 3).reshape(count, 2 * points, -1)
