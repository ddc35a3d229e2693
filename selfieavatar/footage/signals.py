"""Measure signals over the frames of a recording: how far, how long, how often, how steady.

Signals are (N,) arrays with one value a frame, NaN where it is not known; `seconds` (N,) is how long each frame lasts.
What cannot be told is NaN, for `selfieavatar.footage.checks` to give the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from selfieavatar.fitting.landmark_measures import BLINK_SHARE
from selfieavatar.morphable.landmark_sets import LandmarkSet
from selfieavatar.morphable.model import MorphableModel

HELD_S = 0.2  # what lasts less in all, over the whole recording, does not count as shown
LIP_CELL = 0.05  # of the inter-ocular distance: lips that differ by less in width and opening are one shape
_FRONTAL_DEG = 10.0  # from the usual pose: so far, brightness says something of the light and not of the turning head
_FEWEST = 3  # frames that make the mean of a second


def frame_seconds(time_s: np.ndarray) -> np.ndarray:
    """Compute how long each frame is shown, (N,) s, from its time stamps; a gap counts as at most three frames."""
    if len(time_s) < 2:
        return np.zeros(len(time_s))
    steps = np.diff(time_s)
    usual = float(np.median(steps))
    return np.clip(np.append(steps, usual), 0, 3 * usual)


def reached(values: np.ndarray, seconds: np.ndarray, held_s: float = HELD_S) -> tuple[float, float]:
    """Find (low, high): the signal lay at or below low, and at or above high, for held_s seconds in all.

    Unlike a percentile it does not ask more of a longer recording, and unlike the extremes it does not believe a single
    frame. NaN where less than held_s is known.
    """
    known = np.isfinite(values) & (seconds > 0)
    values, seconds = values[known], seconds[known]
    if seconds.sum() < held_s or not len(values):
        return float("nan"), float("nan")
    order = np.argsort(values, kind="stable")
    ends = []
    for chosen in (order, order[::-1]):
        held = np.cumsum(seconds[chosen])
        ends.append(float(values[chosen[np.searchsorted(held, held_s - 1e-9)]]))
    return ends[0], ends[1]


def map_of(
    across: np.ndarray, down: np.ndarray, seconds: np.ndarray, edges: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Sum the seconds in each cell of two signals, (A, D); edges: (A + 1,) of `across`, (D + 1,) of `down`."""
    known = np.isfinite(across) & np.isfinite(down)
    return np.histogram2d(across[known], down[known], bins=edges, weights=seconds[known])[0]


