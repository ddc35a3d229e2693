"""Which landmarks of a turned head the camera sees, and where on it a contour lies."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from selfieavatar.geometry.normals import orient_outwards, vertex_normals
from selfieavatar.morphable.landmark_sets import contour_landmarks
from selfieavatar.morphable.model import MorphableModel

# Cosine between the outward normal and the way to the camera: fully trusted above, hardly below.
SEEN, HIDDEN = 0.25, -0.15
HIDDEN_WEIGHT = 0.15
_MOST_YAWS = 20  # of a published contour
_STRIP_POINTS = 10  # candidates for each landmark of a contour
_STRIP_REACH = 0.5  # how far they go towards the middle of the face
_STRIP_WIDTH = 0.06  # half, of that way


def outward_normals(vertices: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Return (V, 3) unit normals that point out of the surface, whichever way round its triangles run.

    A vertex without a triangle (a landmark somewhere on the surface) takes the normal of the nearest one that has.
    """
    normals = vertex_normals(vertices, tri).astype(float) * orient_outwards(vertices, tri)
    used = np.zeros(len(vertices), bool)
    used[tri] = True
    normals[~used] = normals[used][cKDTree(vertices[used]).query(vertices[~used])[1]]
    return normals


def facing(normals: np.ndarray, rotation: np.ndarray, camera_points: np.ndarray) -> np.ndarray:
    """Compute the cosine (n, M) between rotated normals (M, 3) and the way from points (n, 3, M) to the camera."""
    rotated = rotation @ normals.T.astype(rotation.dtype)
    return -(rotated * camera_points).sum(1) / np.linalg.norm(camera_points, axis=1)


def seen_weight(cosine: np.ndarray) -> np.ndarray:
    """Weight in [HIDDEN_WEIGHT, 1] of landmarks by `facing`: what the head itself hides, the detector guesses."""
    share = np.clip((cosine - HIDDEN) / (SEEN - HIDDEN), 0, 1)
    return HIDDEN_WEIGHT + (1 - HIDDEN_WEIGHT) * share * share * (3 - 2 * share)


class Sight:
    """The points of a model that stand for its landmarks, and how much each counts at a given pose.

    A landmark on the contour has a strip of candidates: those that the model's authors publish for some yaws, or the
    vertices from its own towards the middle of the face. At each pose only the outermost in the image counts, which
    is where the silhouette lies (as Zhu et al., "High-fidelity pose and expression normalization", CVPR 2015, landmark
    marching).

    Attributes:
        landmarks, vertices: (M,) landmark and vertex of each point. weights: (M,) of its landmark; they sum to 1 over
            the landmarks. upright: (M,) weights of a head that faces the camera, whose contour is where the model says.
    """

    def __init__(self, model: MorphableModel, weights: np.ndarray, occlusion: bool) -> None:
        self.occlusion = occlusion
        used = model.used_landmarks
        contour = np.intersect1d(used, contour_landmarks(len(model.landmark_vertices)))
        fixed = np.setdiff1d(used, contour)
        normals = outward_normals(model.template, model.tri)
        middle = model.template[model.landmark_vertices[fixed]].mean(0) if len(fixed) else model.template.mean(0)
        strips = [_candidates(model, normals, at, middle) for at in contour]
        sizes = [len(strip) for strip in strips]
        self.landmarks = np.concatenate([fixed, np.repeat(contour, sizes)]).astype(int)
        self.vertices = np.concatenate([model.landmark_vertices[fixed], *strips]).astype(int)
        self.normals = normals[self.vertices]
        self.weights = weights[self.landmarks] / max(weights[used].sum(), 1e-9)
        ends = len(fixed) + np.cumsum([0, *sizes])
        self._strips = [slice(low, high) for low, high in zip(ends[:-1], ends[1:], strict=True)]
        self.upright = self.weights.copy()
        for strip in self._strips:
            self.upright[strip.start + 1 : strip.stop] = 0
        self._outward = np.array([model.template[strip[0]] - middle for strip in strips]).reshape(-1, 3)

    def weigh(self, rotation: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return (n, M) weights at rotations (n, 3, 3) and camera points (n, 3, M)."""
        weights = np.broadcast_to(self.weights, (len(points), len(self.weights))).copy()
        if self.occlusion:
            weights *= seen_weight(facing(self.normals, rotation, points))
        for strip, away in zip(self._strips, self._outward, strict=True):
            direction = rotation[:, :2, :2] @ away[:2]
            flat = points[:, :2, strip] / points[:, 2:, strip]
            outermost = np.einsum("ni,nim->nm", direction, flat).argmax(1)
            weights[:, strip] = self.weights[strip] * (np.arange(strip.stop - strip.start) == outermost[:, None])
        return weights


def _candidates(model: MorphableModel, normals: np.ndarray, landmark: int, middle: np.ndarray) -> np.ndarray:
    """Return (K,) vertices where a landmark of the contour may lie; that of a head that faces the camera first."""
    vertex = model.landmark_vertices[landmark]
    if model.contour_vertices is None:
        return _strip(model.template, normals, vertex, middle)
    column = contour_landmarks(len(model.landmark_vertices)).index(landmark)
    # Neighbouring yaws share a triangle, or nearly: every third degree is fine enough.
    chosen = model.contour_vertices[:: max(1, len(model.contour_vertices) // _MOST_YAWS), column]
    places, first = np.unique(model.template[chosen].round(3), axis=0, return_index=True)
    same = (places == model.template[vertex].round(3)).all(1)
    return np.concatenate([[vertex], chosen[np.sort(first[~same])]])


def _strip(template: np.ndarray, normals: np.ndarray, vertex: int, middle: np.ndarray) -> np.ndarray:
    """Return the vertices (K,) from `vertex` towards the middle of the face, as seen from the front; itself first."""
    way = (middle - template[vertex])[:2]
    length = np.linalg.norm(way)
    offset = (template[:, :2] - template[vertex, :2]) / length
    along, across = offset @ way / length, np.abs(offset[:, 0] * way[1] - offset[:, 1] * way[0]) / length
    ahead = (along > 0) & (along < _STRIP_REACH) & (across < _STRIP_WIDTH)
    # Of the skin in front: not the inside of the mouth, nor the nape.
    ahead &= (normals[:, 2] < 0.2) & (template[:, 2] < template[vertex, 2] + 0.2 * length)
    found = np.flatnonzero(ahead)
    found = found[np.argsort(along[found], kind="stable")]
    chosen = found[np.unique(np.linspace(0, len(found) - 1, min(_STRIP_POINTS, len(found))).astype(int))]
    return np.concatenate([[vertex], chosen[chosen != vertex]])
