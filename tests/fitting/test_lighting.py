"""Albedo and light of a made-up face with known truth, whatever spoils some of the pixels."""

import numpy as np
import pytest

from selfieavatar.fitting.lighting import (
    EVEN_LIGHT,
    albedo_at,
    learn_appearance,
    lights_over_time,
    photometric_mode,
    positive,
    separate,
    skin_readings,
)
from selfieavatar.identity import Identity
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import sh_basis, shade
from tests.fitting.lit import LIGHT, subject, video

TURNS = np.linspace(-0.6, 0.6, 9)


@pytest.fixture(scope="module")
def shown():
    arrays, model, camera = subject(96)
    return arrays, model, camera, video(arrays, TURNS, np.repeat(LIGHT[None], len(TURNS), axis=0))


def _directions(count: int = 300) -> np.ndarray:
    """Unit normals within about 60 degrees of the camera's."""
    normals = np.random.default_rng(0).normal(size=(count, 3)) * (0.6, 0.6, 0.0) + (0.0, 0.0, -1.0)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _off_by(light: np.ndarray, truth: np.ndarray = LIGHT) -> float:
    """Mean error of the irradiance on what faces the camera, over its mean, when the scales are made equal."""
    have, wish = shade(_directions(), light), shade(_directions(), truth)
    return float(np.abs(have / have.mean(0) - wish / wish.mean(0)).mean())


def _redrawn(arrays, look, points, rotation) -> np.ndarray:
    renderer = Renderer(Identity.from_arrays(arrays | {"texture": look["texture"], "light": look["light"]}))
    return np.stack([renderer.render(r, np.array([0.0, 0.0, 45.0]), np.zeros(2)).image for r in rotation])


def _learn(model, camera, points, images, mattes, **options):
    return learn_appearance(model, camera, points, images, mattes, np.zeros(len(points), int), 64, **options)


def test_light_and_albedo_come_back(shown) -> None:
    arrays, model, camera, (points, images, mattes, rotation) = shown
    look = _learn(model, camera, points, images, mattes)
    assert _off_by(look["light"]) < 0.03 and _off_by(EVEN_LIGHT) > 0.06
    seen = look["texture_weight"] > 0.2
    ratio = look["texture"][seen] / arrays["texture"][seen].astype(float)
    spread = np.abs(ratio / np.median(ratio, axis=0) - 1.0).mean()
    assert spread < 0.05
    baked = _learn(model, camera, points, images, mattes, light=False)["texture"]
    baked_ratio = baked[seen] / arrays["texture"][seen].astype(float)
    assert spread < 0.8 * np.abs(baked_ratio / np.median(baked_ratio, axis=0) - 1.0).mean()
    inside = mattes > 0
    assert np.abs(_redrawn(arrays, look, points, rotation)[inside].astype(float) - images[inside]).mean() < 2.5


def test_a_hand_before_the_face_changes_little() -> None:
    arrays, model, camera = subject(96)
    turns = 0.45 * np.sin(np.arange(16))
    points, images, mattes, rotation = video(arrays, turns, np.repeat(LIGHT[None], len(turns), axis=0))
    spoilt, share = images.copy(), []
    for number, image in enumerate(spoilt):  # a bar of another colour that moves over the face
        rows, columns = np.nonzero(mattes[number])
        low = np.quantile(columns, 0.7 * (number * 0.618 % 1.0))
        bar = (columns >= low) & (columns < low + 12)
        image[rows[bar], columns[bar]] = (250, 60, 30)
        share.append(bar.mean())
    assert np.mean(share) > 0.2
    look = _learn(model, camera, points, spoilt, mattes)
    assert _off_by(look["light"]) < 0.04
    error = np.abs(_redrawn(arrays, look, points, rotation).astype(float) - images)[mattes > 0]
    assert np.median(error) < 2.0 and error.mean() < 5.0


