"""Test that expressions open and close lids and lips, and keep the rest of the head still."""

import numpy as np
import pytest

from selfieavatar.demo_actor.head import EXPRESSIONS, Head, gaze_rotation, unit_expression
from selfieavatar.demo_actor.landmarks import FacePoints
from selfieavatar.demo_actor.traits import draw_traits
from selfieavatar.geometry.normals import vertex_normals

STILL = np.zeros(4)


@pytest.fixture(scope="module")
def head():
    return Head(draw_traits(0))


def opening(head, which, expression, gaze=STILL):
    """Measure an opening between its two middles: 0 left lids, 1 right lids, 2 lips."""
    points = FacePoints(head)
    a, b = points.openings[which]
    positions = points.positions(head.vertices(expression, gaze))
    return float(np.linalg.norm(positions[a] - positions[b]))


def test_pieces_describe_the_vertices(head):
    vertices = head.vertices(unit_expression(), STILL)
    assert len(vertices) == sum(len(p.vertices) for p in head.pieces)
    for piece in head.pieces:
        assert piece.tri.min() >= 0 and piece.tri.max() < len(piece.vertices)
        assert len(piece.uv) == len(piece.follow) == len(piece.open) == len(piece.vertices)
    assert np.isfinite(vertices).all()


def test_proportions_are_those_of_a_face(head):
    points = FacePoints(head)
    at = dict(zip(points.name, points.positions(head.vertices(unit_expression(), STILL)), strict=True))
    assert np.linalg.norm(at["left_eye_outer"] - at["right_eye_outer"]) == pytest.approx(9.0, abs=0.3)
    assert at["left_eye_outer"][0] > 0 > at["right_eye_outer"][0]
    assert at["nose_tip"][2] == min(p[2] for p in at.values())
    assert at["forehead"][1] < at["left_iris"][1] < at["nose_tip"][1] < at["lip_upper_inner"][1] < at["chin"][1]


def test_lips_meet_when_the_jaw_is_shut_and_part_as_it_falls(head):
    gaps = [opening(head, 2, unit_expression(jaw_open=v)) for v in (0.0, 0.25, 0.5, 1.0)]
    assert gaps[0] < 1e-3
    assert np.all(np.diff(gaps) > 0.3)
    assert 1.8 < gaps[-1] < 4.0


def test_blink_closes_one_lid_and_leaves_the_other(head):
    wide = opening(head, 0, unit_expression())
    assert 0.8 < wide < 1.5
    shut = unit_expression(blink_left=1.0)
    assert opening(head, 0, shut) < 0.02
    assert opening(head, 1, shut) == pytest.approx(opening(head, 1, unit_expression()), abs=1e-9)


def test_shut_lids_cover_the_eyeball(head):
    """The skin is in front of the eyeball over the whole opening."""
    vertices = head.vertices(unit_expression(blink_left=1.0, blink_right=1.0), STILL)
    skin = vertices[: len(head.grid.rest)][head.grid.front > 0.9]
    start = sum(len(p.vertices) for p in head.pieces[: head.eye_pieces[0]])
    ball = vertices[start : start + len(head.pieces[head.eye_pieces[0]].vertices)]
    middle = head.eye_centre(1.0)
    near = ball[(np.abs(ball[:, 0] - middle[0]) < 1.2) & (np.abs(ball[:, 1]) < 0.8) & (ball[:, 2] < middle[2])]
    for point in near:
        closest = np.argmin(np.sum((skin[:, :2] - point[:2]) ** 2, axis=1))
        assert skin[closest, 2] < point[2]


def test_upper_lid_follows_the_gaze(head):
    up, down = np.array([0, -0.2, 0, -0.2]), np.array([0, 0.3, 0, 0.3])
    assert opening(head, 0, unit_expression(), down) < opening(head, 0, unit_expression(), up) - 0.1


def test_gaze_turns_towards_image_right_and_down():
    assert np.allclose(gaze_rotation(0.0, 0.0), np.eye(3))
    look = gaze_rotation(0.3, 0.2) @ [0, 0, -1]
    assert np.allclose(look, [np.sin(0.3) * np.cos(0.2), np.sin(0.2), -np.cos(0.3) * np.cos(0.2)])


@pytest.mark.parametrize("name", [n for n in EXPRESSIONS if not n.startswith("blink")])
def test_expressions_keep_the_back_of_the_head_still(head, name):
    moved = head.vertices(unit_expression(**{name: 1.0}), STILL) - head.vertices(unit_expression(), STILL)
    skin = np.linalg.norm(moved[: len(head.grid.rest)], axis=1)
    assert skin.max() > 0.1
    assert skin[head.grid.rest[:, 2] > 3.0].max() < 1e-9


def test_normals_of_a_plane_and_agreement_with_the_cross_product():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    normals = vertex_normals(vertices, np.array([[0, 1, 2], [2, 1, 3]], np.int32))
    assert np.allclose(normals, [0, 0, 1])
