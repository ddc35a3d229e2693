"""Measure one image of a face: blur, brightness, exposure, and whether teeth show.

Images are RGB uint8 (S, S, 3); points are in continuous pixel coordinates. What cannot be told is NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from selfieavatar.morphable.landmark_sets import LandmarkSet
from selfieavatar.video.window import cut_window

BLUR_VIEW_PX = 256  # the face is looked at in a square of this side, as tall as the face, so that sizes compare
_BLUR_AGAIN_PX = 2.0
_PIXEL_BLUR = 0.4  # px: of the sharpest faces, shrunk from much larger ones
_STRONG = 90  # percentile of the gradient from which on it counts as an edge
_SHARPEST = 75  # percentile over those edges: soft shading is an edge, too, and says nothing of the lens
_BLURRIEST_PX = 20.0  # beyond, the two gradients are too alike to be told apart in 8 bits
_OVER, _UNDER = 250, 8  # levels of 255
_SIDES = (0.1, 0.6)  # of the inter-ocular distance from the midline: the strip that stands for a side
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Teeth are as bright as the skin, or nearly, and greyer: lips and tongue are red, the open mouth is dark.
_TOOTH_LUMA, _TOOTH_COLOUR = 0.65, 0.9  # of the skin's
_TEETH_SHARE, _TEETH_PX = 0.15, 4  # of the opening, and pixels, that must be so


class FaceImage(NamedTuple):
    """Measures of one face.

    softness: blur of the edges over the face's height; see `face_softness`.
    brightness, left, right: median luma of the face and of the strips at the image's left and right, 0 to 1.
    clipped: share of the face's pixels that are white in a channel or black. teeth: 1 where they show, else 0.
    """

    softness: float
    brightness: float
    left: float
    right: float
    clipped: float
    teeth: float


UNKNOWN = FaceImage(*[float("nan")] * len(FaceImage._fields))


def face_image(image: np.ndarray, points: np.ndarray, landmark_set: LandmarkSet) -> FaceImage:
    """Measure the face with landmarks points (L, 2); NaN where there is none or it is out of the image."""
    if not np.isfinite(points).all():
        return UNKNOWN
    inside = hull_mask(points, image.shape)
    if not inside.any():
        return UNKNOWN
    rows, columns = (slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(inside))
    part, inside = image[rows, columns], inside[rows, columns]
    luma = part.astype(np.float32) @ _LUMA
    skin = luma[inside]
    clipped = (part[inside].max(1) >= _OVER) | (skin <= _UNDER)
    left, right = _sides(luma, inside, points - [columns.start, rows.start], landmark_set)
    return FaceImage(
        face_softness(image, points), float(np.median(skin)) / 255, left, right, float(clipped.mean()),
        teeth_show(image, points, landmark_set, part[inside]),
    )  # fmt: skip


def hull_mask(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Fill the convex hull of points (L, 2): (H, W) bool."""
    hull = cv2.convexHull((points - 0.5).round().astype(np.int32))
    return cv2.fillConvexPoly(np.zeros(shape[:2], np.uint8), hull, (1,)).astype(bool)


def _sides(luma: np.ndarray, inside: np.ndarray, points: np.ndarray, landmark_set: LandmarkSet) -> tuple[float, float]:
    """Take the median luma, 0 to 1, of the strips left and right of the face's midline in the image."""
    one, other = points[list(landmark_set.outer_eyes)]
    across = (other - one) / max(float(((other - one) ** 2).sum()), 1e-9)
    y, x = np.nonzero(inside)
    place = (np.stack([x, y], 1) + 0.5 - (one + other) / 2) @ across
    found = []
    for sign in (-1, 1):
        strip = luma[inside][(sign * place > _SIDES[0]) & (sign * place < _SIDES[1])]
        found.append(float(np.median(strip)) / 255 if len(strip) else float("nan"))
    return found[0], found[1]


