"""The render stage: images, hashes and manifest agree; lost frames get nothing; bad input is explained."""

import json
from pathlib import Path

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.identity import Identity
from selfieavatar.io.files import content_hash
from selfieavatar.io.images import image_name, read_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import default_light
from selfieavatar.settings.sections import Render
from stages.render import COEFFICIENTS, build_parser, choose_backend, run
from tests.rendering.faces import torso

SIZE = 32
LIGHT = np.concatenate([[3.0, 2.5, 2.0], np.linspace(-0.3, 0.3, 24)]).astype(np.float32)


def _identity() -> dict[str, np.ndarray]:
    """A bent square of 8 triangles; the middle of the lower edge is the only thing that its expression moves."""
    x, y = np.meshgrid([-6.0, 0.0, 6.0], [-6.0, 0.0, 6.0])
    template = np.stack([x, y, 0.05 * x**2], axis=-1).reshape(-1, 3).astype(np.float32)
    quads = [(r * 3 + c, r * 3 + c + 1, r * 3 + c + 4, r * 3 + c + 3) for r in range(2) for c in range(2)]
    tri = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    basis = np.zeros((1, 9, 3), np.float32)
    basis[0, 7, 1] = 2.0
    return {
        "template": template, "expression_basis": basis, "tri": tri, "tri_part": np.zeros(len(tri), np.int8),
        "uv": ((template[:, :2] + 6.0) / 12.0).astype(np.float32), "focal_px": np.float32(2 * SIZE),
        "principal": np.array([SIZE / 2, SIZE / 2], np.float32), "size_px": np.int32(SIZE),
        "texture": np.full((8, 8, 3), 160, np.uint8), "eye_center": np.zeros((2, 3), np.float32),
        "eye_radius": np.ones(2, np.float32), "iris_radius": np.float32(0.5),
        "model": np.array("square"), "expression_scale": np.ones(1, np.float32),
        "expression_low": np.zeros(1, np.float32), "expression_high": np.ones(1, np.float32),
        "landmark_vertices": np.arange(9, dtype=np.int32), "light": 0.9 * default_light(),
    } | torso(0.7)  # fmt: skip


def _write_fit(path: Path, quality: list[str]) -> dict[str, np.ndarray]:
    count = len(quality)
    frame = np.arange(count) * 2 + 3
    columns = {
        "frame": frame, "fitted": np.array([q != "lost" for q in quality]),
        "rotation": np.stack([np.array([0.0, 0.1 * i, 0.0]) for i in range(count)]),
        "translation": np.tile([0.0, 0.0, 40.0], (count, 1)), "expression": np.linspace(0, 1, count)[:, None],
        "gaze": np.zeros((count, 4)), "light": np.tile(LIGHT, (count, 1)), "torso": np.full((count, 2), 0.1),
        "landmark_error": np.zeros(count),
        "quality": quality,
    }  # fmt: skip
    write_manifest(path, "fit", columns, {"focal_px": 2.0 * SIZE})
    return columns


def _run(folder: Path, **settings: object) -> None:
    args = build_parser().parse_args(
        ["--identity", str(folder / "identity.npz"), "--fit", str(folder / "fit.parquet"), "--out-render",
         str(folder / "render"), "--out-uv", str(folder / "uv"), "--manifest", str(folder / "render.parquet"),
         "--threads", "2", "--settings", json.dumps(settings)]
    )  # fmt: skip
    args.settings = Render(**{"backend": "cpu"} | settings)
    run(args)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    np.savez(tmp_path / "identity.npz", **_identity())
    _write_fit(tmp_path / "fit.parquet", ["ok", "lost", "bridged", "ok"])
    return tmp_path


