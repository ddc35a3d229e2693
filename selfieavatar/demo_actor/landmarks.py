"""Locate well-defined points of MediaPipe's face mesh on the actor."""

from __future__ import annotations

import numpy as np

from selfieavatar.demo_actor.head import Head
from selfieavatar.demo_actor.shape import CHIN_Y, EYE_HALF, EYE_X, MOUTH_HALF, MOUTH_Y, lip_profile

# MediaPipe numbers; the subject's right eye is at the left of the image.
EYE_POINTS = {
    "right": {"outer": 33, "inner": 133, "upper": 159, "lower": 145, "iris": 468},
    "left": {"outer": 263, "inner": 362, "upper": 386, "lower": 374, "iris": 473},
}
BROW_POINTS = {"right": {"outer": 70, "inner": 107}, "left": {"outer": 300, "inner": 336}}


class FacePoints:
    """Map MediaPipe's points to vertices of a head's skin and pupils.

    Attributes:
        index: (L,) MediaPipe numbers.
        name: (L,).
        openings: pairs of rows of the tables of points (left lids, right lids, inner lips).
    """

    def __init__(self, head: Head) -> None:
        self._grid = head.grid
        places: list[tuple[int, str, int]] = []
        for side, name in ((-1.0, "right"), (1.0, "left")):
            eye, brow, lift = EYE_POINTS[name], BROW_POINTS[name], head.identity.brow_height
            places += [
                (eye["outer"], f"{name}_eye_outer", self._near(side * (EYE_X + EYE_HALF), 0.0)),
                (eye["inner"], f"{name}_eye_inner", self._near(side * (EYE_X - EYE_HALF), 0.0)),
                (eye["upper"], f"{name}_lid_upper", self._slit(self._grid.eye_row, side * EYE_X)),
                (eye["lower"], f"{name}_lid_lower", self._slit(self._grid.eye_row + 1, side * EYE_X)),
                (brow["outer"], f"{name}_brow_outer", self._near(side * 5.35, -2.45 - lift)),
                (brow["inner"], f"{name}_brow_inner", self._near(side * 1.3, -2.75 - lift)),
            ]
        upper, lower = (float(v[0]) for v in lip_profile(np.zeros(1), head.identity.lip_fullness))
        row = self._grid.mouth_row
        places += [
            (61, "mouth_right", self._near(-MOUTH_HALF, MOUTH_Y - 0.1)),
            (291, "mouth_left", self._near(MOUTH_HALF, MOUTH_Y - 0.1)),
            (13, "lip_upper_inner", self._slit(row, 0.0)),
            (14, "lip_lower_inner", self._slit(row + 1, 0.0)),
            (0, "lip_upper_outer", self._near(0.0, MOUTH_Y - upper)),
            (17, "lip_lower_outer", self._near(0.0, MOUTH_Y + lower)),
            (1, "nose_tip", self._near(0.0, 4.15)),
            (152, "chin", self._near(0.0, CHIN_Y - 0.65)),
            (10, "forehead", self._near(0.0, -5.5)),
            (234, "oval_right", self._near(-6.6, 1.3)),
            (454, "oval_left", self._near(6.6, 1.3)),
        ]
        self._vertex = np.array([v for _, _, v in places])
        numbers, names = [n for n, _, _ in places], [n for _, n, _ in places]
        # The middle of the pupil is vertex 0 of each eyeball's sheet.
        starts = np.cumsum([0, *(len(p.vertices) for p in head.pieces)])
        eyes = [starts[k] for k in head.eye_pieces]
        self._vertex = np.concatenate([self._vertex, eyes])
        self.index = np.array([*numbers, EYE_POINTS["left"]["iris"], EYE_POINTS["right"]["iris"]], np.int32)
        self.name = np.array([*names, "left_iris", "right_iris"])
        row_of = {name: k for k, name in enumerate(self.name)}
        self.openings = [
            (row_of["left_lid_upper"], row_of["left_lid_lower"]),
            (row_of["right_lid_upper"], row_of["right_lid_lower"]),
            (row_of["lip_upper_inner"], row_of["lip_lower_inner"]),
        ]

    def _near(self, x: float, y: float) -> int:
        """Find the vertex of the front nearest to flat coordinates (cm)."""
        flat = self._grid.flat
        return int(np.argmin((flat[:, 0] - x) ** 2 + (flat[:, 1] - y) ** 2 + 1e3 * (self._grid.front < 0.05)))

    def _slit(self, row: int, x: float) -> int:
        """Find the vertex of a slit row nearest to x."""
        vertices = self._grid.index[row]
        flat = self._grid.flat[vertices, 0] + 1e3 * (self._grid.front[vertices] < 0.5)
        return int(vertices[np.argmin(np.abs(flat - x))])

    def positions(self, vertices: np.ndarray) -> np.ndarray:
        """Pick the points (L,3) from the head's vertices (V,3), same axes and unit."""
        return vertices[self._vertex]