def face_softness(image: np.ndarray, points: np.ndarray) -> float:
    """Estimate the blur of the face's sharpest edges over its height, seen at one scale whatever the image's size.

    What the pixels themselves blur is taken off, so that a sharp face in a small image counts as sharp. NaN where
    there are no edges.
    """
    low, high = points.min(0), points.max(0)
    side = max(float(high[1] - low[1]), 2.0)
    x0, y0 = np.round((low + high) / 2 - side / 2)
    scale = BLUR_VIEW_PX / max(round(side), 2)
    view = cut_window(image, (x0, y0, max(round(side), 2)), BLUR_VIEW_PX)
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    blur_px = edge_blur(grey, hull_mask((points - [x0, y0]) * scale, grey.shape)) / scale
    return float(np.sqrt(np.clip(blur_px**2 - _PIXEL_BLUR**2, 0, None))) / side


def edge_blur(grey: np.ndarray, mask: np.ndarray) -> float:
    """Estimate the deviation, px, of the Gaussian that blurred the edges of an image, along the blurrier axis.

    The gradient across a step edge that is blurred by s falls by sqrt(1 + t^2 / s^2) when the image is blurred again
    by t (Zhuo and Sim 2011, "Defocus map estimation from a single image"). Both axes are measured by themselves, since
    motion blurs along one; a smear over 5 px counts as about 2, over 10 px as about 5. Thin lines count as sharper than
    they are.

    Args:
        grey: (H, W) float32 in [0, 1].
        mask: (H, W) bool, where edges are looked for.

    Returns:
        At most 20 px; NaN without an edge.
    """
    again = cv2.GaussianBlur(grey, (0, 0), _BLUR_AGAIN_PX)
    return float(max(_blur_along(grey, again, mask, axis) for axis in (0, 1)))


def _blur_along(grey: np.ndarray, again: np.ndarray, mask: np.ndarray, axis: int) -> float:
    order = (0, 1) if axis == 0 else (1, 0)
    sharp, soft = (np.abs(cv2.Sobel(image, cv2.CV_32F, *order, ksize=3)) for image in (grey, again))
    # The relation holds in the middle of an edge, where the gradient is largest.
    middle = mask & (soft >= np.roll(soft, 1, axis)) & (soft >= np.roll(soft, -1, axis))
    if not middle.any():
        return float("nan")
    strong = middle & (soft >= max(float(np.percentile(soft[mask], _STRONG)), 1e-3))
    if not strong.any():
        return float("nan")
    ratio = float(np.percentile(sharp[strong] / soft[strong], _SHARPEST))
    # Sobel's difference over two pixels widens both edges alike, by a variance of 1/3.
    variance = _BLUR_AGAIN_PX**2 / max(ratio**2 - 1, 1e-9) - 1 / 3
    return float(np.sqrt(np.clip(variance, 0, _BLURRIEST_PX**2)))


def teeth_show(image: np.ndarray, points: np.ndarray, landmark_set: LandmarkSet, skin: np.ndarray) -> float:
    """Return 1 where enough between the inner lips is bright and grey, else 0; skin (K, 3) is the face's pixels.

    Told by colour alone: a pale tongue, or a glint, is taken for teeth, and teeth in deep shade are missed.
    """
    lips = (points[list(landmark_set.lips_inner)] - 0.5).round().astype(np.int32)
    opening = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [lips], (1,))
    # The outline itself lies on the lips.
    opening = cv2.polylines(opening, [lips], True, (0,)).astype(bool)
    between = image[opening].astype(np.float32)
    if len(between) < _TEETH_PX:
        return 0.0
    skin = skin.astype(np.float32)
    bright = between @ _LUMA >= _TOOTH_LUMA * np.median(skin @ _LUMA)
    grey = _colourfulness(between) <= _TOOTH_COLOUR * np.median(_colourfulness(skin))
    teeth = int((bright & grey).sum())
    return float(teeth >= max(_TEETH_PX, _TEETH_SHARE * len(between)))


def _colourfulness(pixels: np.ndarray) -> np.ndarray:
    """Compute the saturation of HSV of (K, 3)."""
    top = pixels.max(1)
    return (top - pixels.min(1)) / np.maximum(top, 1)