@pytest.mark.parametrize(("light", "taken"), [("mean", COEFFICIENTS[:4]), ("fitted", COEFFICIENTS)])
def test_images_manifest_and_library_agree(clip: Path, light: str, taken: tuple[str, ...]) -> None:
    _run(clip, light=light)
    manifest = read_manifest(clip / "render.parquet", "render")
    fit = read_manifest(clip / "fit.parquet", "fit")
    assert manifest.metadata == {"size_px": SIZE, "backend": "cpu", "light": light}
    assert sorted(p.name for p in (clip / "render").iterdir()) == ["000003.png", "000007.png", "000009.png"]
    assert sorted(p.name for p in (clip / "uv").iterdir()) == ["000003.png", "000007.png", "000009.png"]
    renderer = Renderer(Identity.from_arrays(_identity()))
    for row, frame in enumerate(manifest["frame"]):
        if fit["quality"][row] == "lost":
            assert manifest["render_hash"][row] == manifest["uv_hash"][row] == "" and manifest["face_share"][row] == 0
            continue
        expected = renderer.render(*(fit[name][row] for name in taken), torso=fit["torso"][row])
        image = read_image(clip / "render" / image_name(frame))
        uv = read_image(clip / "uv" / image_name(frame))
        assert image.dtype == np.uint8 and uv.dtype == np.uint16
        assert (image == expected.image).all() and (uv == expected.uv).all()
        assert manifest["render_hash"][row] == content_hash(clip / "render" / image_name(frame))
        assert manifest["uv_hash"][row] == content_hash(clip / "uv" / image_name(frame))
        assert manifest["face_share"][row] == pytest.approx(expected.mask.mean())


def test_fixed_light_leaves_the_fitted_one_aside(clip: Path) -> None:
    _run(clip, light="fixed")
    fit = read_manifest(clip / "fit.parquet", "fit")
    assert read_manifest(clip / "render.parquet", "render").metadata["light"] == "fixed"
    renderer = Renderer(Identity.from_arrays(_identity()), light=default_light())
    expected = renderer.render(*(fit[name][0] for name in COEFFICIENTS[:4]))
    assert (read_image(clip / "render" / image_name(3)) == expected.image).all()


def test_two_runs_give_the_same_bytes(clip: Path) -> None:
    _run(clip)
    first = content_hash(clip / "render.parquet")
    _run(clip)
    assert content_hash(clip / "render.parquet") == first


def test_coefficients_of_another_identity_are_refused(clip: Path) -> None:
    identity = _identity()
    identity["expression_basis"] = np.zeros((3, 9, 3), np.float32)
    identity |= {f"expression_{name}": np.ones(3, np.float32) for name in ("scale", "low", "high")}
    np.savez(clip / "identity.npz", **identity)
    with pytest.raises(UserError, match="different runs"):
        _run(clip)
    assert not (clip / "render").exists() and not (clip / "render.parquet").exists()


def test_missing_or_damaged_identity_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        Identity.load(tmp_path / "identity.npz")
    (tmp_path / "identity.npz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="not a readable identity"):
        Identity.load(tmp_path / "identity.npz")


def test_backend_choice() -> None:
    assert choose_backend("cpu", "cuda:0") is None and choose_backend("auto", "cpu") is None
    with pytest.raises(UserError, match="no NVIDIA GPU"):
        choose_backend("nvdiffrast", "cpu")


def test_a_clip_without_a_usable_frame_gives_empty_folders(clip: Path) -> None:
    _write_fit(clip / "fit.parquet", ["lost"])
    _run(clip)
    assert len(read_manifest(clip / "render.parquet", "render")) == 1 and not list((clip / "uv").iterdir())


def test_a_fit_without_a_frame_is_refused(clip: Path) -> None:
    fit = read_manifest(clip / "fit.parquet", "fit")
    none = {name: fit[name][:0] for name in fit.table.column_names}
    write_manifest(clip / "fit.parquet", "fit", none)
    with pytest.raises(UserError, match=r"fit.parquet lists no frame; delete it"):
        _run(clip)
    assert not list(clip.glob("*render*"))
