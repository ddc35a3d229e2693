"""Learn a personal model: a linear face on MediaPipe's mesh, from the subject's own clips.

Generalised Procrustes alignment of the detector's 3D shapes gives a first template and principal components; then
pose and expression (perspective, `landmark_solver`) and the model itself (a linear problem for each vertex) are
improved in turn, as in structure from motion, until the model reprojects onto what was detected.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from selfieavatar.fitting import gaze
from selfieavatar.fitting.eyelids import lacks_blinks, with_blinks
from selfieavatar.fitting.landmark_measures import mesh_inter_ocular_distance
from selfieavatar.fitting.landmark_solver import FitResult, SolverSettings, fit_landmarks
from selfieavatar.fitting.neutral import neutral_frames
from selfieavatar.geometry.camera import Camera, rotation_matrix, rotation_vector
from selfieavatar.geometry.pnp import kabsch
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable import uv_layout
from selfieavatar.morphable.model import MorphableModel

log = logging.getLogger(__name__)

NAME = "facemesh"
OUTER_EYES_CM = 9.0
COMPONENTS = 32
MOST_FRAMES = 600
# In MediaPipe's canonical face the line from forehead (10) to chin (152) leans by this angle; it defines pitch 0.
_LEAN = np.arctan2(0.217, 17.665)
_DEPTH_WEIGHT = 0.3  # of z in the principal components: the detector's depth is guesswork, x and y are measured
_VERTEX_NOISE_CM = 0.05
_TEMPLATE_FREEDOM_CM = 0.15  # how far one round may move the template,
_BASIS_FREEDOM_CM = 0.03  # and each basis vector at one standard deviation


def _procrustes(shapes: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Align by similarity shapes (N, V, 3) to a target (V, 3)."""
    share = weights / weights.sum()
    centred = shapes - (shapes * share[:, None]).sum(1, keepdims=True)
    middle = (target * share[:, None]).sum(0)
    goal = target - middle
    rotation, singular = kabsch(np.einsum("nvi,v,vj->nij", centred, share, goal))
    scale = singular.sum(1) / np.einsum("nvi,v->n", centred**2, share)
    return scale[:, None, None] * (centred @ rotation) + middle


def _upright(shape: np.ndarray) -> np.ndarray:
    """Bring a shape upright: plane of symmetry x = 0, forehead-chin line with the canonical lean; scale it to cm."""
    mirror = ls.mirror_pairs()
    across = (shape[mirror] - shape)[mirror > np.arange(len(mirror))]
    across *= np.sign(across @ (shape[ls.LEFT_OUTER_CORNER] - shape[ls.RIGHT_OUTER_CORNER]))[:, None]
    x = across.sum(0)
    x /= np.linalg.norm(x)
    down = shape[ls.CHIN] - shape[ls.FOREHEAD]
    down -= (down @ x) * x
    down /= np.linalg.norm(down)
    away = np.cross(x, down)
    # Canonical axes: forehead to chin is down and, by the lean, a little away from the camera.
    y = np.cos(_LEAN) * down - np.sin(_LEAN) * away
    upright = shape @ np.stack([x, y, np.cross(x, y)], 1)
    upright = upright - 0.5 * (upright[ls.RIGHT_OUTER_CORNER] + upright[ls.LEFT_OUTER_CORNER])
    return upright * (OUTER_EYES_CM / np.linalg.norm(upright[ls.RIGHT_OUTER_CORNER] - upright[ls.LEFT_OUTER_CORNER]))


