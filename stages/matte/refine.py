"""Edge-aware refinement of a coarse person mask to a soft alpha, and its stabilisation over time.

The segmenter says roughly where the person is; the picture says where the edge is. Inside an unknown band around the
mask's edge, alpha comes from two estimates that fail in different places:

* the colour line (I - B).(F - B) / |F - B|^2 with the local mean colours F and B of what is surely person and surely
  background, trusted where F and B differ by much more than they scatter (hair before a plain wall);
* the guided filter (He, Sun, Tang: Guided Image Filtering, TPAMI 2013, eq. 11-14 and 19-20; computed on a coarser grid as
  in He, Sun: Fast Guided Filter, 2015), which moves the mask's edge to the picture's edge anywhere.

All pictures are (H,W,3), alphas (H,W), float32 in [0,1] unless said otherwise; alpha = 1 on the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

REFERENCE_PX = 512
"""Lengths of `RefineOptions` hold for pictures of this side and scale with it."""


@dataclass(frozen=True)
class RefineOptions:
    """How a mask is refined; lengths in pixels of a 512 px picture."""

    band_px: float = 8.0
    """Half width of the band around the mask's edge in which the guided filter moves the edge."""
    hair_px: float = 28.0
    """How far outside the mask loose hair is looked for, where the colours of person and background tell them apart."""
    window_px: float = 12.0
    """Radius of the guided filter's window."""
    epsilon: float = 2e-4
    """Guided filter: colour variance (range [0,1]) below which the guide counts as flat."""
    colour_line: float = 1.0
    """Share of the colour-line estimate, 0 = guided filter only."""
    hole_share: float = 0.01
    """Holes smaller than this share of the picture are filled."""

    def scaled(self, length_px: float, side_px: int) -> int:
        """`length_px` at 512 px, as whole pixels (at least 1) of a picture of side `side_px`."""
        return max(1, round(length_px * side_px / REFERENCE_PX))


