"""The driving images: geometry, eyes and gaze, mouth, antialiasing, and the two paths that make them."""

import threading

import numpy as np
import pytest

from selfieavatar.identity import Identity
from selfieavatar.rendering.eyes import eye_discs, mouth_plane
from selfieavatar.rendering.kernels import HIDDEN, TEETH
from selfieavatar.rendering.raster_cpu import bilinear
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import default_light
from tests.rendering.faces import identity
from tests.rendering.faces import torso as torso_of


def drawn_by(arrays: dict[str, np.ndarray], **how) -> Renderer:
    """Renderer of the identity in arrays."""
    return Renderer(Identity.from_arrays(arrays), **how)


AHEAD = np.zeros(3), np.array([0.0, 0.0, 45.0]), np.zeros(2)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return drawn_by(identity())


def _iris_centre(renderer: Renderer, gaze: list[float], left: bool) -> np.ndarray:
    """Centre (x, y) of the dark pixels within the eye opening of one half of the image."""
    image, uv, _ = renderer.render(*AHEAD, np.array(gaze))
    opening = sum(np.linalg.norm(uv[..., :2] / 65535.0 - disc[:2], axis=2) <= disc[2] for disc in renderer.discs)
    dark = (image.sum(axis=2) < 200) & (opening > 0)
    half = dark[:, 48:] if left else dark[:, :48]
    rows, columns = np.nonzero(half)
    return np.array([columns.mean() + 48 * left, rows.mean()])


def test_vertices_land_where_the_camera_says(renderer: Renderer) -> None:
    rotation, translation = np.array([0.1, -0.3, 0.05]), np.array([1.0, -0.5, 40.0])
    points = renderer.vertices(rotation, translation, np.zeros(2))
    pixels = points[:, :2] / points[:, 2:] * renderer.focal_px + renderer.principal
    uv = renderer.render(rotation, translation, np.zeros(2)).uv
    skin = np.setdiff1d(np.arange(len(points)), np.unique(renderer.tri[renderer.part > 0]))
    checked = 0
    for vertex in skin:
        x, y = pixels[vertex]
        column, row = int(x), int(y)
        if uv[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, 2].min() == 0:
            continue
        read = uv[row, column, :2] / 65535.0
        step = np.abs(np.diff(uv[row, column - 1 : column + 2, :2] / 65535.0, axis=0)).max()
        if step < 0.03:
            # Within the pixel the coordinates move by less than one step between neighbours.
            assert np.abs(read - renderer.uv[vertex]).max() < 0.03
            checked += 1
    assert checked > 100


def test_mask_uv_and_image_tell_the_same_face(renderer: Renderer) -> None:
    image, uv, mask = renderer.render(*AHEAD)
    assert image.shape == uv.shape == (96, 96, 3) and image.dtype == np.uint8 and uv.dtype == np.uint16
    assert ((uv[..., 2] == 65535) == mask).all() and set(np.unique(uv[..., 2])) == {0, 65535}
    assert not uv[~mask].any() and 0.1 < mask.mean() < 0.6
    far = np.pad(mask, 1)
    far = far[:-2, 1:-1] | far[2:, 1:-1] | far[1:-1, :-2] | far[1:-1, 2:] | mask
    assert not image[~far].any() and image[mask].sum(axis=1).min() > 0


def test_texture_is_read_where_uv_points() -> None:
    arrays = identity()
    renderer = drawn_by(arrays, supersample=1, light=np.eye(9)[:, :1].repeat(3, axis=1) / 0.282095)
    image, uv, mask = renderer.render(*AHEAD)
    expected = bilinear(arrays["texture"], uv[..., :2] / 65535.0)
    skin = mask & (np.abs(image.astype(float) - expected).max(axis=2) < 2)
    # All but the openings of eyes and mouth.
    assert skin.sum() > 0.85 * mask.sum()


