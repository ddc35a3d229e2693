"""Refine a coarse person mask to a soft alpha by the guided filter and the colour line.

The guided filter moves the mask's edge to the image's edge anywhere. The colour line resolves hair where person and
background have one local colour each. All alphas are 1 on the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from selfieavatar.matting.colour_line import Plate, colour_line
from selfieavatar.matting.guided import box_mean, enlarge, guided_filter, square

REFERENCE_PX = 512
"""Side of the image that the lengths of `RefineOptions` are given for; they scale with it."""
HALF = 127.5
"""Mean of the window of a pixel on the border of a region that is 255 inside."""


@dataclass(frozen=True)
class RefineOptions:
    """Hold the parameters of the refinement; lengths in pixels of a 512 px image."""

    band_px: float = 8.0
    """Half width of the band around the mask's edge in which the guided filter moves the edge."""
    hair_px: float = 28.0
    """Distance outside the mask up to which the colour line searches loose hair."""
    window_px: float = 12.0
    """Radius of the guided filter's window."""
    epsilon: float = 2e-4
    """Colour variance (range [0,1]) below which the guided filter takes the guide for flat."""
    colour_line: float = 1.0
    """Weight of the colour-line estimate, 0 = guided filter only."""
    hole_share: float = 0.01
    """Holes smaller than this share of the image are filled."""

    def scaled(self, length_px: float, side_px: int) -> int:
        """Scale `length_px` at 512 px to whole pixels, at least 1, of an image of side `side_px`."""
        return max(1, round(length_px * side_px / REFERENCE_PX))


def refine(rgb: np.ndarray, mask: np.ndarray, options: RefineOptions, plate: Plate | None = None) -> np.ndarray:
    """Refine the mask of one image to a soft alpha.

    Args:
        rgb: (H,W,3) uint8 or float32 in [0,1].
        mask: (h,w) float32 coarse person mask of the same field of view, of any size.
        options: see `RefineOptions`.
        plate: clean background; see `colour_line`.

    Returns:
        (H,W) float32 in [0,1]; all zero for a mask without a person.
    """
    height, width = rgb.shape[:2]
    side = max(height, width)
    band, hair = options.scaled(options.band_px, side), options.scaled(options.hair_px, side)
    coarse = tidy(mask, options.hole_share, options.scaled(options.hair_px, max(mask.shape)))
    if not coarse.any():
        return np.zeros((height, width), np.float32)
    alpha = enlarge(coarse, (width, height))
    solid = (alpha > 0.5).view(np.uint8) * np.uint8(255)
    inner, outer = cv2.erode(solid, square(band)), cv2.dilate(solid, square(band))
    reach = cv2.dilate(solid, square(hair))
    taper = max(1, band // 2)
    edge_share, unknown_share = box_mean(outer - inner, taper), box_mean(reach - inner, taper)
    # From here on only the pixels that may change are processed: a small part of the image.
    where = np.flatnonzero(cv2.max(edge_share, unknown_share) > HALF)
    at_edge, unknown = inside_weight(edge_share, where), inside_weight(unknown_share, where)
    value = np.take(alpha, where)
    window = options.scaled(options.window_px, side)
    guided = guided_filter(rgb, alpha, window, options.epsilon, where, subsample=2)
    value += at_edge * (np.clip(guided, 0.0, 1.0) - value)
    if options.colour_line > 0.0:
        line, confidence, noise = colour_line(rgb, inner, 255 - reach, hair, where, plate)
        near = inside_weight(box_mean(outer, band), where)
        # Away from the mask's edge hair must differ from the background by more than its noise.
        hair_only = np.clip((line - noise) / np.maximum(1.0 - noise, 0.1), 0.0, 1.0)
        line = near * line + (1.0 - near) * hair_only
        confidence = confidence * (near + (1.0 - near) * confidence * confidence)
        value += options.colour_line * confidence * unknown * (line - value)
    alpha.ravel()[where] = value
    return levels(alpha)


def inside_weight(share: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Feather a region at flat indices `where` (N,): weight float32 from 0 at its border to 1 well inside.

    share: (H,W) `box_mean` of the region, 255 inside; its radius is the distance from the border where 1 is reached.
    """
    return np.clip(np.take(share, where) * np.float32(2.0 / 255.0) - 1.0, 0.0, 1.0)


def levels(alpha: np.ndarray, low: float = 0.10, high: float = 0.92) -> np.ndarray:
    """Stretch the levels [low, high] to [0, 1] and clip, which cleans image noise from wall and person."""
    return np.clip((alpha - low) / (high - low), 0.0, 1.0).astype(np.float32)


def tidy(mask: np.ndarray, hole_share: float, reach_px: int) -> np.ndarray:
    """Keep the largest connected component of a mask with what is close around it, and fill its small holes.

    Args:
        mask: (H,W) float32.
        hole_share: of the image; smaller holes inside the image are filled.
        reach_px: soft mask further than this from the component is dropped.

    Returns:
        (H,W) float32; islands are 0, filled holes 1, the rest unchanged. A mask without a pixel above 0.5 becomes 0.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0.5).astype(np.uint8), connectivity=8)
    if count <= 1:
        return np.zeros_like(mask)
    keep = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    main = (labels == keep).astype(np.uint8)
    dropped = cv2.dilate(main, square(reach_px)) == 0
    if count > 2:
        dropped |= (cv2.dilate(((labels > 0) & (main == 0)).astype(np.uint8), square(3)) > 0) & (main == 0)
    out = np.where(dropped, np.float32(0.0), mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - main, connectivity=4)
    height, width = mask.shape
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    fill = inside & (stats[:, cv2.CC_STAT_AREA] < hole_share * mask.size)
    fill[0] = False
    if fill.any():
        out = np.where(cv2.dilate(fill[labels].astype(np.uint8), square(2)) > 0, np.float32(1.0), out)
    return out
