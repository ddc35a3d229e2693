"""Model hair, ears and the clothed trunk."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d, map_coordinates

from selfieavatar.demo_actor.head import CLOTH, HAIR, SKIN
from selfieavatar.demo_actor.mesh import Piece, sheet
from selfieavatar.demo_actor.shape import ring_points, smoothstep
from selfieavatar.demo_actor.traits import Traits

# Hairline: azimuth (degrees) and y of the ring's front at which the cap of hair ends.
HAIRLINE = np.array([
    (0, -7.3), (22, -7.2), (42, -5.6), (56, -2.6), (70, 0.2), (80, 1.8), (88, -1.0), (104, -1.4), (118, 2.5),
    (140, 8.0), (180, 9.4),
])  # fmt: skip
# Trunk: y, half width, front z, back z.
TRUNK = np.array([
    (13.5, 5.0, -2.9, 6.2), (15.4, 6.0, -3.6, 6.8), (16.6, 7.6, -4.0, 7.0), (18.6, 12.4, -5.2, 7.8),
    (21.0, 16.6, -6.4, 8.6), (24.5, 19.2, -7.8, 9.0), (31.0, 20.2, -9.3, 9.5), (60.0, 19.5, -10.0, 9.5),
])  # fmt: skip
TRUNK_SCALE = 0.95


class Scalp:
    """Interpolate points above the surface of the bare head at any azimuth and ring height."""

    HEIGHTS = np.linspace(-12.0, 12.0, 121)
    AZIMUTHS = np.linspace(-np.pi, np.pi, 181)

    def __init__(self) -> None:
        self._points = ring_points(self.HEIGHTS, self.AZIMUTHS)
        along = np.gradient(self._points, axis=1)
        down = np.gradient(self._points, axis=0)
        normal = np.cross(down, along)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        normal = np.where(length > 1e-6, normal / np.maximum(length, 1e-6), [0.0, -1.0, 0.0])
        outwards = np.sign(np.sum(normal * (self._points - [0, 0, 0.8]), -1, keepdims=True))
        self._normal = normal * outwards
        self._normal[0] = [0.0, -1.0, 0.0]

    def __call__(self, height: np.ndarray, azimuth: np.ndarray, lift: np.ndarray) -> np.ndarray:
        """Interpolate points (...,3), `lift` cm above the skin at ring heights (cm) and azimuths (rad)."""
        azimuth = (azimuth + np.pi) % (2 * np.pi) - np.pi
        row = (height - self.HEIGHTS[0]) / (self.HEIGHTS[-1] - self.HEIGHTS[0]) * (len(self.HEIGHTS) - 1)
        column = (azimuth + np.pi) / (2 * np.pi) * (len(self.AZIMUTHS) - 1)
        at = np.stack(np.broadcast_arrays(row, column))
        pick = [
            map_coordinates(grid[..., k], at, order=1, mode="nearest")
            for grid in (self._points, self._normal)
            for k in range(3)
        ]
        return np.stack(pick[:3], -1) + np.stack(pick[3:], -1) * np.asarray(lift)[..., None]


def hairline(azimuth: np.ndarray) -> np.ndarray:
    """Interpolate the ring height (cm) of the hairline at azimuths (rad)."""
    folded = np.abs((azimuth + np.pi) % (2 * np.pi) - np.pi)
    return PchipInterpolator(*HAIRLINE.T)(np.degrees(folded))


def hair_cap(identity: Traits, scalp: Scalp, rng: np.random.Generator) -> Piece:
    """Model the shell of hair from the crown to the hairline, with ridges of strands."""
    azimuth = np.linspace(-np.pi, np.pi, 181)[None]
    part = np.linspace(0.0, 1.0, 48)[:, None]
    height = -12.0 + (hairline(azimuth) + 12.0) * part
    ridge = rng.normal(size=(12, 180))
    ridge = gaussian_filter1d(gaussian_filter1d(ridge, 1.2, axis=1, mode="wrap"), 3.0, axis=0)
    ridge = np.repeat(ridge / ridge.std(), 4, 0)[:, np.r_[0:180, 0]]
    full = 1.35 if identity.hair_style == "long" else 1.1
    lift = full * (1 - part**4) ** 0.6 * (0.75 + 0.25 * smoothstep(0.0, 0.5, part)) + 0.12
    cap = sheet(scalp(height, azimuth, lift + 0.16 * ridge * (1 - part**8)), HAIR)
    # Ambient occlusion between strands and at the rim above the skin.
    cap.open = np.clip(0.82 + 0.16 * ridge - 0.3 * part**6, 0.3, 1.0).ravel()
    return cap


def ribbons(path: np.ndarray, across: np.ndarray, width: np.ndarray, shade: np.ndarray) -> Piece:
    """Model tapered ribbons.

    Args:
        path: (N,K,3) centre lines.
        across: (N,K,3) unit vectors to the side.
        width: (N,K) cm.
        shade: (N,) u of each ribbon in the hair texture, in [0,1].
    """
    count, knots = path.shape[:2]
    half = 0.5 * width[..., None] * across
    arch = np.cross(across, np.gradient(path, axis=1))
    arch /= np.maximum(np.linalg.norm(arch, axis=-1, keepdims=True), 1e-6)
    points = np.stack([path - half, path + 0.18 * width[..., None] * arch, path + half], axis=2)
    index = np.arange(count * knots * 3, dtype=np.int32).reshape(count, knots, 3)
    a, b, c, d = index[:, :-1, :-1], index[:, :-1, 1:], index[:, 1:, :-1], index[:, 1:, 1:]
    tri = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    u = shade[:, None, None] + 0.02 * np.array([-1.0, 0.0, 1.0]) + np.zeros((count, knots, 1))
    v = np.linspace(0, 1, knots)[None, :, None] + np.zeros((count, 1, 3))
    uv = np.clip(np.stack([u, v], -1), 0, 1).reshape(-1, 2)
    return Piece(points.reshape(-1, 3), tri.astype(np.int32), uv, HAIR)


def hair_locks(identity: Traits, scalp: Scalp, rng: np.random.Generator) -> Piece:
    """Model locks on the cap that taper below the hairline: the fringe, the nape and a few strays."""
    count, knots = 430, 9
    azimuth = rng.uniform(-np.pi, np.pi, count)
    facing = np.cos(azimuth)
    end = hairline(azimuth) + rng.uniform(0.1, 0.8, count)
    if identity.hair_style == "fringe":
        forehead = smoothstep(0.55, 0.85, facing)
        end += forehead * rng.uniform(0.9, 2.2, count)
    start = np.maximum(-11.5, end - rng.uniform(3.5, 7.5, count))
    part = np.linspace(0, 1, knots)[None]
    height = start[:, None] + (end - start)[:, None] * part
    sweep = rng.normal(0.0, 0.16, count)[:, None] + 0.45 * np.clip(facing, 0, 1)[:, None]
    along = azimuth[:, None] + sweep * (part - 0.5) + 0.03 * np.sin(6 * part + rng.uniform(0, 6, count)[:, None])
    share = (height + 12.0) / (hairline(along) + 12.0)
    full = 1.35 if identity.hair_style == "long" else 1.1
    on_cap = full * np.clip(1 - np.clip(share, 0, 1) ** 4, 0, 1) ** 0.6 + 0.22
    stray = (rng.uniform(size=count) < 0.12)[:, None] * part**2 * rng.uniform(0.2, 0.7, count)[:, None]
    path = scalp(height, along, on_cap + stray + 0.06 * rng.uniform(0, 1, count)[:, None])
    side = np.stack([np.cos(along), 0 * along, np.sin(along)], -1)
    width = rng.uniform(0.35, 0.8, count)[:, None] * np.clip(1.02 - part**3, 0, 1) * np.where(stray > 0, 0.4, 1.0)
    locks = ribbons(path, side, width, rng.uniform(0.03, 0.97, count))
    locks.open = np.repeat(rng.uniform(0.65, 1.0, count), knots * 3)
    return locks


def long_hair(scalp: Scalp, rng: np.random.Generator) -> list[Piece]:
    """Model a curtain of hair from temple to temple around the back down to the shoulders, and locks on it."""

    def hang(azimuth: np.ndarray, y: np.ndarray, lift: np.ndarray) -> np.ndarray:
        on_head = scalp(np.minimum(y, 0.5), azimuth, lift)
        below = np.clip(y - 0.5, 0, None)
        narrow = 1.0 - 0.006 * below + 0.0035 * np.sin(below * 0.9 + 5 * azimuth) * below**0.5
        return np.stack([on_head[..., 0] * narrow, on_head[..., 1] + below, on_head[..., 2] * narrow], -1)

    azimuth = np.linspace(np.radians(76), np.radians(284), 141)[None]
    part = np.linspace(0, 1, 50)[:, None]
    fray = gaussian_filter1d(rng.normal(size=141), 1.5)[None]
    y = -7.0 + (23.5 + 0.9 * fray) * part
    ridge = gaussian_filter1d(rng.normal(size=141), 1.3)[None]
    curtain = sheet(hang(azimuth, y, 1.15 * np.ones_like(y) + 0.2 * ridge), HAIR)
    curtain.open = np.clip(0.75 + 0.18 * ridge - 0.25 * part, 0.3, 1.0).ravel()
    count = 130
    start = rng.uniform(np.radians(72), np.radians(288), count)[:, None]
    knots = np.linspace(0, 1, 14)[None]
    y = -6.5 + (rng.uniform(21.5, 25.0, count)[:, None]) * knots
    along = start + 0.05 * np.sin(5 * knots + rng.uniform(0, 6, count)[:, None])
    path = hang(along, y, 1.2 + 0.25 * rng.uniform(0, 1, count)[:, None] * np.ones_like(y))
    side = np.stack([np.cos(along), 0 * along, np.sin(along)], -1)
    width = rng.uniform(0.5, 1.1, count)[:, None] * np.clip(1.02 - knots**4, 0, 1)
    locks = ribbons(path, side, width, rng.uniform(0.03, 0.97, count))
    locks.open = np.repeat(rng.uniform(0.6, 1.0, count), 14 * 3)
    return [curtain, locks]


def ear(side: float) -> Piece:
    """Model one ear: a shell with a raised rim and a hollow; `side` +1 is the subject's left."""
    radius, angle = np.linspace(0, 1, 16)[:, None], np.linspace(-np.pi, np.pi, 40)[None]
    outline_z = np.where(np.sin(angle) > 0, 1.75, 1.2) * np.sin(angle) * (1 - 0.25 * np.cos(angle))
    outline_y = -3.0 * np.cos(angle)
    z, y = radius * outline_z, radius * outline_y
    rim = 0.42 * np.exp(-(((radius - 0.86) / 0.14) ** 2)) - 0.35 * np.exp(-((radius / 0.5) ** 2)) * np.ones_like(angle)
    flare = 0.45 * (z + 1.2)
    edge = -0.5 * smoothstep(0.88, 1.0, radius)
    x = side * (6.75 + flare + rim + edge)
    points = np.stack(np.broadcast_arrays(x, y + 1.3 + 0.15 * z, z + 1.6), -1)
    piece = sheet(points, SKIN)
    piece.uv = np.full_like(piece.uv, 0.0) + [0.5 + 0.17 * side, 0.56]
    piece.open = np.repeat(0.55 + 0.45 * smoothstep(0.2, 0.85, radius), 40, 1).ravel()
    return piece


