"""Separate the images of a fitted face into albedo and light (intrinsic images) by robust least squares. NumPy.

The model is I = a(texel) E(normal) for each colour, with the irradiance E in nine spherical harmonics (Ramamoorthi and
Hanrahan 2001; see `rendering.shading`). It is fitted to the encoded values of the images: the encoding is
nearly a power law, which leaves a product a product, and I_R is drawn on encoded values too. Given the albedo the light
is a linear problem of nine unknowns for each colour, given the light the albedo is a weighted mean for each texel.

Two ambiguities have to be settled. A factor can move between both: the mean irradiance over the readings is 1 in each
colour, so that the albedo has the colours of the images. And where the head hardly turns, any shading could as well
be paint: a weak pull of the albedo towards its mean gives it to the light. Irradiance is positive on all normals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec

import cv2
import numpy as np

from selfieavatar.geometry.camera import Camera
from selfieavatar.morphable.model import MorphableModel
from selfieavatar.rendering.shading import BAND_FACTORS, default_light, sh_basis
from selfieavatar.rendering.texture import LEAST_IRRADIANCE, TexelReading, mesh_texels, read_texels, unwrap

# Mean square over the sphere of each band's irradiance: (Y00 times the cosine lobe's factor of its order) squared.
BAND_POWER = (BAND_FACTORS[0] * np.array([1.0] + [2.0 / 3.0] * 3 + [0.25] * 5)) ** 2
# Irradiance 1 on every normal; and the weight of this prior where a frame shows nothing.
EVEN_LIGHT = np.concatenate([np.full((1, 3), 1.0 / BAND_FACTORS[0]), np.zeros((8, 3))]).astype(np.float32)
_EVEN_WEIGHT = 1e-4
# Side of the grid of texels on which the light is fitted: it needs the shape of the face, not its pores.
LIGHT_PX = 64
_ROUNDS = 8
_CLIP_ROUNDS = 5
_ROBUST_SCALE = 2.5  # of the robust weight, in standard deviations
# A reading counts in full for the light from this weight on: the outermost, foreshortened skin is read badly.
_LEAST_SHARE = 0.15


def photometric_mode(setting: str, device: str) -> str:
    """`fit.photometric` with auto decided: full on a GPU that has its rasteriser, else light."""
    if setting != "auto":
        return setting
    return "full" if device != "cpu" and find_spec("nvdiffrast") is not None else "light"


@dataclass(frozen=True)
class LightSettings:
    """What the fit expects, relative to the mean brightness of the readings.

    noise: error of a reading. support: how many independent readings one light's count for. contrast: spread of the
    irradiance over all directions. skin: prior weight of the mean albedo, over the weight of an average
    texel's readings. change: departure of the irradiance from the take's own light. pace_s: time in which it may come
    about, s.
    """

    noise: float = 0.07
    support: float = 200.0
    contrast: float = 0.2
    skin: float = 0.003
    change: float = 0.1
    pace_s: float = 1.0


@dataclass
class Readings:
    """N frames on P texels: colours (N, P, 3) in [0, 1], weights (N, P), harmonics (N, P, 9), all float32."""

    colours: np.ndarray
    weights: np.ndarray
    harmonics: np.ndarray


def gather(readings: Iterable[TexelReading], kept: np.ndarray) -> Readings:
    """Stack readings of the texels `kept` (P,) bool, without those seen at a grazing angle."""
    colours, weights, harmonics = [], [], []
    for reading in readings:
        colours.append(reading.colours[kept].astype(np.float32) / 255.0)
        weights.append(np.where(reading.shares[kept] < _LEAST_SHARE, 0.0, reading.shares[kept]))
        harmonics.append(sh_basis(reading.normals[kept].astype(np.float32)))
    return Readings(np.stack(colours), np.stack(weights).astype(np.float32), np.stack(harmonics))


def skin_readings(
    model: MorphableModel, camera: Camera, points: np.ndarray, images: np.ndarray, mattes: np.ndarray
) -> tuple[Readings, tuple[np.ndarray, np.ndarray]]:
    """Read what N frames show on the skin, and the rows and columns (P,) of its texels on a grid of LIGHT_PX.

    points: (N, V, 3) camera points, cm; images (N, S, S, 3), mattes (N, S, S) uint8; camera: in their pixels. Eyes
    and the inside of the mouth are left out: they are not on the mesh's surface.
    """
    texels = mesh_texels(model.tri, model.uv, LIGHT_PX)
    skin = model.tri_part[texels[1]] == 0
    view = camera.focal_px, np.asarray(camera.principal)
    rows, columns = texels[0]
    return gather(read_texels(points, images, model.tri, texels, *view, mattes), skin), (rows[skin], columns[skin])


def albedo_at(texture: np.ndarray, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return (P, 3) float32 in [0, 1]: texture (T, T, 3) uint8 at the places of `skin_readings`."""
    small = cv2.resize(texture, (LIGHT_PX, LIGHT_PX), interpolation=cv2.INTER_AREA)
    return small[places].astype(np.float32) / 255.0