def refine(
    rgb: np.ndarray,
    mask: np.ndarray,
    options: RefineOptions,
    plate: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Soft alpha of one picture.

    Args:
        rgb: (H,W,3) uint8 or float32 in [0,1].
        mask: (h,w) float32 coarse person mask of the same field of view, of any size.
        options: see `RefineOptions`.
        plate: picture of the empty background (H,W,3) uint8 and where it is known (H,W) bool; see `colour_line`.

    Returns:
        (H,W) float32 in [0,1]; all zero where the mask shows nobody.
    """
    guide = rgb.astype(np.float32) / 255.0 if rgb.dtype == np.uint8 else rgb
    height, width = guide.shape[:2]
    side = max(height, width)
    band, hair = options.scaled(options.band_px, side), options.scaled(options.hair_px, side)
    coarse = tidy(mask, options.hole_share, options.scaled(options.hair_px, max(mask.shape)))
    if not coarse.any():
        return np.zeros((height, width), np.float32)
    coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    solid = (coarse > 0.5).astype(np.uint8)
    inner, outer = cv2.erode(solid, _square(band)), cv2.dilate(solid, _square(band))
    reach = cv2.dilate(solid, _square(hair))
    guided = guided_filter(guide, coarse, options.scaled(options.window_px, side), options.epsilon, subsample=2)
    alpha = coarse + inside_weight(outer - inner, max(1, band // 2)) * (np.clip(guided, 0.0, 1.0) - coarse)
    if options.colour_line > 0.0:
        person, background = inner.astype(np.float32), (1.0 - reach).astype(np.float32)
        line, trust, doubt = colour_line(guide, person, background, hair, plate)
        near = inside_weight(outer, band)
        # Away from the mask's edge only what no background pixel around could be counts as hair.
        hair_only = np.clip((line - doubt) / np.maximum(1.0 - doubt, 0.1), 0.0, 1.0)
        line = near * line + (1.0 - near) * hair_only
        alpha += options.colour_line * trust * inside_weight(reach - inner, max(1, band // 2)) * (line - alpha)
    return levels(alpha)


def inside_weight(region: np.ndarray, taper: int) -> np.ndarray:
    """Weight (H,W) float32 that rises from 0 at the border of `region` (uint8) to 1 `taper` pixels inside."""
    return np.clip(2.0 * box_mean(region.astype(np.float32), taper) - 1.0, 0.0, 1.0)


def levels(alpha: np.ndarray, low: float = 0.06, high: float = 0.94) -> np.ndarray:
    """Stretches [low, high] to [0, 1] and clips: picture noise must not make the wall 2 % person."""
    return np.clip((alpha - low) / (high - low), 0.0, 1.0).astype(np.float32)


def box_mean(image: np.ndarray, radius: int) -> np.ndarray:
    """Mean over the (2 radius + 1)^2 window around each pixel, borders mirrored without the edge pixel."""
    return cv2.boxFilter(image, cv2.CV_32F, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT_101)


def guided_filter(guide: np.ndarray, mask: np.ndarray, radius: int, epsilon: float, subsample: int = 1) -> np.ndarray:
    """Guided filter with a colour guide (He et al. 2013, eq. 19-20).

    Args:
        guide: (H,W,3) float32.
        mask: (H,W) float32, the picture to be filtered.
        radius: window radius in pixels of the full picture.
        epsilon: regulariser of the window's colour covariance.
        subsample: the linear coefficients are computed on a grid coarser by this factor.

    Returns:
        (H,W) float32, a local linear function of the guide's colours that is close to `mask`; not clipped.
    """
    height, width = mask.shape
    small_guide, small_mask = guide, mask
    if subsample > 1:
        size = (max(1, width // subsample), max(1, height // subsample))
        small_guide = cv2.resize(guide, size, interpolation=cv2.INTER_AREA)
        small_mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        radius = max(1, round(radius / subsample))
    coefficient, offset = _guided_coefficients(small_guide, small_mask, radius, epsilon)
    packed = np.dstack([coefficient, offset])
    packed = box_mean(packed, radius)
    if subsample > 1:
        packed = cv2.resize(packed, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.einsum("hwc,hwc->hw", packed[..., :3], guide) + packed[..., 3]


def _guided_coefficients(
    guide: np.ndarray, mask: np.ndarray, radius: int, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slope (H,W,3) and offset (H,W) of the linear model of each window: a = (cov(I) + eps)^-1 cov(I, p)."""
    r, g, b = cv2.split(guide)
    mean = box_mean(guide, radius)
    products = box_mean(np.dstack([r * r, r * g, r * b, g * g]), radius)
    products2 = box_mean(np.dstack([g * b, b * b, mask]), radius)
    cross = box_mean(guide * mask[..., None], radius)
    mr, mg, mb = cv2.split(mean)
    rr = products[..., 0] - mr * mr + epsilon
    rg = products[..., 1] - mr * mg
    rb = products[..., 2] - mr * mb
    gg = products[..., 3] - mg * mg + epsilon
    gb = products2[..., 0] - mg * mb
    bb = products2[..., 1] - mb * mb + epsilon
    mean_mask = products2[..., 2]
    cr, cg, cb = cv2.split(cross - mean * mean_mask[..., None])
    # Cramer's rule for the symmetric 3 x 3 system, written out: an order faster than np.linalg.solve per pixel.
    i00, i01, i02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    i11, i12, i22 = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * i00 + rg * i01 + rb * i02
    a = np.dstack([i00 * cr + i01 * cg + i02 * cb, i01 * cr + i11 * cg + i12 * cb, i02 * cr + i12 * cg + i22 * cb])
    a /= determinant[..., None]
    return a, mean_mask - np.einsum("hwc,hwc->hw", a, mean)


def tidy(mask: np.ndarray, hole_share: float, reach_px: int) -> np.ndarray:
    """Keeps the biggest connected person region with what is close around it, and fills its small holes.

    Args:
        mask: (H,W) float32.
        hole_share: a hole is filled when it is smaller than this share of the picture and does not touch the border.
        reach_px: soft mask further than this from the person's core is dropped.

    Returns:
        (H,W) float32; islands are 0, filled holes 1, the rest unchanged. A mask without a pixel above 0.5 becomes 0.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0.5).astype(np.uint8), connectivity=8)
    if count <= 1:
        return np.zeros_like(mask)
    keep = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    main = (labels == keep).astype(np.uint8)
    dropped = cv2.dilate(main, _square(reach_px)) == 0
    if count > 2:
        dropped |= (cv2.dilate(((labels > 0) & (main == 0)).astype(np.uint8), _square(3)) > 0) & (main == 0)
    out = np.where(dropped, np.float32(0.0), mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - main, connectivity=4)
    height, width = mask.shape
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    fill = inside & (stats[:, cv2.CC_STAT_AREA] < hole_share * mask.size)
    fill[0] = False
    if fill.any():
        out = np.where(cv2.dilate(fill[labels].astype(np.uint8), _square(2)) > 0, np.float32(1.0), out)
    return out


def _square(radius: int) -> np.ndarray:
    """Structuring element of a square window (separable in OpenCV, far faster than an ellipse)."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def colour_line(
    guide: np.ndarray,
    person: np.ndarray,
    background: np.ndarray,
    radius: int,
    plate: tuple[np.ndarray, np.ndarray] | None = None,
    subsample: int = 4,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alpha from the position of each colour between the local colours of person and background.

    Args:
        guide: (H,W,3) float32 picture.
        person, background: (H,W) float32, 1 where surely the one or the other.
        radius: radius in pixels of the window that gathers the person's colours; the background's is twice as wide.
        plate: the empty background (H,W,3) uint8 and where it is known (H,W) bool. It replaces the local mean where it
            explains the surely-background pixels near by better than that; a local shift of light is taken into account.
        subsample: local colours are computed on a grid coarser by this factor (they are smooth).

    Returns:
        alpha (H,W) float32 in [0,1]; trust (H,W) float32 in [0,1], near 1 where the two colours differ by much more than
        they scatter, 0 where either is unknown; doubt (H,W) float32 >= 0, three standard deviations of the background's
        colour in units of alpha.
    """
    height, width = person.shape
    size = (max(1, width // subsample), max(1, height // subsample))
    small = cv2.resize(guide, size, interpolation=cv2.INTER_AREA)
    radius = max(2, round(radius / subsample / 2))
    near, scatter_near, seen_near = _local_colour(small, cv2.resize(person, size, interpolation=cv2.INTER_AREA), radius)
    weight = cv2.resize(background, size, interpolation=cv2.INTER_AREA)
    far, scatter_far, seen_far = _local_colour(small, weight, 2 * radius)
    if plate is None:
        # Everything is smooth: the line itself can be computed on the coarse grid.
        slope, rest = _line_model(near, far, scatter_near + scatter_far, scatter_far, seen_near & seen_far)
        slope, rest = (cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in (slope, rest))
    else:
        backdrop, shift, use = _plate_colour(small, weight, scatter_far, plate, 2 * radius)
        scatter_far = np.where(use[..., 0] > 0.0, use[..., 1], scatter_far)
        coarse = np.dstack([near, scatter_near + scatter_far, far, scatter_far, shift, use[..., 0], seen_near & seen_far])
        fine = [
            cv2.resize(np.ascontiguousarray(coarse[..., k : k + 4]), (width, height), interpolation=cv2.INTER_LINEAR)
            for k in (0, 4, 8, 12)
        ]
        share = (fine[2][..., 3] * plate[1])[..., None]
        far = fine[1][..., :3] + share * (backdrop + fine[2][..., :3] - fine[1][..., :3])
        slope, rest = _line_model(fine[0][..., :3], far, fine[0][..., 3], fine[1][..., 3], fine[3] > 0.99)
    alpha = np.einsum("hwc,hwc->hw", guide, slope) + rest[..., 0]
    return np.clip(alpha, 0.0, 1.0), rest[..., 1], rest[..., 2]


def _line_model(
    near: np.ndarray, far: np.ndarray, scatter: np.ndarray, scatter_far: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope (h,w,3) and (offset, trust, doubt) (h,w,3) of alpha as a linear function of colour."""
    line = near - far
    length = np.einsum("hwc,hwc->hw", line, line)
    # Contrast to noise: below about two standard deviations the position on the line says little.
    trust = length / (length + 4.0 * scatter + 0.004)
    trust = np.clip((trust - 0.5) / 0.3, 0.0, 1.0)
    trust = trust * trust * (3.0 - 2.0 * trust) * seen.reshape(length.shape)
    doubt = 3.0 * np.sqrt(scatter_far / (length + 1e-5))
    slope = line / (length[..., None] + 1e-5)
    return slope, np.dstack([-np.einsum("hwc,hwc->hw", slope, far), trust, doubt])


def _plate_colour(
    small: np.ndarray, weight: np.ndarray, scatter: np.ndarray, plate: tuple[np.ndarray, np.ndarray], radius: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How well the plate explains the background near by.

    Returns:
        the plate as float (H,W,3); on the coarse grid its local shift of light (h,w,3); and (use, scatter) (h,w,2): 1 where
        it leaves less scatter than the local mean colour does, and that scatter.
    """
    backdrop = plate[0].astype(np.float32) / 255.0
    size = small.shape[1::-1]
    residual = small - cv2.resize(backdrop, size, interpolation=cv2.INTER_AREA)
    known = weight * (cv2.resize(plate[1].astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.99)
    shift, left, reached = _local_colour(residual, known, radius)
    use = ((left < scatter) & reached).astype(np.float32)
    return backdrop, shift, np.dstack([use, left])


def _local_colour(picture: np.ndarray, weight: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted local mean colour (h,w,3), summed variance (h,w), and where there is any weight (h,w) bool."""
    square = np.einsum("hwc,hwc->hw", picture, picture)
    packed = np.dstack([picture * weight[..., None], square * weight])
    summed = box_mean(box_mean(packed, radius), radius)
    total = box_mean(box_mean(weight, radius), radius)
    mean = summed[..., :3] / (total[..., None] + 1e-6)
    scatter = summed[..., 3] / (total + 1e-6) - np.einsum("hwc,hwc->hw", mean, mean)
    return mean, np.maximum(scatter, 0.0), total > 2e-3