def test_the_iris_follows_the_gaze_in_both_images(renderer: Renderer) -> None:
    for left in (True, False):
        middle = _iris_centre(renderer, [0, 0, 0, 0], left)
        turned = _iris_centre(renderer, [0.35, 0, 0.35, 0], left)
        lowered = _iris_centre(renderer, [0, 0.25, 0, 0.25], left)
        assert turned[0] > middle[0] + 0.5 and abs(turned[1] - middle[1]) < 0.5
        assert lowered[1] > middle[1] + 0.2
    uv = renderer.render(*AHEAD, np.array([0.35, 0.0, 0.35, 0.0])).uv[..., :2] / 65535.0
    for disc, left in zip(renderer.discs, (True, False), strict=True):
        distance = np.linalg.norm(uv - disc[:2], axis=2)
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        centre = _iris_centre(renderer, [0.35, 0, 0.35, 0], left)
        assert distance.min() < 0.25 * disc[2]
        assert np.abs(np.array([column, row]) + 0.5 - centre).max() < 1.5


def test_closed_lids_hide_the_eyeball(renderer: Renderer) -> None:
    def eye_pixels(blink: float) -> int:
        uv = renderer.render(AHEAD[0], AHEAD[1], np.array([blink, 0.0])).uv[..., :2] / 65535.0
        return sum(int((np.linalg.norm(uv - disc[:2], axis=2) <= disc[2]).sum()) for disc in renderer.discs)

    assert eye_pixels(0.0) > 1.5 * eye_pixels(0.6) > eye_pixels(1.0) == 0


def test_discs_touch_no_triangle_and_need_room() -> None:
    arrays = identity()
    discs = eye_discs(arrays["uv"], arrays["tri"])
    assert (discs[:, 2] > 0.03).all() and discs[0, 0] > discs[1, 0]
    assert np.linalg.norm(discs[0, :2] - discs[1, :2]) > discs[:, 2].sum()
    for disc in discs:
        assert np.linalg.norm(arrays["uv"] - disc[:2], axis=1).min() > disc[2]
        assert (disc[:2] - disc[2] >= 0).all() and (disc[:2] + disc[2] <= 1).all()
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    assert not eye_discs(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32)).any()


def test_lips_open_before_what_is_behind_them_and_move_it_not(renderer: Renderer) -> None:
    u, v, radius = renderer.mouth[4:]
    assert radius > 0.02

    def inside(expression: list[float], turn: float = 0.0) -> np.ndarray:
        uv = renderer.render(np.array([0.0, turn, 0.0]), AHEAD[1], np.array(expression)).uv / 65535.0
        return np.where((np.hypot(uv[..., 0] - u, uv[..., 1] - v) <= radius + 1e-4)[..., None], uv, np.nan)

    closed, opened, turned = inside([0.0, 0.0]), inside([0.0, 1.0]), inside([0.0, 1.0], 0.2)
    both = np.isfinite(closed[..., 0]) & np.isfinite(opened[..., 0])
    assert both.sum() > 15 and np.isfinite(opened[..., 0]).sum() > 1.3 * both.sum()
    np.testing.assert_array_equal(closed[both], opened[both])
    step = np.nanmedian(np.diff(opened[..., 0], axis=1))
    assert step == pytest.approx(renderer.mouth[3] * (45.0 + renderer.mouth[2]) / renderer.focal_px, rel=0.02)
    assert np.nanmean(turned[..., 0] - opened[..., 0]) != pytest.approx(0.0, abs=step)


def test_a_mesh_with_teeth_keeps_its_own_mouth(renderer: Renderer) -> None:
    arrays = identity()
    part = np.where(np.arange(len(arrays["tri"])) == 0, TEETH, arrays["tri_part"])
    assert not mouth_plane(arrays["template"], arrays["uv"], arrays["tri"], part)[6]
    assert not mouth_plane(arrays["template"], arrays["uv"], arrays["tri"], 0 * part)[6]