def learn_appearance(
    model: MorphableModel, camera: Camera, points: np.ndarray, images: np.ndarray, mattes: np.ndarray,
    owner: np.ndarray, size_px: int, light: bool = True,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Separate texture and light of a subject by alternating robust least squares.

    Returns texture (T, T, 3) uint8, texture_weight (T, T), light (9, 3), its mean over the frames, and lights (G, 9, 3)
    of each clip. owner (N,): number of each frame's clip; the other arguments are those of `skin_readings`. Without
    `light` nothing is separated: the texture is as recorded and the light is the fixed one.
    """
    lights = np.repeat(default_light()[None], owner.max() + 1, axis=0)
    if light:
        lights, _ = separate(skin_readings(model, camera, points, images, mattes)[0], owner)
    texture, weight = unwrap(
        points, images, model.tri, model.uv, camera.focal_px, np.asarray(camera.principal), size_px, alpha=mattes,
        lights=lights[owner] if light else None,
    )  # fmt: skip
    if not weight.any():
        raise ValueError("no frame shows any skin")
    return {"texture": texture, "texture_weight": weight, "light": lights[owner].mean(axis=0), "lights": lights}


def positive(light: np.ndarray) -> np.ndarray:
    """Lights (..., 9, 3) whose directional bands are scaled down where some normal would get (nearly) no light.

    The least irradiance over the sphere is then LEAST_IRRADIANCE times the mean over the sphere.
    """
    mean = light[..., :1, :] * BAND_FACTORS[0]
    change = _SPHERE[:, 1:] @ light[..., 1:, :]
    room = (1.0 - LEAST_IRRADIANCE) * mean
    scale = np.minimum(1.0, room / np.maximum(-change.min(axis=-2, keepdims=True), 1e-9))
    return np.concatenate([light[..., :1, :], light[..., 1:, :] * np.maximum(scale, 0.0)], axis=-2)


def _sphere(count: int = 400) -> np.ndarray:
    """Harmonics (count, 9) on evenly spread normals (Fibonacci lattice)."""
    number = np.arange(count) + 0.5
    z, azimuth = 1.0 - 2.0 * number / count, number * np.pi * (1.0 + 5.0**0.5)
    radius = np.sqrt(1.0 - z**2)
    return sh_basis(np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z], axis=1))


_SPHERE = _sphere()


def robust_weights(readings: Readings, albedo: np.ndarray, lights: np.ndarray, settings: LightSettings) -> np.ndarray:
    """Multiply the readings' weights by Geman-McClure's for residuals of lights (N, 9, 3), albedo (P, 3): (N, P)."""
    left = readings.colours - albedo * np.maximum(readings.harmonics @ lights.astype(np.float32), 0.0)
    square = (left**2).mean(axis=2)
    seen = readings.weights > 0
    usual = 2.2 * np.median(square[seen]) if seen.any() else 0.0  # the median of a normal error's square is 0.45
    return readings.weights / (1.0 + square / (_ROBUST_SCALE**2 * max(usual, settings.noise**2))) ** 2


def _normal_equations(
    readings: Readings, albedo: np.ndarray, weights: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3, 9, 9) and (N, 3, 9) of the lights that make `wanted` (N, P, 3): for each frame and colour."""
    scaled = (weights[..., None] * albedo**2).transpose(0, 2, 1)
    harmonics = readings.harmonics
    left = np.stack([(harmonics * scaled[:, c, :, None]).transpose(0, 2, 1) @ harmonics for c in range(3)], axis=1)
    shown = weights[..., None] * albedo * wanted
    right = (harmonics.transpose(0, 2, 1) @ shown).transpose(0, 2, 1)
    return left.astype(np.float64), right.astype(np.float64)


def solve_lights(
    readings: Readings, albedo: np.ndarray, weights: np.ndarray, owner: np.ndarray, settings: LightSettings
) -> np.ndarray:
    """Lights (G, 9, 3), each from the frames n with owner[n] equal to its number; albedo (P, 3), weights (N, P)."""
    left, right = _normal_equations(readings, albedo, weights, readings.colours)
    lights = []
    prior = np.diag(np.concatenate([[_EVEN_WEIGHT], BAND_POWER[1:] / settings.contrast**2]))
    even = np.zeros((3, 9))
    even[:, 0] = _EVEN_WEIGHT * EVEN_LIGHT[0]
    for number in range(owner.max() + 1):
        own = owner == number
        gain = settings.support / settings.noise**2 / max(float(weights[own].sum()), 1e-9)
        wanted = gain * right[own].sum(0) + even
        lights.append(np.linalg.solve(gain * left[own].sum(0) + prior, wanted[..., None])[..., 0].T)
    return np.stack(lights)


def separate(
    readings: Readings, owner: np.ndarray, settings: LightSettings | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Lights (G, 9, 3) float32 and albedo (P, 3) float32 of the texels, in [0, 1]-colours.

    owner (N,): the number of the light, from 0, that shines in each frame (one for each clip).
    Texels that no frame shows get the mean albedo. Raises ValueError when the frames show nothing at all.
    """
    settings = settings or LightSettings()
    weights, colours = readings.weights, readings.colours
    if not (weights > 0).any():
        raise ValueError("no texel is seen in any frame")
    # Over the mean brightness all videos are alike, however dark.
    level = max(float((weights * colours.mean(axis=2)).sum() / weights.sum()), 1e-3)
    colours = colours / np.float32(level)
    readings = replace(readings, colours=colours)
    # From one albedo for all skin: what looks like shading on it is shading.
    albedo = np.broadcast_to(np.median(colours[weights > 0], axis=0), colours.shape[1:]).astype(np.float32)
    lights = np.repeat(EVEN_LIGHT[None], owner.max() + 1, axis=0)
    for _ in range(_ROUNDS):
        robust = robust_weights(readings, albedo, lights[owner], settings)
        lights = positive(lights + _light_steps(readings, albedo, lights, owner, robust, settings)).astype(np.float32)
        irradiance = np.maximum(readings.harmonics @ lights[owner], LEAST_IRRADIANCE)
        scale = (irradiance * robust[..., None]).sum((0, 1)) / robust.sum()
        lights, irradiance = lights / scale, irradiance / scale
        albedo = _mean_albedo(colours, irradiance, robust, settings.skin)
    return lights, albedo * np.float32(level)


def _light_steps(
    readings: Readings, albedo: np.ndarray, lights: np.ndarray, owner: np.ndarray, weights: np.ndarray,
    settings: LightSettings,
) -> np.ndarray:  # fmt: skip
    """Return (G, 9, 3): Gauss-Newton steps of the lights, when the albedo is always the best one for the light.

    Plain alternation creeps, since albedo and light make up for each other; here the albedo is eliminated (variable
    projection; Golub and Pereyra 1973, in Kaufman's form).
    """
    count, bands = len(lights), 9 * len(lights)
    irradiance = readings.harmonics @ lights[owner]
    left = readings.colours - albedo * irradiance
    gain = count * settings.support / settings.noise**2 / weights.sum()
    amount = (weights[..., None] * irradiance**2).sum(0)
    prior_weight = settings.skin * amount.mean(0)
    mean = (albedo * amount).sum(0) / np.maximum(amount.sum(0), 1e-9)
    amount = amount + np.maximum(prior_weight, 1e-6)
    slope = (weights[..., None] * irradiance * left).sum(0) + prior_weight * (mean - albedo)
    own, shown = _normal_equations(readings, albedo, weights, left)
    prior = np.concatenate([[_EVEN_WEIGHT], BAND_POWER[1:] / settings.contrast**2])
    # The mean irradiance over the readings stays: the scale is not the light's to choose.
    usual = np.concatenate([(readings.harmonics[owner == g] * weights[owner == g, :, None]).sum((0, 1))
                            for g in range(count)]) / weights.sum()  # fmt: skip
    steps = np.empty((count, 9, 3))
    for c in range(3):
        both = (weights * irradiance[..., c] * albedo[:, c])[..., None] * readings.harmonics
        both = np.concatenate([both[owner == g].sum(0) for g in range(count)], axis=1).astype(np.float64)
        system = -gain * (both / amount[:, c, None]).T @ both + 1e3 * gain * np.outer(usual, usual)
        right = -gain * both.T @ (slope[:, c] / amount[:, c])
        for g in range(count):
            part = slice(9 * g, 9 * g + 9)
            system[part, part] += gain * own[owner == g, c].sum(0) + np.diag(prior)
            right[part] += gain * shown[owner == g, c].sum(0) - prior * (lights[g, :, c] - EVEN_LIGHT[:, c])
        steps[..., c] = np.linalg.solve(system + 1e-6 * np.eye(bands), right).reshape(count, 9)
    return steps


def _mean_albedo(colours: np.ndarray, irradiance: np.ndarray, weights: np.ndarray, skin: float) -> np.ndarray:
    """Return (P, 3): least squares of each texel, drawn a little towards the mean albedo."""
    seen = (weights[..., None] * irradiance * colours).sum(0)
    amount = (weights[..., None] * irradiance**2).sum(0)
    mean = seen.sum(0) / np.maximum(amount.sum(0), 1e-9)
    prior_weight = skin * amount.mean(0)
    return ((seen + prior_weight * mean) / (amount + np.maximum(prior_weight, 1e-9))).astype(np.float32)


def lights_over_time(
    readings: Readings,
    albedo: np.ndarray,
    moments: tuple[np.ndarray, np.ndarray],
    wanted: tuple[np.ndarray, np.ndarray],
    settings: LightSettings | None = None,
) -> np.ndarray:
    """Light (M, 9, 3) float32 at M moments under a known albedo (P, 3): the take's own, and a slow change about it.

    moments: time in s (N,) and number of the take (N,) of the frames read; wanted: the same (M,) of the frames to be
    lit. The change is a local fit with a Gaussian window in time that never reaches across a cut, so it cannot flicker.
    """
    settings = settings or LightSettings()
    level = np.maximum(albedo.mean(), 1e-3)
    readings, albedo = replace(readings, colours=readings.colours / level), albedo / level
    takes, owner = np.unique(moments[1], return_inverse=True)
    lights = np.repeat(EVEN_LIGHT[None], len(takes), axis=0)
    for _ in range(_CLIP_ROUNDS):
        robust = robust_weights(readings, albedo, lights[owner], settings)
        lights = positive(solve_lights(readings, albedo, robust, owner, settings)).astype(np.float32)
    # A take too short for a frame of its own among those read gets the mean light.
    at = np.searchsorted(takes, wanted[1]).clip(max=len(takes) - 1)
    mean = np.where((takes[at] == wanted[1])[:, None, None], lights[at], lights[owner].mean(axis=0))
    if settings.change <= 0:
        return mean
    apart = (wanted[0][:, None] - moments[0]) / settings.pace_s
    window = np.exp(-0.5 * apart**2) * (wanted[1][:, None] == moments[1])
    gain = settings.support / settings.noise**2 / np.maximum(window @ robust.sum(axis=1), 1e-9)
    left_over = readings.colours - albedo * (readings.harmonics @ lights[owner])
    left, right = _normal_equations(readings, albedo, robust, left_over)
    left, right = (np.tensordot(window, part, 1) * gain.reshape(-1, *[1] * (part.ndim - 1)) for part in (left, right))
    change = np.linalg.solve(left + np.diag(BAND_POWER / settings.change**2), right[..., None])[..., 0]
    return _safe_sum(mean, change.transpose(0, 2, 1)).astype(np.float32)


def _safe_sum(light: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Positive lights (M, 9, 3) plus changes (M, 9, 3), each as much of it as leaves half of the least irradiance."""
    have, wish = _SPHERE @ light, _SPHERE @ change
    room = have - 0.5 * LEAST_IRRADIANCE * have.mean(axis=1, keepdims=True)
    share = np.where(wish < 0, room / np.maximum(-wish, 1e-9), 1.0).min(axis=(1, 2), keepdims=True)
    return light + np.clip(share, 0.0, 1.0) * change
