"""Test cameras, meshes and depth by the methods' own conventions, against OpenCV, trimesh and closed formulas."""

import io

import cv2
import numpy as np
import pytest
import trimesh

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import transform
from selfieavatar.interop.exporters import transforms as peer
from tests.fitting import makers as face_makers
from tests.interop.exporters.makers import SIZE, camera, coefficients

SCALE = 0.01


@pytest.fixture(scope="module")
def model():
    return face_makers.model()


def by_opencv(vertices, rotation, translation):
    """Project by OpenCV, whose pixel centres are at whole numbers, to our pixels."""
    view = camera()
    matrix = np.array(
        [[view.focal_px, 0, view.principal[0] - 0.5], [0, view.focal_px, view.principal[1] - 0.5], [0, 0, 1]]
    )
    points, _ = cv2.projectPoints(np.asarray(vertices, float), rotation, translation, matrix, None)
    return points[:, 0] + 0.5


def by_opengl(world, matrix, fields):
    """Project as NeRF code does: the camera looks along -z, y points up."""
    x, y, z = (np.linalg.inv(matrix) @ np.c_[world, np.ones(len(world))].T)[:3]
    return np.stack([fields["cx"] + fields["fl_x"] * x / -z, fields["cy"] - fields["fl_y"] * y / -z], 1)


@pytest.mark.parametrize("scale", [SCALE, 1.0, 0.0045])
def test_opengl_cameras_project_as_opencv_does(model, scale):
    rotation, translation, expression, _ = coefficients("t")
    matrices = peer.camera_to_world(rotation, translation, scale, opengl=True)
    fields = peer.camera_fields(camera(), "nerface")
    for k in range(len(rotation)):
        vertices = model.vertices(expression[k])
        seen = by_opengl(peer.to_world(vertices, scale), matrices[k], fields)
        np.testing.assert_allclose(seen, by_opencv(vertices, rotation[k], translation[k]), atol=1e-4)
        np.testing.assert_allclose(np.linalg.det(matrices[k][:3, :3]), 1)


def test_opencv_cameras_are_plain_extrinsics(model):
    rotation, translation, expression, _ = coefficients("t")
    matrices, fields = (
        peer.camera_to_world(rotation, translation, SCALE, opengl=False),
        peer.camera_fields(camera(), "insta"),
    )
    vertices = model.vertices(expression[2])
    x, y, z = (np.linalg.inv(matrices[2]) @ np.c_[peer.to_world(vertices, SCALE), np.ones(len(vertices))].T)[:3]
    seen = np.stack([fields["cx"] + fields["fl_x"] * x / z, fields["cy"] + fields["fl_y"] * y / z], 1)
    np.testing.assert_allclose(seen, by_opencv(vertices, rotation[2], translation[2]), atol=1e-4)


def test_nerfaces_rays_meet_the_point_in_the_middle_of_their_pixel(model):
    """NeRFace casts the ray of pixel (column, row) along ((column - w cx) / fx, -(row - h cy) / fy, -1)."""
    rotation, translation, _, _ = coefficients("a")
    fx, fy, cx, cy = peer.camera_fields(camera(), "nerface")["intrinsics"]
    matrix = peer.camera_to_world(rotation[:1], translation[:1], SCALE, opengl=True)[0]
    tip = peer.to_world(model.template[1], SCALE)
    column, row = by_opencv(model.template[1:2], rotation[0], translation[0])[0] - 0.5
    ray = matrix[:3, :3] @ [(column - SIZE * cx) / fx, -(row - SIZE * cy) / fy, -1]
    towards = tip - matrix[:3, 3]
    np.testing.assert_allclose(ray / np.linalg.norm(ray), towards / np.linalg.norm(towards), atol=1e-6)


def test_angle_and_focal_length_agree():
    fields = peer.camera_fields(camera(), "nerface")
    np.testing.assert_allclose(0.5 * fields["w"] / np.tan(0.5 * fields["camera_angle_x"]), fields["fl_x"])


def test_the_world_is_upright_and_looks_out(model):
    world = peer.to_world(model.template, SCALE)
    assert world[10, 1] > world[152, 1]  # forehead above chin
    assert world[1, 2] > world[234, 2] and world[1, 2] > world[454, 2]  # nose before the cheeks
    assert world[454, 0] > world[234, 0]  # the subject's left side at x > 0


def test_trimesh_reads_the_mesh(model):
    data = peer.obj(peer.to_world(model.template, SCALE), peer.obj_faces(model.tri))
    mesh = trimesh.load(io.BytesIO(data), file_type="obj", process=False, maintain_order=True)
    np.testing.assert_allclose(mesh.vertices, peer.to_world(model.template, SCALE), atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, model.tri)


def test_depth_is_where_rays_meet_the_mesh(model):
    rotation, translation, expression, _ = coefficients("b")
    points = transform(model.vertices(expression[1]).astype(float), rotation[1:2], translation[1:2])[0]
    depth, view = peer.depth_map(points, model.tri, camera()), camera()
    rows, columns = np.nonzero(depth)
    assert len(rows) > 200
    rays = view.rays(np.stack([columns + 0.5, rows + 0.5], 1))
    mesh = trimesh.Trimesh(points, model.tri, process=False)
    hits, which, _ = mesh.ray.intersects_location(np.zeros_like(rays), rays, multiple_hits=False)
    np.testing.assert_allclose(hits[:, 2], depth[rows[which], columns[which]], atol=2e-3)
    assert len(which) > 0.97 * len(rows)  # some rays pass between the triangles of the outline


def test_box_holds_what_the_face_covers(model):
    rotation, translation, expression, _ = coefficients("b")
    points = transform(model.vertices(expression[1]).astype(float), rotation[1:2], translation[1:2])[0]
    top, bottom, left, right = np.array(peer.face_box(camera().project(points), SIZE)) * SIZE
    rows, columns = np.nonzero(peer.depth_map(points, model.tri, camera()))
    assert top <= rows.min() + 0.5 < top + 2 and bottom - 2 < rows.max() + 0.5 <= bottom
    assert left <= columns.min() + 0.5 < left + 2 and right - 2 < columns.max() + 0.5 <= right
    assert peer.face_box(np.array([[-9.0, 3.0], [99.0, 5.0]]), SIZE)[2:] == [0.0, 1.0]


def test_depth_that_does_not_fit_is_refused(model):
    rotation, translation, expression, gaze = (rows[0] for rows in coefficients("a"))
    row = {"rotation": rotation, "translation": translation, "expression": expression, "gaze": gaze}
    frame = np.zeros((SIZE, SIZE, 3), np.uint8)
    with pytest.raises(UserError, match="leave it at 0.01"):
        peer.TransformsData(model, camera(), "insta", 1.0).frame_files(0, row, (frame, frame[..., 0]))