def test_supersampling_softens_the_outline_only(renderer: Renderer) -> None:
    hard = drawn_by(identity(), supersample=1).render(*AHEAD)
    soft = renderer.render(*AHEAD)
    assert (hard.uv == soft.uv).all()
    edge = hard.mask & ~np.roll(hard.mask, 1, axis=1)
    inner = np.roll(hard.mask, 3, axis=1) & np.roll(hard.mask, -3, axis=1) & hard.mask
    change = np.abs(hard.image.astype(float) - soft.image).mean(axis=2)
    assert change[edge].mean() > 5 * change[inner].mean()


def test_other_sizes_scale_the_camera() -> None:
    small, large = drawn_by(identity(64)), drawn_by(identity(64), size_px=128)
    reduced = large.render(*AHEAD).mask.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.abs(reduced - small.render(*AHEAD).mask).mean() < 0.02


def test_the_backend_path_draws_the_same_images(renderer: Renderer) -> None:
    pytest.importorskip("torch")
    from selfieavatar.rendering.raster import CpuBackend

    other = drawn_by(identity(), backend=CpuBackend())
    pose = np.array([0.1, 0.4, -0.1]), np.array([0.5, 0.3, 42.0]), np.array([0.2, 0.8]), np.array([0.2, 0.1, 0.3, 0.0])
    ours, theirs = renderer.render(*pose), other.render(*pose)
    assert (ours.mask == theirs.mask).mean() > 0.9995
    both = ours.mask & theirs.mask
    assert np.abs(ours.uv[both].astype(int) - theirs.uv[both]).max(axis=1).mean() < 2
    assert np.abs(ours.image.astype(int) - theirs.image).mean() < 0.05


