"""Where the torso is, which no face tells: its shift in the picture, followed by the pixels of collar and shoulders.

A head says little about the shoulders under it. What the avatar is given of them is as simple as it can be carried
over to other moments: how far the torso is from where the subject's reference picture has it. A reference of the part
of the person below the chin is learnt from some train frames, and found in every frame by maximising the enhanced
correlation coefficient (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient
maximization", PAMI 2008), which does not see brightness and contrast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from stages.face.landmark_sets import LandmarkSet

TORSO_PX = 128  # side of the pictures that are compared: a shift is good to some tenths of their pixels
LEAST_SHARE = 0.01  # of the picture that must show the torso
_BELOW = 0.25  # distance between the chin's lowest point and the torso, in distances of the outer eye corners
_MOST_SHIFT = 0.25  # of the picture's side: farther off it is not the torso that was found
_MATCHES = 0.8  # least correlation of a torso that was found
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
_BLUR_PX = 3


@dataclass(frozen=True)
class Torso:
    """The subject's reference: grey picture (128, 128) uint8, and mask (128, 128) uint8, 255 on the torso."""

    picture: np.ndarray
    mask: np.ndarray

    @classmethod
    def from_arrays(cls, identity: Mapping[str, np.ndarray]) -> Torso | None:
        """That of identity.npz, where it has one."""
        return cls(identity["torso_picture"], identity["torso_mask"]) if "torso_picture" in identity else None

    def shift(self, grey: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        """How far the torso in `grey` (128, 128) uint8 is from the reference's: (2,) x, y as shares of the side; and
        their correlation, 0 where none was found. start (2,): where to begin."""
        warp = np.eye(2, 3, dtype=np.float32)
        warp[:, 2] = np.asarray(start) * TORSO_PX
        try:
            found, warp = cv2.findTransformECC(
                self.picture, grey, warp, cv2.MOTION_TRANSLATION, _STEPS, self.mask, _BLUR_PX
            )
        except cv2.error:  # nothing to compare: it has run out of the picture, or the picture is flat
            return np.zeros(2), 0.0
        shift = warp[:, 2].astype(float) / TORSO_PX
        return shift, float(found) if np.abs(shift).max() <= _MOST_SHIFT else 0.0


def small(picture: np.ndarray) -> np.ndarray:
    """Grey or single-channel (128, 128) uint8 of an RGB or single-channel picture (S, S)."""
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (TORSO_PX, TORSO_PX), interpolation=cv2.INTER_AREA)


def learn_torso(
    pictures: Sequence[np.ndarray], mattes: Sequence[np.ndarray], points: np.ndarray, kind: LandmarkSet
) -> dict[str, np.ndarray]:  # fmt: skip
    """What identity.npz keeps of the torso: that of the frame whose chin is in the most usual place.

    Args:
        pictures, mattes: (S, S, 3) and (S, S) uint8 of some dozens of frames. points: (N, L, 2) their landmarks of the
        set `kind`, as shares of the side.

    Returns:
        torso_picture and torso_mask, see `Torso`, and torso_top (), the row of the chin as a share of the side: above
        it there is no torso. Nothing where too little of the torso is to be seen.
    """
    oval = points[:, list(kind.regions["oval"])]
    chin = np.stack([oval[..., 0].mean(1), oval[..., 1].max(1)], axis=1)
    span = np.median(np.linalg.norm(np.diff(points[:, list(kind.outer_eyes)], axis=1), axis=2))
    usual = int(np.abs(chin - np.median(chin, axis=0)).sum(1).argmin())
    top = round(TORSO_PX * (chin[usual, 1] + _BELOW * span))
    person = (small(mattes[usual]) >= 128).astype(np.uint8)
    mask = 255 * cv2.dilate(person, np.ones((9, 9), np.uint8))  # the outline tells most
    person[:top], mask[:top] = 0, 0
    if person.sum() < LEAST_SHARE * TORSO_PX**2:
        return {}
    return {"torso_picture": small(pictures[usual]), "torso_mask": mask, "torso_top": np.float32(chin[usual, 1])}


def follow_torso(torso: Torso, pictures: Iterable[np.ndarray]) -> np.ndarray:
    """(N, 2) shift of the torso in each picture of a clip, as `Torso.shift`, linear over gaps; NaN where no picture
    shows it."""
    shifts, last = [], np.zeros(2)
    for grey in pictures:
        shift, match = torso.shift(grey, last)
        if match < _MATCHES and last.any():  # lost, or another take: begin anew
            shift, match = torso.shift(grey, np.zeros(2))
        last = shift if match >= _MATCHES else np.zeros(2)
        shifts.append(shift if match >= _MATCHES else np.full(2, np.nan))
    shifts = np.stack(shifts)
    known = np.flatnonzero(np.isfinite(shifts).all(1))
    if not len(known):
        return shifts
    frames = np.arange(len(shifts))
    return np.stack([np.interp(frames, known, shifts[known, axis]) for axis in range(2)], axis=1)