def trunk() -> Piece:
    """Model shoulders and chest in a garment with a round neck."""
    y = np.concatenate([np.linspace(13.5, 17.0, 20), np.linspace(17.3, 26.0, 26), np.linspace(27.0, 60.0, 18)])
    half, front, back = PchipInterpolator(TRUNK[:, 0], TRUNK[:, 1:])(y).T[:, :, None] * TRUNK_SCALE
    angle = np.linspace(-np.pi, np.pi, 121)[None]
    sine, cosine = np.sin(angle), np.cos(angle)
    x = half * np.sign(sine) * np.abs(sine) ** 0.85
    middle = 0.5 * (front + back)
    reach = 0.5 * (back - front)
    z = middle - reach * np.sign(cosine) * np.abs(cosine) ** 0.85
    collar = 1 - smoothstep(14.0, 19.0, y)[:, None]
    lower = y[:, None] + collar * (1.6 * np.clip(cosine, 0, 1) ** 2 - 0.6 * np.clip(-cosine, 0, 1))
    piece = sheet(np.stack(np.broadcast_arrays(x, lower, z), -1), CLOTH, follow=0.0)
    shadow = 0.6 + 0.4 * smoothstep(14.5, 21.0, y)[:, None] + 0.3 * smoothstep(0.2, -0.6, cosine)
    piece.open = np.clip(shadow, 0, 1).ravel()
    return piece


def body_pieces(identity: Traits) -> list[Piece]:
    """Model ears, trunk and hair."""
    rng = np.random.default_rng([identity.seed, 202])
    scalp = Scalp()
    pieces = [ear(1.0), ear(-1.0), trunk(), hair_cap(identity, scalp, rng), hair_locks(identity, scalp, rng)]
    if identity.hair_style == "long":
        pieces += long_hair(scalp, rng)
    return pieces
