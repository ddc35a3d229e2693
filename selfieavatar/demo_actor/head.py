"""Model the animated head: lids, eyeballs, lips, jaw, teeth and tongue, moved by a few expression parameters."""

from __future__ import annotations

import numpy as np

from selfieavatar.demo_actor.mesh import Piece, ellipsoid, sheet
from selfieavatar.demo_actor.shape import (
    EYE_HALF,
    EYE_RADIUS,
    EYE_X,
    EYE_Z,
    LID_REACH_DOWN,
    LID_REACH_UP,
    MOUTH_HALF,
    MOUTH_Y,
    build_grid,
    bump,
    grid_triangles,
    smoothstep,
)
from selfieavatar.demo_actor.traits import Traits

EXPRESSIONS = (
    "jaw_open", "smile", "pucker", "upper_lip", "lower_lip", "brow_raise", "brow_lower", "blink_left", "blink_right",
    "squint",
)  # fmt: skip
JAW_HINGE = np.array([0.0, 2.2, 1.5])
JAW_ANGLE = 0.27  # rad at jaw_open = 1
LID_UP, LID_DOWN, LID_MEET = 0.66, 0.42, 0.16  # heights of the open lids over the slit and where they meet, cm
SKIN, EYE, LASH, GUM, TEETH, TONGUE, CLOTH, HAIR = range(8)  # materials
SIDES = ((1.0, "left"), (-1.0, "right"))  # the subject's left eye is at the right of the image


def unit_expression(**values: float) -> np.ndarray:
    """Make an expression vector (E,) with the named parameters set, others 0."""
    return np.array([values.get(name, 0.0) for name in EXPRESSIONS])


