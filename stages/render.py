"""Draw the fitted face of each frame: the shaded image I_R and the texture coordinates I_UV.

Reads the subject's identity and a clip's fit; writes render/<frame>.png (8-bit RGB, black off the face),
uv/<frame>.png (16-bit: R = u, G = v, B = 1 on the face, 0 elsewhere) and the manifest. Frames whose fit is lost get no
image and an empty hash: nothing is invented for them.
"""

import argparse
import logging
from collections.abc import Generator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.footage.holdout import filled_torso
from selfieavatar.identity import Identity
from selfieavatar.io.files import atomic_dir
from selfieavatar.io.images import ImageWriter
from selfieavatar.io.manifest import Manifest, read_manifest, write_manifest
from selfieavatar.rendering.face_mesh import FaceImages
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.rendering.shading import default_light
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.settings.device import lease_device
from selfieavatar.video.prefetch import in_order

log = logging.getLogger(__name__)
COEFFICIENTS = ("rotation", "translation", "expression", "gaze", "light")


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "render")
    parser.add_argument("--identity", type=Path, required=True, help="identity.npz of the subject")
    parser.add_argument("--fit", type=Path, required=True, help="fit.parquet of the clip")
    parser.add_argument("--out-render", type=Path, required=True, help="folder for I_R images")
    parser.add_argument("--out-uv", type=Path, required=True, help="folder for I_UV images")
    parser.add_argument("--manifest", type=Path, required=True, help="render.parquet to write")
    parser.add_argument("--gpu", type=int, default=0, help="GPUs granted to this job; 0 means the CPU")
    return parser


def choose_backend(setting: str, device: str) -> Any | None:
    """Choose the rasteriser: None for the fast path on the CPU, else nvdiffrast on the leased GPU."""
    if setting == "cpu" or (setting == "auto" and device == "cpu"):
        return None
    if setting == "auto" and find_spec("nvdiffrast") is None:
        log.info("nvdiffrast is not installed: drawing on the CPU")
        return None
    if device == "cpu":
        raise UserError("render.backend is nvdiffrast but no NVIDIA GPU was granted; set it to auto or cpu")
    from selfieavatar.rendering.raster import backend_for  # torch comes only with a GPU

    return backend_for(device)


def drawn_frames(
    renderer: Renderer, fit: Manifest, wanted: np.ndarray, threads: int, lit: bool = True
) -> Generator[tuple[int, FaceImages], None, None]:
    """Draw the wanted rows on threads a few frames ahead of the caller; yields row number and images in order.

    lit: under the light of each row, else under the renderer's own.
    """
    rotation, translation, expression, gaze, light = (fit[name] for name in COEFFICIENTS)
    torso = filled_torso(fit)

    def draw(row: int) -> FaceImages:
        lights = light[row] if lit else None
        return renderer.render(rotation[row], translation[row], expression[row], gaze[row], lights, torso[row])

    # One GPU draws one frame at a time; the numba kernels release the interpreter and scale with threads.
    return in_order(draw, wanted.tolist(), 1 if renderer.backend is not None else threads)


def usable_rows(fit: Manifest) -> np.ndarray:
    """Find the rows (M,) whose fit can be drawn: fitted, not lost, all coefficients finite."""
    finite = np.ones(len(fit), bool)
    for name in COEFFICIENTS:
        finite &= np.isfinite(fit[name]).all(axis=1)
    return np.nonzero(fit["fitted"] & (fit["quality"] != "lost") & finite)[0]


def run(args: argparse.Namespace) -> None:
    """Draw one clip."""
    identity = Identity.load(args.identity)
    fit = read_manifest(args.fit, "fit")
    expressions = identity.model.expression_count
    if not len(fit):
        raise UserError(f"{args.fit} lists no frame; delete it and run the workflow again")
    if fit["expression"].shape[1] != expressions:
        raise UserError(
            f"{args.fit} has {fit['expression'].shape[1]} expression coefficients but {args.identity} has "
            f"{expressions}; they come from different runs: run the fit stage again"
        )
    cv2.setNumThreads(1)
    wanted = usable_rows(fit)
    frames = fit["frame"]
    share = np.zeros(len(fit), np.float32)
    with lease_device(args.gpu) as device:
        backend = choose_backend(args.settings.backend, device)
        lit, light = args.settings.light == "fitted", default_light() if args.settings.light == "fixed" else None
        renderer = Renderer(identity, backend=backend, supersample=args.settings.supersample, light=light)
        name = "cpu" if backend is None else backend.name
        log.info("drawing %d of %d frames at %d px with %s", len(wanted), len(fit), renderer.size_px, name)
        with atomic_dir(args.out_render) as render_dir, atomic_dir(args.out_uv) as uv_dir:
            with (
                ImageWriter(render_dir, threads=args.threads) as images,
                ImageWriter(uv_dir, threads=args.threads) as coordinates,
                closing(drawn_frames(renderer, fit, wanted, args.threads, lit)) as drawn,
            ):
                for row, face in progress(drawn, total=len(wanted), desc="render"):
                    images.put(int(frames[row]), face.image)
                    coordinates.put(int(frames[row]), face.uv)
                    share[row] = face.mask.mean()
    _warn_of_empty(share, wanted)
    columns = {
        "frame": frames,
        "render_hash": [images.hashes.get(int(frame), "") for frame in frames],
        "uv_hash": [coordinates.hashes.get(int(frame), "") for frame in frames],
        "face_share": share,
    }
    facts = {"size_px": renderer.size_px, "backend": name, "light": args.settings.light}
    write_manifest(args.manifest, "render", columns, facts)


def _warn_of_empty(share: np.ndarray, wanted: np.ndarray) -> None:
    empty = int((share[wanted] == 0.0).sum())
    if empty:
        log.warning("%d frames show no face at all: their fit puts it outside the image", empty)


if __name__ == "__main__":
    main(build_parser(), run)