def advised_poses(yaw_deg: float, pitch_deg: float, cell_deg: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the directions of the head to ask for: cells whose middle lies within the ellipse of that reach.

    Cells are squares of cell_deg, the middle one around looking straight ahead, one more around the ellipse.

    Returns:
        Edges (A + 1,) of yaw and (D + 1,) of pitch, and (A, D) bool.
    """
    counts = [int(reach // cell_deg) + 1 for reach in (yaw_deg, pitch_deg)]
    edges = [(np.arange(2 * count + 2) - count - 0.5) * cell_deg for count in counts]
    yaw, pitch = ((edge[1:] + edge[:-1]) / 2 for edge in edges)
    return edges[0], edges[1], (yaw[:, None] / yaw_deg) ** 2 + (pitch / pitch_deg) ** 2 <= 1 + 1e-9


def lip_shapes(width: np.ndarray, opening: np.ndarray, seconds: np.ndarray, held_s: float = 0.1) -> int:
    """Count the shapes that the lips took for held_s seconds in all: cells of width times opening.

    width, opening: (N,) over the inter-ocular distance. Speech that hardly moves the lips has about five, every
    vowel with a smile, a pout and an open mouth several times as many.
    """
    known = np.isfinite(width) & np.isfinite(opening)
    cells = np.floor(np.stack([width, opening], 1)[known] / LIP_CELL).astype(int)
    if not len(cells):
        return 0
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    return int((np.bincount(cell.ravel(), seconds[known]) >= held_s - 1e-9).sum())


def face_shape(model: MorphableModel, expression: np.ndarray, landmark_set: LandmarkSet) -> dict[str, np.ndarray]:
    """Measure mouth_open, mouth_width, brows (N,) of the fitted face over the inter-ocular distance (outer corners).

    Read off the model, not the image, so that a turned head changes nothing. Opening and width are of the inner lips,
    brows are the mean height above the eye corners. NaN where the coefficients are, or the model lacks the points.
    """
    ring, quarter = list(landmark_set.lips_inner), len(landmark_set.lips_inner) // 4
    lips = [ring[k * quarter] for k in range(4)]  # corner, lower or upper middle, corner, the other middle
    brows = [*landmark_set.regions["left_brow"], *landmark_set.regions["right_brow"]]
    vertices = model.landmark_vertices[[*landmark_set.outer_eyes, *lips, *brows]]
    if (vertices < 0).any():
        return dict.fromkeys(("mouth_open", "mouth_width", "brows"), np.full(len(expression), np.nan))
    basis = model.expression_basis[:, vertices]
    places = model.template[vertices] + np.tensordot(expression, basis, 1)  # (N, M, 3) cm
    eyes = places[:, :2]
    eye_distance = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)
    return {
        "mouth_open": np.linalg.norm(places[:, 3] - places[:, 5], axis=1) / eye_distance,
        "mouth_width": np.linalg.norm(places[:, 2] - places[:, 4], axis=1) / eye_distance,
        "brows": (eyes[..., 1].mean(1) - places[:, 6:, 1].mean(1)) / eye_distance,
    }


def eyes_closed(lids: np.ndarray) -> np.ndarray:
    """Find closed eyes, (N,) bool: the mean opening of both lids is below half of the usual, as in `count_blinks`."""
    known = lids[np.isfinite(lids)]
    return lids < BLINK_SHARE * np.percentile(known, 75) if len(known) else np.zeros(len(lids), bool)


def near_front(yaw: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """Find frames in which the head is within 10 degrees of how it is usually held, (N,) bool."""
    known = np.isfinite(yaw) & np.isfinite(pitch)
    if not known.any():
        return known
    return known & (np.hypot(yaw - np.median(yaw[known]), pitch - np.median(pitch[known])) < _FRONTAL_DEG)


def drift(brightness: np.ndarray, time_s: np.ndarray, clip: np.ndarray) -> float:
    """Compute the range of the brightness from second to second (5th to 95th percentile) over its median.

    brightness, time_s, clip: (N,); clip is the number of the clip that the frame is from.
    """
    known = np.isfinite(brightness)
    if not known.any():
        return float("nan")
    pairs = np.stack([clip[known], np.floor(time_s[known])], 1).astype(int)
    _, second = np.unique(pairs, axis=0, return_inverse=True)
    count = np.bincount(second.ravel())
    means = np.bincount(second.ravel(), brightness[known]) / count
    means = means[count >= min(_FEWEST, count.max())]
    low, high = np.percentile(means, [5, 95])
    return float((high - low) / max(float(np.median(means)), 1e-9))


def flicker(brightness: np.ndarray, clip: np.ndarray) -> float:
    """Estimate the deviation of the brightness from frame to frame over its median, if it were white noise.

    Half of the second differences lie below 0.67 deviations times sqrt(6); slow changes cancel in them, and cuts are
    too few to move their median. Repeated frames must have been left out.
    """
    same = (clip[2:] == clip[1:-1]) & (clip[1:-1] == clip[:-2])
    second = np.abs(brightness[2:] - 2 * brightness[1:-1] + brightness[:-2])[same]
    second, known = second[np.isfinite(second)], brightness[np.isfinite(brightness)]
    if not len(second):
        return float("nan")
    return float(np.median(second) / 0.6745 / np.sqrt(6) / max(float(np.median(known)), 1e-9))


def unevenness(left: np.ndarray, right: np.ndarray) -> float:
    """Compute the median difference of brightness of both sides of the face over their mean; + brighter at right."""
    share = 2 * (right - left) / np.maximum(right + left, 1e-9)
    share = share[np.isfinite(share)]
    return float(np.median(share)) if len(share) else float("nan")


def cut_by_border(
    points: np.ndarray, crop_px: tuple[float, float, float], source: tuple[int, int], size_px: int
) -> np.ndarray:
    """Find frames, (N,) bool, in which a landmark lies outside the source's image or the crop.

    points: (N, L, 2) px of the frame, NaN where there is none. crop_px: (x0, y0, side) in source px. source: width and
    height, px.
    """
    scale = crop_px[2] / size_px
    low = np.maximum(0, -np.asarray(crop_px[:2]) / scale)
    high = np.minimum(size_px, (np.asarray(source) - crop_px[:2]) / scale)
    return ((points < low) | (points > high)).any((1, 2))


def examples(table: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Choose the row of the frame to show for each title; only frames with a fit, and titles whose signal is known."""
    wanted = {
        "sharpest": ("softness", -1), "most blurred": ("softness", 1), "mouth widest": ("mouth_open", 1),
        "eyes closed": ("lids", -1), "brows highest": ("brows", 1), "turned left": ("yaw", -1),
        "turned right": ("yaw", 1), "looking up": ("pitch", -1), "looking down": ("pitch", 1),
    }  # fmt: skip
    found = {}
    for title, (column, sign) in wanted.items():
        values = np.where(table["fitted"] & np.isfinite(table[column]), sign * table[column], -np.inf)
        if len(values) and np.isfinite(values.max()):
            found[title] = int(values.argmax())
    return found
