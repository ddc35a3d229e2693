"""The layout must be a bijection with room for eyes and mouth, on any face."""

import numpy as np
import pytest

from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.morphable import uv_layout
from tests.fitting import makers


@pytest.fixture(scope="module", params=["made-up", "canonical"])
def face(request):
    if request.param == "made-up":
        return makers.template()
    path = request.getfixturevalue("shared") / "models" / "mediapipe" / "canonical_face_model.obj"
    lines = [line.split()[1:4] for line in path.read_text().splitlines() if line.startswith("v ")]
    return np.array(lines, float) * [1, -1, -1]


def test_no_flips_full_square_and_room_for_openings(face):
    tri, part = ls.facemesh_triangles()
    uv = uv_layout.layout(face, tri, part)
    areas = uv_layout.signed_areas(uv, tri)
    assert (areas < 0).all() or (areas > 0).all()
    np.testing.assert_allclose([uv.min(0), uv.max(0)], [[0.02, 0.02], [0.98, 0.98]], atol=1e-4)
    area = np.abs(areas)
    left = np.isin(tri, ls.LEFT_EYE).all(1) & (part == 1)
    assert area[left].sum() > 0.015 and area[(part == 1) & ~left].sum() > 0.015
    assert area[part == 2].sum() > 0.015
    # No two triangles share a place: their areas add up to that of the outline.
    loop = uv[uv_layout.border_loop(tri)]
    outline = 0.5 * abs(np.sum(loop[:, 0] * np.roll(loop[:, 1], -1) - loop[:, 1] * np.roll(loop[:, 0], -1)))
    assert abs(area.sum() / outline - 1) < 1e-4


def test_layout_is_upright_and_unmirrored(face):
    tri, part = ls.facemesh_triangles()
    uv = uv_layout.layout(face, tri, part, rounds=5)
    assert uv[ls.FOREHEAD, 1] < uv[ls.NOSE_TIP, 1] < uv[ls.CHIN, 1]
    assert uv[ls.RIGHT_OUTER_CORNER, 0] < uv[ls.LEFT_OUTER_CORNER, 0]


def test_texels_follow_the_wished_areas():
    tri, part = ls.facemesh_triangles()
    shape = makers.template()
    wanted = uv_layout.target_areas(shape, tri, part, 0.035, 0.06)
    assert abs(wanted.sum() - 1) < 1e-6
    errors = []
    for rounds in (1, 60):
        area = np.abs(uv_layout.signed_areas(uv_layout.layout(shape, tri, part, rounds=rounds), tri))
        errors.append(np.abs(np.log(area / area.sum() / wanted)).mean())
    assert errors[1] < 0.5 * errors[0]


def test_border_of_a_square_and_refusals():
    square = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    assert list(uv_layout.border_loop(square)) == [0, 1, 2, 3]
    tetrahedron = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]], np.int32)
    with pytest.raises(ValueError, match="closed"):
        uv_layout.border_loop(tetrahedron)
    with pytest.raises(ValueError, match="more than one border"):
        uv_layout.border_loop(np.array([[0, 1, 2], [3, 4, 5]], np.int32))
