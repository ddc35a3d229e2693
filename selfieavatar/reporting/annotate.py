"""Draw on images for people to look at: landmarks, wireframes, mask edges, contact sheets, error maps.

Every function takes and returns RGB uint8 images (H, W, 3) and leaves its input alone. Points are in continuous
pixel coordinates (the centre of the first pixel is (0.5, 0.5)).
"""

from collections.abc import Sequence

import cv2
import numpy as np

GREEN = (60, 230, 90)
ORANGE = (255, 150, 40)
CYAN = (70, 210, 255)
MAGENTA = (255, 80, 220)
_SUBPIXEL_BITS = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_HEIGHT = 22.0  # px of the font's capitals at scale 1, with room
_RIM_PX = 3


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """Convert continuous pixel coordinates to cv2's fixed-point integers, whose origin is the first pixel's centre."""
    bounded = np.clip(np.nan_to_num(np.asarray(points, np.float64), nan=-1e5), -1e5, 1e5)
    return np.round((bounded - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def as_rgb8(image: np.ndarray) -> np.ndarray:
    """Convert any image to a fresh (H, W, 3) uint8 one.

    Accepts (H, W) and (H, W, 3), bool, uint8, uint16 (scaled by 257) and floats in [0, 1].
    """
    image = np.asarray(image)
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    elif image.dtype == bool:
        image = image.astype(np.uint8) * 255
    elif image.dtype != np.uint8:
        image = (np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3]).copy()


def landmarks(
    image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int] = GREEN, radius: float | None = None
) -> np.ndarray:
    """Draw discs of `radius` pixels (default: 1/300 of the width) at points (K, 2); NaN ones are left out."""
    canvas = as_rgb8(image)
    points = np.asarray(points, np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    size = canvas.shape[1] / 300.0 if radius is None else radius
    fixed_radius = max(int(round(size * (1 << _SUBPIXEL_BITS))), 1)
    for x, y in _fixed_point(points).tolist():
        cv2.circle(canvas, (x, y), fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def wireframe(
    image: np.ndarray, points: np.ndarray, tri: np.ndarray, colour: tuple[int, int, int] = CYAN, opacity: float = 0.6
) -> np.ndarray:
    """Draw the edges of triangles tri (F, 3) between points (V, 2), each edge once, blended over the image."""
    canvas = as_rgb8(image)
    edges = np.sort(np.asarray(tri)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges = np.unique(edges, axis=0)
    points = np.asarray(points, np.float64)[:, :2]
    ends = points[edges]
    ends = ends[np.isfinite(ends).all(axis=(1, 2))]
    lines = canvas.copy()
    cv2.polylines(lines, list(_fixed_point(ends)), False, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return cv2.addWeighted(lines, opacity, canvas, 1.0 - opacity, 0.0)


def arrows(
    image: np.ndarray, starts: np.ndarray, ends: np.ndarray, colour: tuple[int, int, int] = MAGENTA, thickness: int = 1
) -> np.ndarray:
    """Draw arrows from starts (K, 2) to ends (K, 2); one with a NaN end is left out."""
    canvas = as_rgb8(image)
    pairs = np.stack([np.asarray(starts, np.float64), np.asarray(ends, np.float64)], axis=1)
    for start, end in _fixed_point(pairs[np.isfinite(pairs).all(axis=(1, 2))]).tolist():
        cv2.arrowedLine(canvas, start, end, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS, 0.25)
    return canvas


def alpha_edge(
    image: np.ndarray, alpha: np.ndarray, level: float = 0.5, colour: tuple[int, int, int] = ORANGE, thickness: int = 1
) -> np.ndarray:
    """Draw the contour where alpha (H, W; uint8 or float in [0, 1]) crosses `level`."""
    canvas = as_rgb8(image)
    alpha = np.asarray(alpha)
    threshold = level * 255.0 if alpha.dtype == np.uint8 else level
    inside = (alpha >= threshold).astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)
    return canvas


def text(image: np.ndarray, label: str, origin: tuple[int, int] = (4, 4), height: int = 12) -> np.ndarray:
    """Write a white line of text with a dark rim; `origin` (x, y) is its top left corner, `height` in pixels."""
    canvas = as_rgb8(image)
    scale = height / _TEXT_HEIGHT
    place = (origin[0], origin[1] + height)
    cv2.putText(canvas, label, place, _FONT, scale, (0, 0, 0), _RIM_PX, cv2.LINE_AA)
    cv2.putText(canvas, label, place, _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def text_width(label: str, height: int = 12) -> int:
    """Measure the pixels that `text` takes of a line, with the rim."""
    (width, _), _ = cv2.getTextSize(label, _FONT, height / _TEXT_HEIGHT, _RIM_PX)
    return width if label else 0


def shortened(label: str, width: int, height: int = 12) -> str:
    """Shorten a label to what `text` writes on `width` pixels: its beginning and its end, with dots between them.

    Names often begin alike and differ at the end, where the number of a frame stands, too. Empty where nothing fits.
    """
    if text_width(label, height) <= width:
        return label
    for kept in range(len(label) - 1, 0, -1):
        cut = f"{label[: (kept + 1) // 2]}...{label[len(label) - kept // 2 :]}"
        if text_width(cut, height) <= width:
            return cut
    return ""


def contact_sheet(
    images: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    columns: int = 4,
    cell_px: int | None = None,
    gap: int = 4,
) -> np.ndarray:
    """Lay out images side by side, row by row, each with its label in a strip above it.

    Images may differ in size and type (see `as_rgb8`); each is scaled into a square cell of `cell_px` pixels
    (default: the largest side of the first image) with its proportions kept.

    Raises:
        ValueError: no image, or another number of labels than images.
    """
    if not len(images):
        raise ValueError("a contact sheet needs at least one image")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"{len(labels)} labels for {len(images)} images")
    cell = cell_px or max(np.asarray(images[0]).shape[:2])
    strip = 16 if labels is not None else 0
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (cell + strip + gap) + gap, columns * (cell + gap) + gap, 3), 24, np.uint8)
    for index, image in enumerate(images):
        tile = as_rgb8(image)
        scale = cell / max(tile.shape[:2])
        if scale != 1.0:
            size = (max(1, round(tile.shape[1] * scale)), max(1, round(tile.shape[0] * scale)))
            tile = cv2.resize(tile, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
        top = gap + (index // columns) * (cell + strip + gap)
        left = gap + (index % columns) * (cell + gap)
        if labels is not None:
            sheet[top : top + strip, left : left + cell] = text(
                sheet[top : top + strip, left : left + cell], labels[index], (2, 1), 11
            )
        down = top + strip + (cell - tile.shape[0]) // 2
        right = left + (cell - tile.shape[1]) // 2
        sheet[down : down + tile.shape[0], right : right + tile.shape[1]] = tile
    return sheet


def error_map(first: np.ndarray, second: np.ndarray, full_scale: float = 0.25) -> np.ndarray:
    """Draw the mean absolute colour difference as a heat map; `full_scale` (in [0, 1]) is shown brightest.

    Raises:
        ValueError: the images differ in size.
    """
    a, b = as_rgb8(first), as_rgb8(second)
    if a.shape != b.shape:
        raise ValueError(f"images of different size: {a.shape[:2]} and {b.shape[:2]}")
    error = cv2.absdiff(a, b).astype(np.float32).mean(axis=2) / 255.0
    heat = np.clip(error / full_scale, 0.0, 1.0) * 255.0
    return cv2.cvtColor(cv2.applyColorMap(heat.astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