def gaze_rotation(yaw: float, pitch: float) -> np.ndarray:
    """Build the rotation (3,3) of -z to `yaw` (rad, + towards image right) and `pitch` (rad, + down)."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    by_yaw = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]])
    by_pitch = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    return by_yaw @ by_pitch


class Head:
    """Animate the head of one identity: fixed topology, vertices for each expression and gaze.

    `pieces` are in the reference pose; `vertices` concatenates their vertices in this order.
    """

    def __init__(self, identity: Traits) -> None:
        self.identity = identity
        self.grid = build_grid(identity)
        self._basis = self._expression_basis()
        self._jaw = self._jaw_weight()
        self._lids = [self._lid_region(side) for side, _ in SIDES]
        self._strips = self._edge_strips()
        self._eye_rest = self._eyeball()
        self._lower_teeth, self._tongue = self._teeth(upper=False), self._tongue_piece()
        grid = self.grid
        skin = Piece(grid.rest, grid.tri, grid.uv, SKIN, grid.stiff, self._skin_openness())
        neutral = self._skin_vertices(unit_expression(), np.zeros(4))
        strips = [
            Piece(
                neutral[edge][None].repeat(len(offsets), 0).reshape(-1, 3),
                grid_triangles(np.arange(len(offsets) * len(edge), dtype=np.int32).reshape(-1, len(edge))),
                self._strip_uv(len(offsets), len(edge)),
                material,
            )
            for edge, offsets, material in self._strips
        ]
        eyes = [
            Piece(self._eye_rest.vertices + self.eye_centre(side), self._eye_rest.tri, self._eye_rest.uv, EYE)
            for side, _ in SIDES
        ]
        throat = ellipsoid((0.0, 7.4, -5.2), (3.1, 2.9, 2.9), GUM)
        self.pieces = [skin, *strips, *eyes, self._teeth(upper=True), self._lower_teeth, self._tongue, throat]
        # Little light enters the mouth.
        for piece in self.pieces:
            piece.open = piece.open * {GUM: 0.35, TEETH: 0.6, TONGUE: 0.5}.get(piece.material, 1.0)

    @staticmethod
    def eye_centre(side: float) -> np.ndarray:
        """Locate the centre (3,) of an eyeball, cm; `side` +1 is the subject's left."""
        return np.array([side * EYE_X, 0.0, EYE_Z])

    @staticmethod
    def _strip_uv(rows: int, cols: int) -> np.ndarray:
        return np.stack(np.meshgrid(np.linspace(0, 1, cols), np.linspace(0, 1, rows)), -1).reshape(-1, 2)

    @staticmethod
    def _eyeball() -> Piece:
        """Model the front two thirds of a sphere around the origin.

        uv (0.5, 0.5) is the pupil's centre; the radius in uv is the angle from the axis over 2 rad.
        """
        polar, angle = np.linspace(0.0, 1.9, 30)[:, None], np.linspace(0, 2 * np.pi, 41)[None]
        cosine, sine = np.cos(angle), np.sin(angle)
        unit = np.stack(np.broadcast_arrays(np.sin(polar) * cosine, np.sin(polar) * sine, -np.cos(polar)), -1)
        piece = sheet(unit * EYE_RADIUS, EYE)
        uv = 0.5 + 0.5 * (polar / 2.0)[..., None] * np.stack([cosine, sine], -1)
        return Piece(piece.vertices, piece.tri[:, ::-1].copy(), uv.reshape(-1, 2), EYE)

    def _teeth(self, upper: bool) -> Piece:
        x = np.linspace(-2.3, 2.3, 40)[None]
        edge, root = (MOUTH_Y + 0.12, MOUTH_Y - 1.2) if upper else (MOUTH_Y + 0.1, MOUTH_Y + 1.5)
        y = np.linspace(root, edge, 8)[:, None]
        z = -8.9 + 0.5 * x**2 + (0.25 if not upper else 0.0) + 0.0 * y
        return sheet(np.stack(np.broadcast_arrays(x, y, z), -1), TEETH)

    @staticmethod
    def _tongue_piece() -> Piece:
        return ellipsoid((0.0, MOUTH_Y + 1.1, -6.0), (1.9, 0.65, 2.6), TONGUE)

    def _edge_strips(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """Model strips on the edges of the openings: (vertex numbers of the edge, offsets (K,n,3), material)."""
        grid, strips = self.grid, []
        for side, _ in SIDES:
            for row, sign in ((grid.eye_row, -1.0), (grid.eye_row + 1, 1.0)):
                columns = self._opening(row, side * EYE_X, EYE_HALF)
                edge, u = grid.index[row, columns], (grid.flat[grid.index[row, columns], 0] - side * EYE_X) / EYE_HALF
                rim = np.array([[0, 0, 0], [0, -0.02 * sign, 0.1], [0, -0.03 * sign, 0.35]])
                strips.append((edge, rim[:, None] + np.zeros((1, len(edge), 3)), SKIN))
                reach = (0.2 if sign < 0 else 0.09) * np.sqrt(np.clip(1.02 - u**2, 0, 1)) * (1 + 0.5 * u * side)
                tip = np.stack([0.35 * reach * u, sign * reach * 0.55, -reach], -1)
                root = np.array([0.0, 0.035 * -sign, -0.02]) * np.ones((len(edge), 1))
                strips.append((edge, np.stack([root, 0.5 * (root + tip), tip]), LASH))
        for row, sign in ((grid.mouth_row, -1.0), (grid.mouth_row + 1, 1.0)):
            columns = self._opening(row, 0.0, MOUTH_HALF)
            edge = grid.index[row, columns]
            inside = np.array([[0, 0, 0], [0, -0.03 * sign, 0.25], [0, 0.15 * sign, 0.6], [0, 0.8 * sign, 1.1]])
            strips.append((edge, inside[:, None] + np.zeros((1, len(edge), 3)), GUM))
        return strips

    def _opening(self, row: int, centre: float, half: float) -> np.ndarray:
        """Find the columns of a slit row in an opening, both corners included."""
        x = self.grid.flat[self.grid.index[row], 0]
        inside = np.flatnonzero((np.abs(x - centre) < half) & (self.grid.front[self.grid.index[row]] > 0.5))
        return np.arange(inside[0] - 1, inside[-1] + 2)

    def _expression_basis(self) -> dict[str, np.ndarray]:
        """Build the linear blend shapes (V,3) of the skin; jaw and lids are rotated instead."""
        grid = self.grid
        x, y, below = grid.flat[:, 0], grid.flat[:, 1], grid.below
        side, sign = np.abs(x), np.sign(x)
        d = {name: np.zeros((len(x), 3)) for name in EXPRESSIONS}
        corner = bump(side, y, (2.7, 6.5), (1.5, 1.6)) * smoothstep(0.0, 2.2, side)
        cheek = bump(side, y, (4.0, 3.6), (1.8, 1.5))
        d["smile"] += np.stack([sign * 0.75 * corner, -0.55 * corner - 0.45 * cheek, 0.55 * corner - 0.4 * cheek], -1)
        d["smile"][:, 2] += 0.25 * bump(side, y, (3.6, 5.4), (0.6, 1.3))
        lips = bump(x, y, (0.0, MOUTH_Y), (3.3, 1.9))
        forwards = -0.75 * lips * smoothstep(3, 0, side)
        d["pucker"] += np.stack([-0.36 * x * lips, 0.1 * (MOUTH_Y - y) * lips, forwards], -1)
        mouth = smoothstep(MOUTH_HALF, 0.6, side)
        rise = mouth * np.exp(-((np.clip(MOUTH_Y - y, 0, None) / 1.2) ** 2)) * ~below * (y > 4.7)
        sink = mouth * np.exp(-((np.clip(y - MOUTH_Y, 0, None) / 1.3) ** 2)) * below
        d["upper_lip"][:, 1] = -0.32 * rise
        d["lower_lip"][:, 1] = 0.4 * sink
        brow = np.exp(-(((y + 3.0) / 1.45) ** 2)) * smoothstep(6.3, 4.0, side)
        d["brow_raise"][:, 1] = -0.8 * brow
        d["brow_raise"][:, 2] = -0.1 * brow
        inner = bump(side, y, (1.6, -2.2), (1.3, 0.9))
        d["brow_lower"] += np.stack([-0.25 * sign * inner, 0.4 * inner, -0.12 * inner], -1)
        d["squint"][:, 1] = -0.18 * bump(side, y, (3.1, 1.9), (2.0, 0.9))
        return {name: value * grid.front[:, None] for name, value in d.items()}

    def _skin_openness(self) -> np.ndarray:
        """Compute the skin's ambient occlusion (V,): the chin shadows the neck, the hair the forehead."""
        grid = self.grid
        ring = np.repeat(grid.ring_y, grid.index.shape[1])
        chin = smoothstep(11.3, 11.9, ring) * (1 - 0.75 * smoothstep(12.5, 17.5, ring))
        hair = np.exp(-np.clip(grid.flat[:, 1] + 7.2, 0, None) / 1.0)
        return (1 - 0.5 * chin) * (1 - 0.4 * hair)

    def _jaw_weight(self) -> np.ndarray:
        """Compute the skinning weights (V,) of the jaw: 0 for the upper lip, 1 for lower lip and chin."""
        grid = self.grid
        x = grid.flat[:, 0]
        ring = np.repeat(grid.ring_y[:, None], grid.index.shape[1], 1).ravel()
        level = smoothstep(3.6, 10.4, ring)
        apart = smoothstep(0.0, MOUTH_HALF, np.abs(x))
        weight = np.where(grid.below, level + (1 - level) * (1 - apart), level * apart)
        beard = smoothstep(0.1, 0.75, np.cos(np.tile(grid.azimuth, len(grid.ring_y))))
        return weight * beard * (1 - smoothstep(11.5, 12.6, ring))

    def _lid_region(self, side: float) -> dict[str, np.ndarray]:
        """Collect the vertices of one eye's lids, their distance to the slit and the opening's profile."""
        grid = self.grid
        x, y = grid.flat[:, 0] - side * EYE_X, grid.flat[:, 1]
        near = np.flatnonzero(
            (np.abs(x) < EYE_HALF + 1.2) & (y > -LID_REACH_UP) & (y < LID_REACH_DOWN) & (grid.front > 0)
        )
        u = x[near] / EYE_HALF
        # The opening is almond-shaped: the upper edge peaks towards the nose, the lower one towards the temple.
        lean = np.clip(u * side, -1, 1)
        upper = np.clip(1 - np.abs(u) ** 2.2, 0, None) ** 0.8 * (1 - 0.1 * lean)
        lower = np.clip(1 - np.abs(u) ** 2.4, 0, None) ** 0.9 * (1 + 0.12 * lean)
        fade = smoothstep(1.85, 1.25, np.abs(u))
        under = grid.under[near]
        return {"index": near, "y": y[near], "under": under, "upper": upper, "lower": lower, "fade": fade}

    def lid_heights(self, blink: float, squint: float, pitch: float) -> tuple[float, float]:
        """Compute the heights of upper and lower lid over the slit (cm, up and down counted positive).

        pitch: gaze, rad, + down, which moves the upper lid.
        """
        size = self.identity.eye_open
        upper = LID_UP * size * (1 - 0.9 * np.clip(pitch, -0.3, 0.5)) * (1 - 0.15 * squint)
        lower = LID_DOWN * size * (1 + 0.25 * np.clip(pitch, -0.3, 0.5)) * (1 - 0.4 * squint)
        return (1 - blink) * upper - blink * LID_MEET, (1 - blink) * lower + blink * LID_MEET

    def _move_lids(self, vertices: np.ndarray, expression: np.ndarray, gaze: np.ndarray) -> None:
        squint = expression[EXPRESSIONS.index("squint")]
        for eye, ((side, name), lid) in enumerate(zip(SIDES, self._lids, strict=True)):
            up, down = self.lid_heights(expression[EXPRESSIONS.index(f"blink_{name}")], squint, gaze[2 * eye + 1])
            away = np.abs(lid["y"])
            reach = np.where(lid["under"], LID_REACH_DOWN, LID_REACH_UP)
            edge = np.where(lid["under"], down * lid["lower"], up * lid["upper"])
            shift = edge * np.clip(1 - away / reach, 0, 1)
            index = lid["index"]
            vertices[index, 1] += np.where(lid["under"], shift, -shift)
            offset = vertices[index] - self.eye_centre(side)
            inside = EYE_RADIUS**2 - offset[:, 0] ** 2 - offset[:, 1] ** 2
            ball = np.where(inside > 0, EYE_Z - np.sqrt(np.clip(inside, 0, None)) - 0.1, 1e3)
            skin, soft = vertices[index, 2], 0.18
            blend = np.clip(0.5 + 0.5 * (skin - ball) / soft, 0, 1)
            hugged = skin * (1 - blend) + ball * blend - soft * blend * (1 - blend)
            vertices[index, 2] += lid["fade"] * (np.where(inside > 0, hugged, skin) - skin)

    def _rotate_jaw(self, points: np.ndarray, amount: float, weight: np.ndarray | float) -> np.ndarray:
        """Rotate points about the jaw's hinge, weighted."""
        angle = JAW_ANGLE * amount
        c, s = np.cos(angle), np.sin(angle)
        arm = points - JAW_HINGE
        rotated = np.stack([arm[:, 0], c * arm[:, 1] - s * arm[:, 2], s * arm[:, 1] + c * arm[:, 2]], -1)
        return points + (rotated - arm) * np.reshape(weight, (-1, 1))

    def _skin_vertices(self, expression: np.ndarray, gaze: np.ndarray) -> np.ndarray:
        vertices = self.grid.rest.copy()
        for value, name in zip(expression, EXPRESSIONS, strict=True):
            if value != 0.0 and not name.startswith(("jaw", "blink")):
                vertices += value * self._basis[name]
        vertices = self._rotate_jaw(vertices, expression[0], self._jaw)
        self._move_lids(vertices, expression, gaze)
        return vertices

    def vertices(self, expression: np.ndarray, gaze: np.ndarray) -> np.ndarray:
        """Compute all vertices (V,3) cm of the head in model space, in the order of `pieces`.

        Args:
            expression: (E,) values in [0, 1], order `EXPRESSIONS`.
            gaze: (4,) rad: left yaw, left pitch, right yaw, right pitch.
        """
        skin = self._skin_vertices(expression, gaze)
        strips = [(skin[edge][None] + offsets).reshape(-1, 3) for edge, offsets, _ in self._strips]
        eyes = [
            self._eye_rest.vertices @ gaze_rotation(gaze[2 * k], gaze[2 * k + 1]).T + self.eye_centre(side)
            for k, (side, _) in enumerate(SIDES)
        ]
        jaw = [self._rotate_jaw(piece.vertices, expression[0], 1.0) for piece in (self._lower_teeth, self._tongue)]
        return np.concatenate([skin, *strips, *eyes, self.pieces[-4].vertices, *jaw, self.pieces[-1].vertices])

    @property
    def eye_pieces(self) -> list[int]:
        """Find the numbers of the eyeballs in `pieces`: the subject's left, then right."""
        return [number for number, piece in enumerate(self.pieces) if piece.material == EYE]

    def lid_shadow(self, eye: int, expression: np.ndarray, gaze: np.ndarray) -> np.ndarray:
        """Compute the ambient occlusion (v,) of an eyeball under the upper lid and towards the corners.

        eye: 0 the subject's left, 1 the right.
        """
        blink, squint = (expression[EXPRESSIONS.index(name)] for name in (f"blink_{SIDES[eye][1]}", "squint"))
        up, _ = self.lid_heights(blink, squint, gaze[2 * eye + 1])
        rotated = self._eye_rest.vertices @ gaze_rotation(gaze[2 * eye], gaze[2 * eye + 1]).T
        u = np.clip(np.abs(rotated[:, 0]) / EYE_HALF, 0, 1)
        gap = rotated[:, 1] + up * (1 - u**2.2) ** 0.8
        return (0.35 + 0.65 * smoothstep(0.0, 0.5, gap)) * (1 - 0.45 * smoothstep(0.6, 1.0, u))
