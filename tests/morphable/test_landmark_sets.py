"""Landmark numbers against MediaPipe's own tables and its canonical mesh."""

from collections import Counter

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.morphable import landmark_sets as ls


def directed_edges(tri):
    return Counter((int(t[i]), int(t[(i + 1) % 3])) for t in tri for i in range(3))


def test_skin_triangles_are_mediapipes_tessellation():
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    tri, part = ls.facemesh_triangles()
    ours = {frozenset(edge) for edge in directed_edges(tri[part == ls.SKIN_PART])}
    assert ours == {frozenset(edge) for edge in FACEMESH_TESSELATION}
    assert (part == ls.SKIN_PART).sum() == 852


@pytest.mark.parametrize("name", ["LEFT_EYE", "RIGHT_EYE", "LEFT_EYEBROW", "RIGHT_EYEBROW", "FACE_OVAL", "NOSE"])
def test_regions_are_mediapipes(name):
    import mediapipe.python.solutions.face_mesh_connections as tables

    ours = getattr(ls, {"FACE_OVAL": "OVAL"}.get(name, name.replace("EYEBROW", "BROW")))
    assert set(ours) == {v for edge in getattr(tables, f"FACEMESH_{name}") for v in edge}


def test_lip_rings_are_cycles_of_mediapipes_lips():
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_LIPS

    edges = {frozenset(edge) for edge in FACEMESH_LIPS}
    for ring in (ls.LIPS_OUTER, ls.LIPS_INNER):
        assert {frozenset((ring[i - 1], ring[i])) for i in range(len(ring))} <= edges
    assert set(ls.LIPS_OUTER) | set(ls.LIPS_INNER) == {v for edge in edges for v in edge}


def test_mesh_is_one_disc_of_898_triangles_oriented_alike():
    tri, part = ls.facemesh_triangles()
    assert tri.shape == (898, 3) and Counter(part.tolist()) == {0: 852, 1: 28, 2: 18}
    edges = directed_edges(tri)
    assert max(edges.values()) == 1, "two triangles run along an edge in the same direction"
    border = {a for a, b in edges if (b, a) not in edges}
    assert border == set(ls.OVAL)
    vertices, undirected = len(np.unique(tri)), len({frozenset(edge) for edge in edges})
    assert vertices - undirected + len(tri) == 1  # Euler's number of a disc


def test_canonical_face_has_the_same_border_mirror_and_front(shared):
    lines = (shared / "models" / "mediapipe" / "canonical_face_model.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float) * [1, -1, -1]
    theirs = np.array([[v.split("/")[0] for v in line.split()[1:]] for line in lines if line.startswith("f ")], int) - 1
    tri, part = ls.facemesh_triangles()
    assert len(tri) == len(theirs)
    edges = directed_edges(theirs)
    assert {a for a, b in edges if (b, a) not in edges} == set(ls.OVAL)
    np.testing.assert_allclose(vertices[ls.mirror_pairs()] * [-1, 1, 1], vertices, atol=1e-6)
    normals = np.cross(vertices[tri[:, 1]] - vertices[tri[:, 0]], vertices[tri[:, 2]] - vertices[tri[:, 0]])
    assert (normals[part == 0][:, 2] < 0).mean() > 0.98, "normals must point out of the face, towards the camera"
    assert vertices[ls.LEFT_OUTER_CORNER, 0] > 0 > vertices[ls.RIGHT_OUTER_CORNER, 0]


def test_rigid_points_are_mirror_images_and_off_mouth_and_lids():
    mirror = ls.mirror_pairs()
    assert set(mirror[list(ls.RIGID)]) == set(ls.RIGID)
    assert not set(ls.RIGID) & set(ls.LIPS_INNER + ls.LIPS_OUTER + ls.LEFT_EYE + ls.RIGHT_EYE)


@pytest.mark.parametrize("name", list(ls.LANDMARK_SETS))
def test_sets_name_only_numbers_that_exist(name):
    chosen = ls.landmark_set(name)
    for numbers in [chosen.outer_eyes, chosen.lips_inner, *chosen.eyes, chosen.irises, *chosen.regions.values()]:
        assert all(0 <= number < chosen.count for number in numbers)
    assert chosen.outer_eyes[0] in chosen.eyes[1] and chosen.outer_eyes[1] in chosen.eyes[0]
    assert ls.landmark_weights(name).shape == (chosen.count,)


def test_unknown_set_is_refused():
    with pytest.raises(UserError, match="dlib5.*known: .*ibug68"):
        ls.landmark_set("dlib5")