def test_the_scale_between_albedo_and_light_is_settled(shown) -> None:
    _, model, camera, (points, images, mattes, _) = shown
    owner = np.zeros(len(points), int)
    readings, _ = skin_readings(model, camera, points, images, mattes)
    lights, albedo = separate(readings, owner)
    irradiance = readings.harmonics @ lights[owner]
    mean = (irradiance * readings.weights[..., None]).sum((0, 1)) / readings.weights.sum()
    np.testing.assert_allclose(mean, 1.0, atol=0.02)  # the outliers' weights make the difference
    readings.colours *= np.float32(0.5)
    darker, less = separate(readings, owner)
    np.testing.assert_allclose(shade(_directions(), darker[0]), shade(_directions(), lights[0]), atol=2e-3)
    np.testing.assert_allclose(less, albedo * 0.5, atol=2e-3)


def test_even_light_stays_even_and_clips_keep_their_own() -> None:
    arrays, model, camera = subject(96)
    turns = np.concatenate([TURNS, TURNS])
    lights = np.concatenate([np.repeat(EVEN_LIGHT[None], 9, axis=0), np.repeat(LIGHT[None], 9, axis=0)])
    points, images, mattes, _ = video(arrays, turns, lights)
    found, _ = separate(skin_readings(model, camera, points, images, mattes)[0], np.arange(18) // 9)
    assert _off_by(found[0], EVEN_LIGHT) < 0.03 and _off_by(found[1]) < 0.03
    # Between clips the scale is not free: the albedo is the same.
    have, wish = (shade(_directions(), light).mean(0) for light in found), (1.0, shade(_directions(), LIGHT).mean(0))
    dark, bright = next(have), next(have)
    np.testing.assert_allclose(bright / dark, wish[1] / wish[0], rtol=0.03)


def test_irradiance_is_positive_on_every_normal() -> None:
    generator = np.random.default_rng(1)
    normals = generator.normal(size=(2000, 3))
    basis = sh_basis(normals / np.linalg.norm(normals, axis=1, keepdims=True))
    harsh = generator.normal(size=(50, 9, 3)) * 2.0
    harsh[:, 0] = 3.0
    assert (basis @ harsh).min() < 0 < (basis @ positive(harsh)).min()
    np.testing.assert_allclose(positive(LIGHT), LIGHT, rtol=1e-6)


def test_light_changes_slowly_and_jumps_at_cuts() -> None:
    arrays, model, camera = subject(96)
    count = 16
    take = np.arange(count) // 8
    time_s = np.arange(count) * 0.5
    gain = np.where(take == 0, 1.0 + 0.02 * np.arange(count), 0.7)
    truth = LIGHT[None] * gain[:, None, None].astype(np.float32)
    points, images, mattes, _ = video(arrays, 0.4 * np.sin(time_s), truth)
    images[3] = 255 - images[3]
    mattes[5] = 0
    readings, places = skin_readings(model, camera, points, images, mattes)
    lights = lights_over_time(readings, albedo_at(arrays["texture"], places), (time_s, take), (time_s, take))
    brightness = shade(_directions(), lights.reshape(-1, 27)[0]).mean()
    found = np.array([shade(_directions(), light).mean() for light in lights])
    wish = np.array([shade(_directions(), light).mean() for light in truth])
    assert brightness == pytest.approx(wish[0], rel=0.08)
    np.testing.assert_allclose(found, wish, rtol=0.08)
    assert found[6] > found[1] and abs(found[8] - found[7]) > 5 * np.abs(np.diff(found[8:])).max()


def test_nothing_seen_is_an_error(shown) -> None:
    _, model, camera, (points, images, mattes, _) = shown
    with pytest.raises(ValueError, match="no texel"):
        _learn(model, camera, points, images, np.zeros_like(mattes))


def test_auto_is_light_without_a_gpu() -> None:
    assert photometric_mode("auto", "cpu") == "light"
    assert all(photometric_mode(mode, "cpu") == mode for mode in ("off", "light", "full"))
