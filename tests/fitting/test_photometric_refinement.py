"""The joint refinement: drawn as the renderer draws, its gradients against finite differences, and what it fixes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from selfieavatar.fitting.clip_fit import ClipFit, reprojection_error
from selfieavatar.fitting.photometric_refinement import (
    Appearance,
    JointSettings,
    Observations,
    Scene,
    refine,
    refine_clip,
    rotation_matrices,
)
from selfieavatar.identity import Identity
from selfieavatar.rendering.raster import CpuBackend, NvdiffrastBackend
from selfieavatar.rendering.renderer import Renderer
from tests.fitting.lit import LIGHT, subject, video

AWAY = np.array([0.0, 0.0, 45.0])


def _scene(size_px: int, dtype: torch.dtype = torch.float32, **settings):
    arrays, model, camera = subject(size_px)
    weights = np.ones(len(model.landmark_vertices))
    return arrays, model, camera, Scene(CpuBackend(), model, camera, weights, JointSettings(**settings), dtype=dtype)


def test_rotations_equal_opencv() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 3))
    vectors[0] = 0.0
    ours = rotation_matrices(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(ours, [cv2.Rodrigues(v)[0] for v in vectors], atol=1e-6)


def test_draws_what_the_renderer_draws() -> None:
    arrays, _, _, scene = _scene(96)
    rotation = np.array([0.2, -0.4, 0.1])
    expected = Renderer(Identity.from_arrays(arrays), supersample=1, light=LIGHT).render(rotation, AWAY, np.zeros(2))
    points = scene.points(scene.tensor(np.concatenate([rotation, AWAY, np.zeros(2)])[None]))
    texture, light = scene.tensor(arrays["texture"] / 255.0), scene.tensor(LIGHT)[None]
    drawn, face = scene.draw(points, texture, light, torch.zeros(1, 96, 96, 3))
    assert ((face[0].numpy() >= 0) == expected.mask).mean() > 0.999
    counted = scene.counted(face, torch.ones(1, 96, 96))[0].numpy()
    assert np.abs(drawn[0].numpy() * 255.0 - expected.image)[counted].mean() < 1.0


def test_gradients_equal_finite_differences() -> None:
    arrays, _, _, scene = _scene(32, torch.float64)
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([[0.1, 0.2, 0.0, *AWAY, 0.1, 0.2]], dtype=torch.float64)
    image = torch.rand(1, 32, 32, 3, generator=generator, dtype=torch.float64)
    wanted = torch.rand(1, len(scene.at), 2, generator=generator, dtype=torch.float64) * 32.0
    values = {
        "coefficients": truth, "texture": scene.tensor(arrays["texture"] / 255.0), "light": scene.tensor(LIGHT)[None],
    }  # fmt: skip

    def energy(coefficients, texture, light):
        points = scene.points(coefficients)
        photo = scene.photo_energy(points, texture, light, image, torch.ones(1, 32, 32, dtype=torch.float64))
        return (photo + scene.landmark_energy(points, wanted, torch.full((1,), 20.0, dtype=torch.float64))).sum()

    for value in values.values():
        value.requires_grad_(True)
    gradients = dict(zip(values, torch.autograd.grad(energy(**values), list(values.values())), strict=True))
    for name, value in values.items():
        strongest = gradients[name].abs().flatten().topk(6).indices
        for index in strongest.tolist():
            step = torch.zeros(value.numel(), dtype=torch.float64)
            step[index] = 1e-6
            step = step.reshape(value.shape)
            above, below = (energy(**(values | {name: value.detach() + sign * step})) for sign in (1, -1))
            difference = float((above - below).detach()) / 2e-6
            assert float(gradients[name].flatten()[index]) == pytest.approx(difference, rel=1e-3, abs=1e-4), name


@pytest.fixture(scope="module")
def spoilt():
    """Three frames at 64 px, landmarks with noise, and a start a little off in everything."""
    arrays, model, camera, scene = _scene(64, iterations=25, rate=0.2, batch=2)
    turns = np.array([-0.3, 0.0, 0.35])
    points, images, mattes, rotation = video(arrays, turns, np.repeat(LIGHT[None], 3, axis=0))
    generator = np.random.default_rng(0)
    pixels = camera.project(points) + generator.normal(0.0, 0.3, (*points.shape[:2], 2))
    observations = Observations(images, mattes, pixels, np.full(3, 20.0), np.zeros(2, bool))
    start = Appearance(
        rotation + generator.normal(0.0, 0.02, (3, 3)), np.tile(AWAY, (3, 1)) + generator.normal(0.0, 0.1, (3, 3)),
        generator.normal(0.0, 0.1, (3, 2)), np.clip(arrays["texture"] / 255.0 + 0.04, 0, 1),
        (LIGHT * np.linspace(1.0, 0.6, 9)[:, None].astype(np.float32))[None], np.zeros(3, int),
    )  # fmt: skip
    return scene, observations, start, (rotation, model, camera)


def _photo_error(scene: Scene, observations: Observations, look: Appearance) -> float:
    coefficients = np.concatenate([look.rotation, look.translation, look.expression], axis=1)
    with torch.no_grad():
        frames = scene.tensor(observations.images) / 255.0
        lights = scene.tensor(look.lights[look.owner])
        drawn, face = scene.draw(scene.points(scene.tensor(coefficients)), scene.tensor(look.texture), lights, frames)
        counted = scene.counted(face, scene.tensor(observations.mattes) / 255.0)
        return float((drawn - frames).abs().mean(3)[counted].mean())


def _landmark_error(observations: Observations, look: Appearance, model, camera) -> float:
    pose = np.concatenate([look.rotation, look.translation], axis=1)
    return float(
        reprojection_error(model, camera, observations.points, observations.eye_distance, pose, look.expression).mean()
    )


def test_images_fix_pose_texture_and_light(spoilt) -> None:
    scene, observations, start, (rotation, model, camera) = spoilt
    given = start.texture.copy()
    result, change = refine(scene, observations, start, learn_appearance=True)
    assert _photo_error(scene, observations, result) < 0.5 * _photo_error(scene, observations, start)
    assert _landmark_error(observations, result, model, camera) < 1.1 * _landmark_error(
        observations, start, model, camera
    )
    assert np.abs(result.rotation - rotation).mean() < 0.7 * np.abs(start.rotation - rotation).mean()
    assert (start.texture == given).all() and result.texture.min() >= 0 and result.texture.max() <= 1
    np.testing.assert_allclose(result.lights[:, 0], start.lights[:, 0], rtol=1e-5)
    assert change.shape == (3, 8)


def test_weights_of_blendshapes_keep_within_their_limits(spoilt) -> None:
    scene, observations, start, (_, model, camera) = spoilt
    bounded = replace(
        model, expression_low=np.zeros(model.expression_count), expression_high=np.full(model.expression_count, 0.05)
    )
    tight = Scene(scene.backend, bounded, camera, np.ones(len(model.landmark_vertices)), scene.settings)
    start = replace(start, expression=np.clip(start.expression, 0, 0.05))
    result, _ = refine(tight, observations, start, learn_appearance=False)
    assert result.expression.min() >= -1e-6 and result.expression.max() <= 0.05 + 1e-6


def test_a_clip_keeps_texture_gaps_and_ties(spoilt, monkeypatch) -> None:
    scene, observations, start, (rotation, model, camera) = spoilt
    order = np.array([0, 1, 2, 2])
    quality = np.array(["ok", "ok", "ok", "lost"])
    values = [np.where((quality == "lost")[:, None], np.nan, v[order]) for v in (start.rotation, start.translation)]
    expression = np.where((quality == "lost")[:, None], np.nan, start.expression[order])
    clip = ClipFit(quality == "ok", *values, expression, np.zeros((4, 4)), np.zeros(4), quality, np.zeros(3, bool))
    monkeypatch.setattr("selfieavatar.fitting.photometric_refinement._CHUNK", 2)
    measure = "selfieavatar.fitting.photometric_refinement.inter_ocular_distance"
    monkeypatch.setattr(measure, lambda points, _set: np.full(len(points), 20.0))
    texture = np.round(start.texture * 255).astype(np.uint8)
    seen = []

    def read(rows):
        seen.append(rows.tolist())
        return observations.images[order[rows]], observations.mattes[order[rows]]

    result = refine_clip(scene, clip, observations.points[order], texture, np.repeat(start.lights, 4, axis=0), read)
    assert seen == [[0, 1], [2]]
    assert np.isnan(result.rotation[3]).all() and np.isnan(result.error[3]) and np.isfinite(result.error[:3]).all()
    assert (result.rotation[:3] != clip.rotation[:3]).any() and (result.quality == quality).all()
    pose = np.concatenate(values, axis=1)[:3]
    before = reprojection_error(model, camera, observations.points, observations.eye_distance, pose, expression[:3])
    assert result.error[:3].mean() < 1.1 * before.mean()


@pytest.mark.gpu
def test_a_gpu_reaches_the_same(spoilt) -> None:
    pytest.importorskip("nvdiffrast", reason="needs nvdiffrast, which is built from source")
    scene, observations, start, (_, model, camera) = spoilt
    gpu = Scene(NvdiffrastBackend(), model, camera, np.ones(len(model.landmark_vertices)), scene.settings)
    ours, theirs = (refine(where, observations, start, learn_appearance=True)[0] for where in (scene, gpu))
    np.testing.assert_allclose(theirs.rotation, ours.rotation, atol=0.005)
    assert _photo_error(scene, observations, theirs) < 1.2 * _photo_error(scene, observations, ours)