def align_shapes(shapes: np.ndarray, rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Align shapes by generalised Procrustes analysis of the points that hardly deform.

    Returns aligned shapes (N, V, 3) and their centre (V, 3), in cm.
    """
    weights = np.zeros(shapes.shape[1])
    weights[list(ls.RIGID)] = 1.0
    centre = _upright(shapes[0])
    for _ in range(rounds):
        aligned = _procrustes(shapes, centre, weights)
        centre = _upright(np.median(aligned, axis=0))
        spread = np.sqrt(np.median(((_procrustes(shapes, centre, weights) - centre) ** 2).sum(2), axis=0))
        rigid = np.zeros_like(weights)
        rigid[list(ls.RIGID)] = 1 / (0.05 + spread[list(ls.RIGID)]) ** 2
        weights = rigid
    return _procrustes(shapes, centre, weights), centre


def diverse_frames(features: np.ndarray, most: int) -> np.ndarray:
    """Choose up to `most` frames that span the features (N, D): every k-th, then by farthest-point sampling."""
    count = len(features)
    if count <= most:
        return np.arange(count)
    chosen = list(np.unique(np.linspace(0, count - 1, most // 2).round().astype(int)))
    square = (features**2).sum(1)
    distance = np.full(count, np.inf)
    for number in chosen:
        distance = np.minimum(distance, square - 2 * features @ features[number] + square[number])
    while len(chosen) < most:
        number = int(np.argmax(distance))
        chosen.append(number)
        distance = np.minimum(distance, square - 2 * features @ features[number] + square[number])
    return np.sort(np.array(chosen))


def principal_components(offsets: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Compute principal components (E, V, 3) of offsets (N, V, 3), scaled so that each coefficient has spread 1.

    x and y lead, z follows by regression. Fewer than `count` are returned when there are too few frames, at least one
    (then 0).
    """
    frames = len(offsets)
    factor = np.sqrt(weights)[:, None] * np.array([1, 1, _DEPTH_WEIGHT])
    flat = (offsets * factor).reshape(frames, -1)
    u, s, _ = np.linalg.svd(flat, full_matrices=False)
    # A basis as large as half the frames would learn their noise; components under a thousandth of a mm are nothing.
    keep = max(1, min(count, frames // 2, int((s > 1e-3 * np.sqrt(frames)).sum())))
    scores = u[:, :keep] * np.sqrt(frames)
    basis = np.einsum("ne,nvi->evi", scores, offsets) / frames
    return basis if frames > 1 else np.zeros_like(basis)


def _without_rigid(basis: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Take out of each component the small motion of the whole head that its rigid points show."""
    generators = np.concatenate(
        [np.tile(np.eye(3)[:, None], (1, len(template), 1)), np.cross(np.eye(3)[:, None], template[None])]
    )
    at = list(ls.RIGID)
    coefficients = np.linalg.lstsq(
        generators[:, at].reshape(6, -1).T, basis[:, at].reshape(len(basis), -1).T, rcond=None
    )[0]
    return basis - np.einsum("ge,gvi->evi", coefficients, generators)


def _refine_vertices(model: MorphableModel, camera: Camera, points: np.ndarray, fit: FitResult) -> MorphableModel:
    """Refine template and basis to reproject best for known poses and coefficients.

    With x = f X/Z + c the condition (f R_1 - (u - c) R_3) . (T + sum e B) = -(f t_1 - (u - c) t_3) is linear in
    template and basis, so each vertex is one ridge regression towards its present value.
    """
    good = np.isfinite(fit.error) & (fit.error < max(0.02, 4 * np.nanmedian(fit.error)))
    rotation, translation = rotation_matrix(fit.rotation[good]), fit.translation[good]
    expression = fit.expression[good] / model.expression_scale
    flat = points[good, : ls.FACE_VERTICES] - np.asarray(camera.principal)
    frames, count = expression.shape
    design = np.concatenate([np.ones((frames, 1)), expression], 1)
    freedom = np.full(count + 1, _BASIS_FREEDOM_CM)
    freedom[0] = _TEMPLATE_FREEDOM_CM
    ridge = np.repeat((_VERTEX_NOISE_CM / freedom) ** 2, 3)
    # One row in cm: divide by the focal length. Frames agree over time, so 600 frames count as 100 measurements.
    trust = min(1.0, 100 / frames)
    present = np.concatenate(
        [model.template[None], model.expression_basis * model.expression_scale[:, None, None]]
    ).astype(float)
    ratio = flat / camera.focal_px  # (n, V, 2)
    normal = rotation[:, None, :2] - ratio[..., None] * rotation[:, None, 2:]  # (n, V, 2, 3)
    right = ratio * translation[:, None, 2:] - translation[:, None, :2]
    error = right - np.einsum("nvki,nvi->nvk", normal, np.tensordot(design, present, 1))
    gradient = np.tensordot(design, np.einsum("nvki,nvk->nvi", normal, error), (0, 0))  # (1 + E, V, 3)
    # Products of two columns of the design are the same for all vertices: one matrix product makes all Hessians.
    one, other = np.triu_indices(count + 1)
    moments = np.einsum("nvki,nvkj->nvij", normal, normal)
    products = np.tensordot(design[:, one] * design[:, other], moments, (0, 0))  # (pairs, V, 3, 3)
    hessian = np.empty((ls.FACE_VERTICES, count + 1, 3, count + 1, 3))
    hessian[:, one, :, other] = products
    hessian[:, other, :, one] = products
    size = 3 * (count + 1)
    hessian = trust * hessian.reshape(-1, size, size) + np.diag(ridge)
    step = np.linalg.solve(hessian, trust * np.moveaxis(gradient, 0, 1).reshape(-1, size, 1))
    out = present + np.moveaxis(step.reshape(-1, count + 1, 3), 1, 0)
    return replace(
        model, template=out[0], expression_basis=_without_rigid(out[1:], out[0]), expression_scale=np.ones(count)
    )


def relearn(
    model: MorphableModel, camera: Camera, points: np.ndarray, fit: FitResult, settings: SolverSettings
) -> tuple[MorphableModel, FitResult]:  # fmt: skip
    """Improve the model on better landmarks (N, 478, 2) of the frames it was learnt from, whose fit is the start."""
    settings, weights = replace(settings, temporal=0.0), ls.landmark_weights()
    eye_distance = mesh_inter_ocular_distance(points)
    apart = np.zeros(max(len(points) - 1, 0), bool)
    for _ in range(2):
        fit = fit_landmarks(model, camera, points, weights, eye_distance, apart, settings, fit)
        model = _refine_vertices(model, camera, points, fit)
    model, fit = _settle(model, fit, points)
    fit = fit_landmarks(model, camera, points, weights, eye_distance, apart, settings, fit)
    return finish(model, fit, points, camera), fit


def _blank(template: np.ndarray, basis: np.ndarray) -> MorphableModel:
    """Make a model with topology but without UV and eyes."""
    tri, part = ls.facemesh_triangles()
    vertices = np.full(ls.landmark_set(ls.MEDIAPIPE).count, -1, np.int32)
    vertices[: ls.FACE_VERTICES] = np.arange(ls.FACE_VERTICES)
    ones = np.ones(len(basis))
    return MorphableModel(
        NAME, template, basis, ones, -ones, ones, tri, part, np.zeros((len(template), 2), np.float32), vertices,
        np.zeros((2, 3)), np.ones(2), 0.5,
    )  # fmt: skip


def learn(
    points: np.ndarray, depth: np.ndarray, camera: Camera, components: int = COMPONENTS, rounds: int = 2,
    settings: SolverSettings | None = None,
) -> tuple[MorphableModel, FitResult, np.ndarray]:  # fmt: skip
    """Learn the subject's model from all train frames with a face.

    Args:
        points: (N, 478, 2) px. depth: (N, 478) px. camera: of the same pixels. components: most expression components.
        rounds: improvements in perspective.

    Returns:
        The model, and the fit of the frames it was learnt from with their numbers.
    """
    settings = replace(settings or SolverSettings(), temporal=0.0)
    shapes = np.concatenate([points, depth[..., None]], axis=2)[:, : ls.FACE_VERTICES].astype(float)
    weights = ls.landmark_weights()
    aligned, centre = align_shapes(shapes[diverse_frames(shapes.reshape(len(shapes), -1)[:, ::7], MOST_FRAMES)])
    aligned = _procrustes(shapes, centre, np.isin(np.arange(ls.FACE_VERTICES), ls.RIGID).astype(float))
    emphasis = np.sqrt(weights[: ls.FACE_VERTICES])[:, None]
    expression = ((aligned - centre)[:, :, :2] * emphasis).reshape(len(aligned), -1)
    pose = (shapes - shapes.mean(1, keepdims=True))[:, list(ls.RIGID)[::6]].reshape(len(shapes), -1)
    pose = pose * (2.0 / mesh_inter_ocular_distance(points)[:, None])
    chosen = diverse_frames(np.concatenate([expression, pose], 1), MOST_FRAMES)
    offsets = aligned[chosen] - centre
    # Mirror images are faces too: a wink of one eye teaches that of the other, a head turned one way the other way.
    offsets = np.concatenate([offsets, offsets[:, ls.mirror_pairs()] * [-1, 1, 1]])
    model = _blank(
        centre, _without_rigid(principal_components(offsets, weights[: ls.FACE_VERTICES], components), centre)
    )
    eye_distance = mesh_inter_ocular_distance(points[chosen])
    apart = np.zeros(max(len(chosen) - 1, 0), bool)
    fit = fit_landmarks(model, camera, points[chosen], weights, eye_distance, apart, settings)
    for number in range(rounds):
        log.info("facemesh round %d: median landmark error %.2f %%", number, 100 * np.nanmedian(fit.error))
        model = _refine_vertices(model, camera, points[chosen], fit)
        fit = fit_landmarks(model, camera, points[chosen], weights, eye_distance, apart, settings, fit)
    model, fit = _settle(model, fit, points[chosen])
    fit = fit_landmarks(model, camera, points[chosen], weights, eye_distance, apart, settings, fit)
    log.info("facemesh from %d frames, %d components: median landmark error %.2f %%",
             len(chosen), model.expression_count, 100 * np.nanmedian(fit.error))  # fmt: skip
    return finish(model, fit, points[chosen], camera), fit, chosen


def _settle(model: MorphableModel, fit: FitResult, points: np.ndarray) -> tuple[MorphableModel, FitResult]:
    """Move the origin of the expressions to the neutral face, and the neutral face upright and to scale."""
    good = np.flatnonzero(np.isfinite(fit.error))
    neutral = good[neutral_frames(points[good])]
    middle = np.median(fit.expression[neutral], axis=0)
    template = model.vertices(middle)
    upright = _upright(template)
    # The similarity between both frames, exact because `_upright` is one.
    centred, goal = template - template.mean(0), upright - upright.mean(0)
    scale = np.linalg.norm(goal) / np.linalg.norm(centred)
    R = np.linalg.lstsq(centred, goal / scale, rcond=None)[0]
    basis = (model.expression_basis @ R) * scale
    rotation = rotation_matrix(fit.rotation) @ R
    # R_old X_old + t_old, scaled as a whole: the image stays the same when the head grows and moves away.
    shift = template.mean(0) - (R @ upright.mean(0)) / scale
    translation = scale * (np.einsum("nij,j->ni", rotation_matrix(fit.rotation), shift) + fit.translation)
    expression = fit.expression - middle
    spread = np.maximum(np.nanstd(expression, axis=0), 1e-3)
    model = replace(model, template=upright, expression_basis=basis, expression_scale=spread)
    # A short clip may show no blink; what is learnt from it could not close its eyes in other frames.
    if lacks_blinks(points, model.expression_count):
        model, expression = with_blinks(model, expression)
    return (
        model,
        FitResult(rotation_vector(rotation), translation, expression, fit.error),
    )


def finish(model: MorphableModel, fit: FitResult, points: np.ndarray, camera: Camera) -> MorphableModel:
    """Add the limits of the coefficients, UV and eyes, and stores all in 32 bits."""
    good = np.isfinite(fit.error)
    expression = fit.expression[good]
    corners = model.template[
        [[ls.LEFT_OUTER_CORNER, ls.LEFT_INNER_CORNER], [ls.RIGHT_OUTER_CORNER, ls.RIGHT_INNER_CORNER]]
    ]
    centre, radius, iris = gaze.estimate_eyes(points[good], fit.rotation[good], fit.translation[good], camera, corners)
    scale = np.maximum(expression.std(0), 1e-3)
    if lacks_blinks(points, model.expression_count):
        scale[-2:] = np.maximum(scale[-2:], model.expression_scale[-2:])
    values: dict[str, Any] = dict(
        template=model.template, expression_basis=model.expression_basis,
        expression_scale=scale,
        expression_low=np.percentile(expression, 1, axis=0), expression_high=np.percentile(expression, 99, axis=0),
        uv=uv_layout.layout(model.template, model.tri, model.tri_part), eye_center=centre, eye_radius=radius,
    )  # fmt: skip
    values = {key: np.asarray(value, np.float32) for key, value in values.items()}
    return replace(model, iris_radius=iris, **values)