def test_batches_and_threads_give_the_same_frames(renderer: Renderer) -> None:
    rotation = np.linspace(-0.5, 0.5, 6)[:, None] * np.array([[0.0, 1.0, 0.0]])
    translation, expression = np.tile(AHEAD[1], (6, 1)), np.zeros((6, 2))
    batch = renderer.render_batch(rotation, translation, expression)
    assert batch.image.shape == (6, 96, 96, 3)
    results: dict[int, np.ndarray] = {}

    def work(row: int) -> None:
        results[row] = renderer.render(rotation[row], translation[row], expression[row]).image

    threads = [threading.Thread(target=work, args=(row,)) for row in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((results[row] == batch.image[row]).all() for row in range(6))


@pytest.mark.parametrize("lost", ["rotation", "translation", "expression", "behind", "around"])
def test_a_lost_frame_and_a_head_that_is_not_before_the_camera_have_no_hair(lost: str) -> None:
    pose = {"rotation": AHEAD[0].copy(), "translation": AHEAD[1].copy(), "expression": AHEAD[2].copy()}
    head_sphere = {"skull": np.array([0, -3, 8, 9], np.float32)} | torso_of(0.8)
    renderer = drawn_by(identity() | head_sphere)
    found = renderer.render(**pose)
    hair = ~found.mask & (found.uv[..., 1] > 0) & (found.uv[..., 1] < 32768)
    assert hair.any() and found.mask.any()
    if lost in pose:
        pose[lost][0] = np.nan
    else:
        pose["translation"] = np.array([0, 0, {"behind": -45.0, "around": -8.0}[lost]])
    found = renderer.render(**pose)
    assert not found.mask.any() and not found.image.any()
    torso = found.uv[..., 1] >= 32768
    np.testing.assert_array_equal(torso.any(axis=1), np.arange(96) + 0.5 >= 0.8 * 96)
    assert not found.uv[~torso].any()


def test_light_is_the_callers_else_the_identitys_else_the_fixed_one() -> None:
    from selfieavatar.rendering.raster import CpuBackend

    arrays, own, other = identity(), 0.5 * default_light(), 0.8 * default_light()
    lit, plain = drawn_by(arrays | {"light": own}), drawn_by(arrays)
    assert (plain.render(*AHEAD).image == drawn_by(arrays, light=default_light()).render(*AHEAD).image).all()
    assert (lit.render(*AHEAD).image == plain.render(*AHEAD, light=own).image).all()
    expected = drawn_by(arrays, light=other).render(*AHEAD)
    assert (lit.render(*AHEAD, light=other.ravel()).image == expected.image).all()
    on_device = drawn_by(arrays, backend=CpuBackend()).render(*AHEAD, light=own)
    mask = on_device.mask & lit.render(*AHEAD).mask
    assert np.abs(on_device.image.astype(int) - lit.render(*AHEAD).image)[mask].mean() < 0.5


@pytest.mark.parametrize("backend", [None, "torch"])
def test_hidden_triangles_hide_and_are_not_drawn(backend: str | None) -> None:
    arrays = identity()
    # A board before the lower half of the face.
    board = np.array([[-9.0, 3.0, -3.0], [9.0, 3.0, -3.0], [9.0, 12.0, -3.0], [-9.0, 12.0, -3.0]], np.float32)
    count = len(arrays["template"])
    arrays["template"] = np.concatenate([arrays["template"], board])
    arrays["uv"] = np.concatenate([arrays["uv"], np.full((4, 2), 0.5, np.float32)])
    arrays["expression_basis"] = np.pad(arrays["expression_basis"], ((0, 0), (0, 4), (0, 0)))
    arrays["tri"] = np.concatenate([arrays["tri"], np.array([[0, 1, 2], [0, 2, 3]], np.int32) + count])
    arrays["tri_part"] = np.append(arrays["tri_part"], np.array([HIDDEN, HIDDEN], np.int8))
    if backend:
        backend = pytest.importorskip("selfieavatar.rendering.raster").CpuBackend()
    plain = drawn_by(identity(), backend=backend, supersample=1).render(*AHEAD)
    covered = drawn_by(arrays, backend=backend, supersample=1).render(*AHEAD)
    edge = int(48 + 2.2 * 96 * 3.0 / 42.0)
    assert plain.mask[edge + 1 :].any() and not covered.mask[edge + 1 :].any()
    assert not covered.image[edge + 1 :].any() and not covered.uv[edge + 1 :].any()
    np.testing.assert_array_equal(covered.uv[: edge - 1], plain.uv[: edge - 1])
    np.testing.assert_array_equal(covered.mask[: edge - 1], plain.mask[: edge - 1])


def test_below_the_chin_the_uv_image_tells_where_the_torso_is(renderer: Renderer) -> None:
    with_torso = drawn_by(identity() | torso_of(0.5))
    side, shift = with_torso.size_px, np.array([0.1, -0.05])
    plain, drawn = renderer.render(*AHEAD), with_torso.render(*AHEAD, torso=shift)
    np.testing.assert_array_equal(drawn.uv[drawn.mask], plain.uv[plain.mask])
    np.testing.assert_array_equal(drawn.image, plain.image)
    rows, columns = np.nonzero(~drawn.mask & (drawn.uv[..., 1] > 0))
    wanted = np.stack([columns + 0.5, rows + 0.5], 1) / side - shift
    packed = np.clip(wanted, 0, 1) * [1, 0.5] + [0, 0.5]
    np.testing.assert_allclose(drawn.uv[rows, columns, :2] / 65535, packed, atol=1e-5)
    assert wanted[:, 1].min() == pytest.approx(0.5, abs=1 / side)
    assert not drawn.uv[~drawn.mask][:, 2].any()
    below = np.arange(side) + 0.5 >= side * (0.5 + shift[1])
    np.testing.assert_array_equal((drawn.uv[..., 1] > 0) | drawn.mask, below[:, None] | drawn.mask)


def test_a_torso_of_unknown_shift_stays_where_the_reference_has_it() -> None:
    still = drawn_by(identity() | torso_of(0.5))
    frames = [still.render(*AHEAD, torso=torso).uv for torso in (None, np.zeros(2), np.full(2, np.nan))]
    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[0], frames[2])
