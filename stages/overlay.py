"""Draw what the tracking found over the frames: overlay.mp4 and contact.png, made to be looked at.

The video has four panels. Top left: green dots are the landmarks, the cyan mesh is the fitted model, the orange line is
where alpha is one half, the magenta arrows are the gaze. Top right: the drawn face I_R. Bottom left: the model's
normals. Bottom right: a checkerboard on its texture coordinates I_UV. The sheet shows, for frames spread over the clip:
the frame, its overlay, the drawn face I_R, and the person on a checkerboard.
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.geometry.camera import transform
from selfieavatar.geometry.normals import orient_outwards
from selfieavatar.identity import Identity
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.images import write_image
from selfieavatar.io.manifest import Manifest, read_manifest
from selfieavatar.rendering.eyes import gaze_axes
from selfieavatar.reporting import annotate, tracking_tiles
from selfieavatar.settings.cli import main, progress, stage_parser
from selfieavatar.video.writer import VideoWriter

log = logging.getLogger(__name__)

_MOST_TRIANGLES = 1500
GAZE_CM = 5.0  # length of the gaze arrows


def build_parser() -> argparse.ArgumentParser:
    """Build the command line of the stage."""
    parser = stage_parser(__doc__, "overlay")
    parser.add_argument("--identity", type=Path, required=True, help="identity.npz of the subject")
    for kind in ("decode", "landmarks", "matting", "fit", "render"):
        parser.add_argument(f"--{kind}", type=Path, required=True, help=f"{kind}.parquet of the clip")
    parser.add_argument("--frames", type=Path, required=True, help="folder of the cropped frames")
    parser.add_argument("--alpha", type=Path, required=True, help="folder of the masks")
    parser.add_argument("--render-pictures", type=Path, required=True, help="folder of the drawn faces I_R")
    parser.add_argument("--uv-pictures", type=Path, required=True, help="folder of the texture coordinates I_UV")
    parser.add_argument("--out-video", type=Path, required=True, help="overlay.mp4 to write")
    parser.add_argument("--out-sheet", type=Path, required=True, help="contact.png to write")
    return parser


@dataclass
class Clip:
    """All that is known of a clip, row by row, and the mesh of each frame."""

    store: ClipStore
    decode: Manifest
    landmarks: Manifest
    fit: Manifest
    render: Manifest
    identity: Identity
    side: int  # of the overlay, px

    def __post_init__(self) -> None:
        names = ("rotation", "translation", "expression", "gaze", "landmark_error")
        self._columns = {name: self.fit[name] for name in names}
        self._quality = self.fit["quality"]
        self._points = self.landmarks["points_px"]
        self._drawn = self.render["render_hash"]
        self.model, self.camera = self.identity.model, self.identity.camera
        self._outward = orient_outwards(self.model.template, self.model.tri)
        self.zoom = self.side / int(self.decode.metadata["size_px"])

    def __len__(self) -> int:
        return len(self.decode)

    def _image(self, kind: str, row: int) -> np.ndarray:
        return self.store.image(kind, self.decode["frame"][row])

    def points(self, row: int) -> np.ndarray | None:
        """Pose the frame's mesh: camera points (V, 3) in cm, None where the fit is lost."""
        rotation, translation, expression = (self._columns[k][row] for k in ("rotation", "translation", "expression"))
        if self._quality[row] == "lost" or not np.isfinite(np.concatenate([rotation, translation, expression])).all():
            return None
        return transform(self.model.vertices(expression), rotation[None], translation[None])[0]

    def gaze(self, row: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Find both ends (2, 2) of the gaze arrows in px of the frame, None where the gaze is not known."""
        if not np.isfinite(self._columns["gaze"][row]).all():
            return None
        forward = gaze_axes(self._columns["gaze"][row])[:, 2]
        eyes = self.model.eye_center + self.model.eye_radius[:, None] * forward
        rotation, translation = self._columns["rotation"][row], self._columns["translation"][row]
        ends = transform(np.concatenate([eyes, eyes + GAZE_CM * forward]), rotation[None], translation[None])[0]
        pixels = self.camera.project(ends)
        return pixels[:2], pixels[2:]

    def overlay(self, row: int) -> np.ndarray:
        """Draw everything over the frame, with a line of text: (side, side, 3) uint8."""
        canvas = _resized(self._image("frames", row), self.side)
        alpha = _resized(self._image("alpha", row), self.side)
        canvas = tracking_tiles.mask_outline(canvas, alpha, max(1, self.side // 384))
        points = self.points(row)
        if points is not None:
            canvas = self._draw_model(canvas, points)
        canvas = annotate.landmarks(canvas, self._points[row].reshape(-1, 2) * self.zoom, radius=self.side / 600)
        gaze = self.gaze(row) if points is not None else None
        if gaze is not None:
            canvas = tracking_tiles.gaze_arrows(canvas, gaze[0] * self.zoom, gaze[1] * self.zoom)
        label = f"{int(self.decode['frame'][row])} {self._quality[row]}"
        if np.isfinite(self._columns["landmark_error"][row]):
            label += f" {100 * float(self._columns['landmark_error'][row]):.1f} %"
        return annotate.text(canvas, label, height=max(12, self.side // 22))

    def _draw_model(self, canvas: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Draw the mesh, or the landmarks of a mesh so dense that it would hide the face."""
        pixels = self.camera.project(points) * self.zoom
        if len(self.model.tri) > _MOST_TRIANGLES:
            at = self.model.landmark_vertices[self.model.used_landmarks]
            return annotate.landmarks(canvas, pixels[at], annotate.CYAN, radius=self.side / 400)
        tri = tracking_tiles.facing_triangles(points, self.model.tri, self._outward)
        return annotate.wireframe(canvas, pixels, tri, opacity=0.35)

    def mosaic(self, row: int) -> np.ndarray:
        """Tile overlay, I_R, normals and checkerboard: (2 side, 2 side, 3) uint8; black where the fit is lost."""
        points = self.points(row)
        black = np.zeros((self.side, self.side, 3), np.uint8)
        drawn, normals, board = black, black, black
        if self._drawn[row] and points is not None:
            frame = _resized(self._image("frames", row), self.side)
            drawn = _resized(self._image("render", row), self.side)
            camera = self.camera.scaled(self.side)
            focal_px, principal = camera.focal_px, np.asarray(camera.principal)
            normals = tracking_tiles.normal_image(frame, points, self.model.tri, self._outward, focal_px, principal)
            uv = self._image("uv", row)
            uv = cv2.resize(uv, (self.side, self.side), interpolation=cv2.INTER_NEAREST)
            board = tracking_tiles.uv_checkerboard(frame, uv)
        height = max(12, self.side // 22)
        named = {"I_R": drawn, "normals": normals, "I_UV": board}
        labelled = [annotate.text(image, name, height=height) for name, image in named.items()]
        return np.vstack([np.hstack([self.overlay(row), labelled[0]]), np.hstack(labelled[1:])])

    def row_of_sheet(self, row: int) -> list[np.ndarray]:
        """Draw frame, overlay, I_R and the person on a checkerboard."""
        frame = self._image("frames", row)
        alpha = self._image("alpha", row)
        # Nothing was drawn for a frame whose fit is lost.
        drawn = self._image("render", row) if self._drawn[row] else np.zeros_like(frame)
        return [frame, self.overlay(row), drawn, tracking_tiles.on_checkerboard(frame, alpha)]


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[0] == side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)


def read_clip(args: argparse.Namespace) -> Clip:
    """Read all manifests, checked to speak of the same frames, sizes and model."""
    kinds = ("decode", "landmarks", "matting", "fit", "render")
    found = {kind: read_manifest(getattr(args, kind), kind) for kind in kinds}
    identity = Identity.load(args.identity)
    frames, size_px = found["decode"]["frame"], int(found["decode"].metadata["size_px"])
    for kind, manifest in found.items():
        if not np.array_equal(manifest["frame"], frames) or int(manifest.metadata["size_px"]) != size_px:
            raise UserError(
                f"{getattr(args, kind)} and {args.decode} describe different frames or sizes: run the workflow again"
            )
    if identity.camera.size_px != size_px or found["fit"]["expression"].shape[1] != identity.model.expression_count:
        raise UserError(f"{args.identity} and {args.fit} come from different runs: run the fit stage again")
    side = max(size_px, args.settings.size_px)
    folders = {"alpha": args.alpha, "render": args.render_pictures, "uv": args.uv_pictures}
    store = ClipStore(args.frames.parent, frames=args.frames, **folders)
    return Clip(store, found["decode"], found["landmarks"], found["fit"], found["render"], identity, side)


def sheet(clip: Clip, frames: int, cell_px: int) -> np.ndarray:
    """Tile a contact sheet of `frames` rows of the clip, two frames side by side."""
    rows = np.unique(np.linspace(0, len(clip) - 1, min(frames, len(clip))).round().astype(int))
    images, labels = [], []
    for row in rows:
        images += [_resized_down(image, cell_px) for image in clip.row_of_sheet(row)]
        labels += [f"frame {int(clip.decode['frame'][row])}", "tracked", "I_R", "alpha"]
    return annotate.contact_sheet(images, labels, columns=8, cell_px=cell_px)


def _resized_down(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[0] <= side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


def run(args: argparse.Namespace) -> None:
    """Draw one clip."""
    cv2.setNumThreads(max(args.threads, 1))
    clip = read_clip(args)
    fps, size = clip.decode.metadata["fps"], (2 * clip.side, 2 * clip.side)
    with VideoWriter(args.out_video, fps, size, args.settings.crf) as video:
        for row in progress(range(len(clip)), total=len(clip), desc="overlay"):
            video.put(clip.mosaic(row))
        write_image(args.out_sheet, sheet(clip, args.settings.sheet_frames, args.settings.cell_px))
    lost = int((clip.fit["quality"] == "lost").sum())
    log.info("%d frames drawn, %d of them without a fit", len(clip), lost)


if __name__ == "__main__":
    main(build_parser(), run)
