"""Follow the torso, which no face tells: its shift in the image, by the pixels of collar and shoulders.

A head says little about the shoulders under it. What the avatar is given of them is as simple as it can be carried
over to other moments: how far the torso is from where the subject's reference image has it. A reference of the part
of the person below the chin is learnt from some train frames, and found in every frame by maximising the enhanced
correlation coefficient (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient
maximization", PAMI 2008), which does not see brightness and contrast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from selfieavatar.identity import Torso
from selfieavatar.morphable.landmark_sets import LandmarkSet

TORSO_PX = 128  # side of the images that are compared: a shift is good to some tenths of their pixels
LEAST_SHARE = 0.01  # of the image that must show the torso
_BELOW = 0.25  # distance between the chin's lowest point and the torso, in distances of the outer eye corners
_MOST_SHIFT = 0.25  # of the image's side: farther off it is not the torso that was found
_MATCHES = 0.8  # least correlation of a torso that was found
_LOOK_AGAIN = 25  # frames without the torso after which it is looked for everywhere once more
CANDIDATES, WITNESSES = 8, 24  # frames that may be the reference, and those in which they must find the torso
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
_BLUR_PX = 3


def torso_shift(torso: Torso, grey: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Align the torso's reference with an image by the enhanced correlation coefficient.

    Args:
        torso: reference, of TORSO_PX. grey: (128, 128) uint8. start: (2,) where to begin.

    Returns:
        How far the torso in `grey` is from the reference's, (2,) x, y as shares of the side; and their correlation, 0
        where none was found.
    """
    warp: Any = np.eye(2, 3, dtype=np.float32)
    warp[:, 2] = np.asarray(start) * TORSO_PX
    try:
        found, warp = cv2.findTransformECC(
            torso.image, grey, warp, cv2.MOTION_TRANSLATION, _STEPS, torso.mask, _BLUR_PX
        )
    except cv2.error:  # nothing to compare: it has run out of the image, or the image is flat
        return np.zeros(2), 0.0
    shift = warp[:, 2].astype(float) / TORSO_PX
    return shift, float(found) if np.abs(shift).max() <= _MOST_SHIFT else 0.0


def coarse_shift(torso: Torso, grey: np.ndarray) -> np.ndarray:
    """Match the torso's reference with `grey` (128, 128) as a template: (2,), to a whole pixel, for `torso_shift`."""
    rows, columns = (np.flatnonzero(torso.mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros(2)
    part, reach = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], round(_MOST_SHIFT * TORSO_PX)
    around = cv2.copyMakeBorder(grey, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    around = around[rows[0] : rows[-1] + 1 + 2 * reach, columns[0] : columns[-1] + 1 + 2 * reach]
    alike = cv2.matchTemplate(around, torso.image[part], cv2.TM_CCOEFF_NORMED, mask=torso.mask[part])
    row, column = np.unravel_index(np.nan_to_num(alike, posinf=0, neginf=0).argmax(), alike.shape)
    return np.array([column - reach, row - reach]) / TORSO_PX


def small(image: np.ndarray) -> np.ndarray:
    """Shrink to a grey or single-channel (128, 128) uint8 image an RGB or single-channel image (S, S)."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (TORSO_PX, TORSO_PX), interpolation=cv2.INTER_AREA)


def learn_torso(images: np.ndarray, mattes: np.ndarray, points: np.ndarray, kind: LandmarkSet) -> Torso | None:
    """Choose the torso's reference among frames whose chins are in the most usual places: that which most others match.

    Args:
        images: (N, S, S, 3) uint8, some dozens. mattes: (N, S, S) uint8. points: (N, L, 2) their landmarks of the
            set `kind`, as shares of the side. kind: landmark set.

    Returns:
        The reference, or None where too little of the torso is to be seen.
    """
    oval = points[:, list(kind.regions["oval"])]
    chin = np.stack([oval[..., 0].mean(1), oval[..., 1].max(1)], axis=1)
    eye_distance = np.median(np.linalg.norm(np.diff(points[:, list(kind.outer_eyes)], axis=1), axis=2))
    usual = np.abs(chin - np.median(chin, axis=0)).sum(1).argsort(kind="stable")[:CANDIDATES]
    others = [small(images[i]) for i in np.unique(np.linspace(0, len(chin) - 1, WITNESSES).round().astype(int))]
    best: tuple[float, Torso | None] = (-1.0, None)
    for number in usual:
        top = round(TORSO_PX * (chin[number, 1] + _BELOW * eye_distance))
        person = (small(mattes[number]) >= 128).astype(np.uint8)
        mask = 255 * cv2.dilate(person, np.ones((9, 9), np.uint8))  # the outline tells most
        person[:top], mask[:top] = 0, 0
        if person.sum() < LEAST_SHARE * TORSO_PX**2:
            continue
        torso = Torso(small(images[number]), mask, float(np.float32(chin[number, 1])))
        found = sum(torso_shift(torso, other, np.zeros(2))[1] for other in others)
        if found > best[0]:
            best = found, torso
    return best[1]


def follow_torso(torso: Torso, images: Iterable[np.ndarray]) -> np.ndarray:
    """Track the torso through the images of a clip: (N, 2) shifts as of `torso_shift`, NaN where it is not found."""
    shifts, last, lost = [], np.zeros(2), 0
    for grey in images:
        shift, match = torso_shift(torso, grey, last)
        if match < _MATCHES and lost % _LOOK_AGAIN == 0:  # hidden, or another take: anywhere
            shift, match = torso_shift(torso, grey, coarse_shift(torso, grey))
        lost = 0 if match >= _MATCHES else lost + 1
        last = last if lost else shift
        shifts.append(np.full(2, np.nan) if lost else shift)
    return np.reshape(shifts, (-1, 2))


def fill_nearest(shift: np.ndarray) -> np.ndarray:
    """Fill unknown shifts (N, 2) by that of the nearest frame where it is known; by 0 where it never is."""
    known = np.flatnonzero(np.isfinite(shift).all(1))
    if not len(known):
        return np.zeros_like(shift)
    frames = np.arange(len(shift))
    after = np.searchsorted(known, frames).clip(0, len(known) - 1)
    before = (after - 1).clip(0)
    nearer = np.abs(known[before] - frames) <= np.abs(known[after] - frames)
    return shift[known[np.where(nearer, before, after)]]
