"""Normals against trimesh; hidden landmarks and the sliding contour against an ellipsoid whose outline is known."""

from dataclasses import replace

import cv2
import numpy as np
import trimesh

from selfieavatar.fitting.landmark_solver import SolverSettings, fit_landmarks
from selfieavatar.fitting.visibility import HIDDEN_WEIGHT, Sight, facing, outward_normals, seen_weight
from selfieavatar.geometry.camera import Camera, rotation_matrix, transform
from selfieavatar.morphable.landmark_sets import IBUG, landmark_weights
from selfieavatar.morphable.model import MorphableModel

AXES = np.array([7.0, 9.0, 8.0])
CAMERA = Camera.default(512)


def ellipsoid():
    """A head without features, with 51 landmarks on its front and 17 on its outline as seen from the front."""
    mesh = trimesh.creation.icosphere(subdivisions=4)
    vertices = mesh.vertices * AXES
    angle = np.radians(np.linspace(200, -20, 17))  # from temple over chin to temple
    outline = np.stack([np.cos(angle), np.sin(angle), np.full(17, -0.25)], 1) * AXES
    outline[:, :2] *= np.sqrt(1 - 0.25**2)
    rng = np.random.default_rng(0)
    front = rng.uniform(-0.55, 0.55, (51, 2))
    front = np.concatenate([front, -np.sqrt(1 - (front**2).sum(1, keepdims=True))], 1) * AXES
    at = [int(np.argmin(((vertices - point) ** 2).sum(1))) for point in np.concatenate([outline, front])]
    basis = np.zeros((1, *vertices.shape))
    basis[0, :, 1] = 0.3 * (vertices[:, 1] > 5)
    ones = np.ones(1)
    return MorphableModel(
        "ellipsoid", vertices, basis, ones, -ones, ones, np.asarray(mesh.faces, np.int32),
        np.zeros(len(mesh.faces), np.int8), np.zeros((len(vertices), 2)), np.array(at, np.int32), np.zeros((2, 3)),
        np.ones(2), 0.5,
    )  # fmt: skip


def test_normals_are_trimeshs_and_point_out():
    model = ellipsoid()
    theirs = trimesh.Trimesh(model.template, model.tri, process=False).vertex_normals
    for tri in (model.tri, model.tri[:, ::-1]):
        assert (outward_normals(model.template, tri) * theirs).sum(1).min() > 0.999


def test_a_landmark_between_vertices_has_the_normal_of_its_neighbour():
    model = ellipsoid()
    loose = np.concatenate([model.template, model.template[[5]] * 1.001])
    normals = outward_normals(loose, model.tri)
    np.testing.assert_array_equal(normals[-1], normals[5])


def test_the_far_side_of_a_turned_head_counts_less():
    model = ellipsoid()
    normals = outward_normals(model.template, model.tri)
    rotation, translation = np.array([[0, 0.7, 0]]), np.array([[0, 0, 90.0]])
    points = transform(model.template, rotation, translation)
    weight = seen_weight(facing(normals, rotation_matrix(rotation), np.swapaxes(points, 1, 2)))[0]
    # Seen from the camera is what lies before the plane of the outline: n . (camera - point) > 0.
    seen = np.einsum("vi,vi->v", normals @ rotation_matrix(rotation)[0].T, -points[0])
    assert (weight[seen < -20] == HIDDEN_WEIGHT).all() and (weight[seen > 25] == 1).all()


def inside_outline(model, rotation, translation, pixels):
    """(N, 17) px from contour points to the outline of the whole head in the image, by OpenCV."""
    whole = CAMERA.project(transform(model.template, rotation, translation)).astype(np.float32)
    hulls = [cv2.convexHull(points) for points in whole]
    return np.array([
        [cv2.pointPolygonTest(hull, (float(x), float(y)), True) for x, y in points]
        for hull, points in zip(hulls, pixels, strict=True)
    ])  # fmt: skip


