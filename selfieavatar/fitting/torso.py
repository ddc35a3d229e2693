"""Where the torso is, which no face tells: its shift in the image, followed by the pixels of collar and shoulders.

A head says little about the shoulders under it. What the avatar is given of them is as simple as it can be carried
over to other moments: how far the torso is from where the subject's reference image has it. A reference of the part
of the person below the chin is learnt from some train frames, and found in every frame by maximising the enhanced
correlation coefficient (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient
maximization", PAMI 2008), which does not see brightness and contrast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

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


@dataclass(frozen=True)
class Torso:
    """The subject's reference: grey image (128, 128) uint8, and mask (128, 128) uint8, 255 on the torso."""

    image: np.ndarray
    mask: np.ndarray

    @classmethod
    def from_arrays(cls, identity: Mapping[str, np.ndarray]) -> Torso | None:
        """That of identity.npz, where it has one."""
        if not {"torso_picture", "torso_mask"} <= identity.keys():
            return None
        return cls(identity["torso_picture"], identity["torso_mask"])

    def shift(self, grey: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        """How far the torso in `grey` (128, 128) uint8 is from the reference's: (2,) x, y as shares of the side; and
        their correlation, 0 where none was found. start (2,): where to begin."""
        warp = np.eye(2, 3, dtype=np.float32)
        warp[:, 2] = np.asarray(start) * TORSO_PX
        try:
            found, warp = cv2.findTransformECC(
                self.image, grey, warp, cv2.MOTION_TRANSLATION, _STEPS, self.mask, _BLUR_PX
            )
        except cv2.error:  # nothing to compare: it has run out of the image, or the image is flat
            return np.zeros(2), 0.0
        shift = warp[:, 2].astype(float) / TORSO_PX
        return shift, float(found) if np.abs(shift).max() <= _MOST_SHIFT else 0.0

    def roughly(self, grey: np.ndarray) -> np.ndarray:
        """The shift (2,) at which the torso looks most alike in `grey`, to a whole pixel, for `shift` to begin at."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        if not len(rows):
            return np.zeros(2)
        part, reach = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], round(_MOST_SHIFT * TORSO_PX)
        around = cv2.copyMakeBorder(grey, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        around = around[rows[0] : rows[-1] + 1 + 2 * reach, columns[0] : columns[-1] + 1 + 2 * reach]
        alike = cv2.matchTemplate(around, self.image[part], cv2.TM_CCOEFF_NORMED, mask=self.mask[part])
        row, column = np.unravel_index(np.nan_to_num(alike, posinf=0, neginf=0).argmax(), alike.shape)
        return np.array([column - reach, row - reach]) / TORSO_PX


def small(image: np.ndarray) -> np.ndarray:
    """Grey or single-channel (128, 128) uint8 of an RGB or single-channel image (S, S)."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (TORSO_PX, TORSO_PX), interpolation=cv2.INTER_AREA)


def learn_torso(
    images: Sequence[np.ndarray], mattes: Sequence[np.ndarray], points: np.ndarray, kind: LandmarkSet
) -> dict[str, np.ndarray]:
    """What identity.npz keeps of the torso: of the frames whose chins are in the most usual places, that of the one in
    which the torsos of most others are found.

    Args:
        images, mattes: (S, S, 3) and (S, S) uint8 of some dozens of frames. points: (N, L, 2) their landmarks of the
        set `kind`, as shares of the side.

    Returns:
        torso_picture and torso_mask, see `Torso`, and torso_top (), the row of the chin as a share of the side,
        where the torso begins if there is no skull to tell (`Renderer.render`). Nothing where too little of it is to be
        seen.
    """
    oval = points[:, list(kind.regions["oval"])]
    chin = np.stack([oval[..., 0].mean(1), oval[..., 1].max(1)], axis=1)
    span = np.median(np.linalg.norm(np.diff(points[:, list(kind.outer_eyes)], axis=1), axis=2))
    usual = np.abs(chin - np.median(chin, axis=0)).sum(1).argsort(kind="stable")[:CANDIDATES]
    others = [small(images[i]) for i in np.unique(np.linspace(0, len(chin) - 1, WITNESSES).round().astype(int))]
    best: tuple[float, dict[str, np.ndarray]] = (-1.0, {})
    for number in usual:
        top = round(TORSO_PX * (chin[number, 1] + _BELOW * span))
        person = (small(mattes[number]) >= 128).astype(np.uint8)
        mask = 255 * cv2.dilate(person, np.ones((9, 9), np.uint8))  # the outline tells most
        person[:top], mask[:top] = 0, 0
        if person.sum() < LEAST_SHARE * TORSO_PX**2:
            continue
        torso = Torso(small(images[number]), mask)
        found = sum(torso.shift(other, np.zeros(2))[1] for other in others)
        if found > best[0]:
            top_row = np.float32(chin[number, 1])
            best = found, {"torso_picture": torso.image, "torso_mask": mask, "torso_top": top_row}
    return best[1]


def follow_torso(torso: Torso, images: Iterable[np.ndarray]) -> np.ndarray:
    """(N, 2) shift of the torso in each image of a clip, as `Torso.shift`; NaN where it is not found."""
    shifts, last, lost = [], np.zeros(2), 0
    for grey in images:
        shift, match = torso.shift(grey, last)
        if match < _MATCHES and lost % _LOOK_AGAIN == 0:  # hidden, or another take: anywhere
            shift, match = torso.shift(grey, torso.roughly(grey))
        lost = 0 if match >= _MATCHES else lost + 1
        last = last if lost else shift
        shifts.append(np.full(2, np.nan) if lost else shift)
    return np.reshape(shifts, (-1, 2))


def held(shift: np.ndarray) -> np.ndarray:
    """(N, 2) shifts of a clip to draw by: where the torso is not known, that of the nearest frame where it is; that of
    the reference, 0, where it never is."""
    known = np.flatnonzero(np.isfinite(shift).all(1))
    if not len(known):
        return np.zeros_like(shift)
    frames = np.arange(len(shift))
    after = np.searchsorted(known, frames).clip(0, len(known) - 1)
    before = (after - 1).clip(0)
    nearer = np.abs(known[before] - frames) <= np.abs(known[after] - frames)
    return shift[known[np.where(nearer, before, after)]]