def test_the_contour_slides_over_a_turned_head():
    model = ellipsoid()
    rotation = np.array([[0, yaw, 0] for yaw in (-0.6, 0.0, 0.6)])
    translation = np.tile([0, 0, 100.0], (3, 1))
    sight = Sight(model, landmark_weights(IBUG), occlusion=False)
    placed = transform(model.template[sight.vertices], rotation, translation)
    chosen = sight.weigh(rotation_matrix(rotation), np.swapaxes(placed, 1, 2)) > 0
    assert (chosen.sum(1) == 68).all()
    order = [np.argsort(sight.landmarks[row])[:17] for row in chosen]
    slid = np.stack([CAMERA.project(placed[n])[chosen[n]][order[n]] for n in range(3)])
    fixed = CAMERA.project(transform(model.template, rotation, translation))[:, model.landmark_vertices[:17]]
    ours, theirs = (inside_outline(model, rotation, translation, p) for p in (slid, fixed))
    for frame, far in ((0, slice(12, 17)), (2, slice(0, 5))):
        assert theirs[frame, far].mean() > 8
        assert ours[frame, far].mean() < 0.4 * theirs[frame, far].mean()
    np.testing.assert_allclose(slid[1], fixed[1], atol=4)


def test_the_fit_follows_the_outline():
    """Jaw points on the outline of the turned head, as a detector gives them: each vertex moved out to the hull."""
    model = ellipsoid()
    rotation = np.array([[0.05, yaw, 0] for yaw in (-0.5, 0.5)])
    translation = np.tile([0, 0, 100.0], (2, 1))
    points = CAMERA.project(transform(model.template, rotation, translation))
    hulls = [cv2.convexHull(p.astype(np.float32))[:, 0] for p in points]
    pixels = points[:, model.landmark_vertices]
    for row, far in ((0, range(9, 17)), (1, range(8))):
        corners = zip(hulls[row], np.roll(hulls[row], -1, 0), strict=True)
        dense = np.concatenate([np.linspace(a, b, 20) for a, b in corners])
        for landmark in far:
            pixels[row, landmark] = dense[np.argmin(np.linalg.norm(dense - pixels[row, landmark], axis=1))]
    weights, settings = np.ones(68), SolverSettings(temporal=0.0, iterations=20)
    fit = fit_landmarks(model, CAMERA, pixels, weights, np.full(2, 100.0), settings=settings)
    assert np.abs(fit.rotation - rotation).max() < np.radians(1.5)
    assert fit.error.max() < 0.02


def test_a_published_contour_is_where_the_outline_is():
    model = ellipsoid()
    middle = model.template[model.landmark_vertices[17:]].mean(0)
    away = (model.template[model.landmark_vertices[:17]] - middle)[:, :2]
    turns = rotation_matrix(np.radians([[0, yaw, 0] for yaw in range(-39, 40)]).astype(float))
    # For each yaw the vertex that lies farthest out in the direction of each landmark: a true silhouette.
    reach = np.einsum("vi,aji,ajk,lk->avl", model.template - middle, turns[:, :2], turns[:, :2, :2], away)
    reach[39] = -np.inf
    reach[39, model.landmark_vertices[:17], np.arange(17)] = 0
    published = replace(model, contour_vertices=reach.argmax(1).astype(np.int32))
    sight = Sight(published, landmark_weights(IBUG), occlusion=False)
    for number in range(17):
        strip = sight.vertices[sight.landmarks == number]
        assert strip[0] == model.landmark_vertices[number] and len(strip) == len(np.unique(strip)) > 1
        assert np.isin(strip, published.contour_vertices[:, number]).all()
    rotation = np.array([[0, yaw, 0] for yaw in (-0.6, 0.6)])
    translation = np.tile([0, 0, 100.0], (2, 1))
    placed = transform(model.template[sight.vertices], rotation, translation)
    chosen = sight.weigh(rotation_matrix(rotation), np.swapaxes(placed, 1, 2)) > 0
    order = [np.argsort(sight.landmarks[row])[:17] for row in chosen]
    slid = np.stack([CAMERA.project(placed[n])[chosen[n]][order[n]] for n in range(2)])
    fixed = CAMERA.project(transform(model.template, rotation, translation))[:, model.landmark_vertices[:17]]
    ours, theirs = (inside_outline(model, rotation, translation, p) for p in (slid, fixed))
    for frame, far in ((0, slice(12, 17)), (1, slice(0, 5))):
        assert theirs[frame, far].mean() > 8 and ours[frame, far].mean() < 0.25 * theirs[frame, far].mean()
