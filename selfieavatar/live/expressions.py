"""Sliders of an avatar: named expressions made of the person's own components, the gaze, and how the head is held.

The components of a personal model have no names, but what each does to the landmarks is known: to the gap of the lips,
the corners of the mouth, the lids, the brows. A slider asks for one of these measures and takes the person's most usual
expression that shows it while the other measures rest: the conditional mean of coefficients that are normally
distributed with the model's spreads. A measure that this person's components hardly move, or never without another one,
gets no slider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.fitting.landmark_measures import brow_height, landmark_positions, lid_and_lip_pairs, vertical_gaps
from selfieavatar.geometry.reference_pose import posed
from selfieavatar.identity import Identity
from selfieavatar.morphable.landmark_sets import MEDIAPIPE, MOUTH_LEFT, MOUTH_RIGHT, LandmarkSet
from selfieavatar.retargeting.retarget import Motion, soft_limit

_SPREADS = 3.0  # of its measure, to the end of a slider
_LEAST_CM = 0.25  # that the end of a slider must move its measure by, to be seen
_NOISE_CM = 0.01  # within which the other measures rest
_ALONE = 0.4  # share of a measure's spread that must be left when the others rest
_GAZE_RAD = 0.35
_LEAST_TURN_RAD, _LEAST_SHIFT_CM = 0.1, 2.0  # ends of the head's sliders where the clips show a head that hardly moves


@dataclass(frozen=True)
class Slider:
    """One slider: key, name, group on the page, and its range in which 0 is the rest."""

    key: str
    name: str
    group: str
    low: float = 0.0
    high: float = 1.0


_EXPRESSIONS = (
    Slider("mouth_open", "Open mouth", "Mouth"),
    Slider("smile", "Smile", "Mouth"),
    Slider("pucker", "Pucker", "Mouth"),
    Slider("mouth_side", "Mouth sideways", "Mouth", -1),
    Slider("brows", "Raise brows", "Eyes", -1),
    Slider("blink", "Blink", "Eyes"),
    Slider("wink_left", "Close left eye", "Eyes"),
    Slider("wink_right", "Close right eye", "Eyes"),
)
_LIDS = ("wink_left", "wink_right")
# What need not rest: the shape of the mouth goes with its opening and its smile in everybody.
_FREE = {
    "mouth_open": ("smile", "pucker"), "smile": ("pucker",), "pucker": ("smile",), "blink": _LIDS,
}  # fmt: skip
_GAZE = (Slider("gaze_x", "Look sideways", "Eyes", -1), Slider("gaze_y", "Look up", "Eyes", -1))
_HEAD = (  # with the axis of the pose that each moves, and the sign of its name
    (Slider("turn", "Turn head", "Head", -1), 1, -1.0),
    (Slider("nod", "Lift chin", "Head", -1), 0, -1.0),
    (Slider("tilt", "Tilt head", "Head", -1), 2, 1.0),
    (Slider("nearer", "Come nearer", "Head", -1), 5, -1.0),
)


def measures(points: np.ndarray, kind: LandmarkSet) -> dict[str, np.ndarray]:
    """Measure landmarks (..., L, 3), cm, or changes of them: each (...), linear in them, larger is more of the name.

    mouth_open: gap of the inner lips. smile: corners of the mouth up, and apart. pucker: less width. mouth_side: the
    corners to the image's right. brows: their height above the eyes. blink, wink_*: less gap of both or one eye's lids.
    """
    left, right, lips = (vertical_gaps(points, pairs).mean(-1) for pairs in lid_and_lip_pairs(kind))
    one, other = points[..., MOUTH_LEFT, :], points[..., MOUTH_RIGHT, :]
    width, corners = one[..., 0] - other[..., 0], (one + other) / 2
    up = points[..., list(kind.regions["nose"]), 1].mean(-1) - corners[..., 1]
    return {
        "mouth_open": lips, "smile": up + width / 4, "pucker": -width, "mouth_side": corners[..., 0],
        "brows": brow_height(points, kind), "blink": -(left + right) / 2, "wink_left": -left, "wink_right": -right,
    }  # fmt: skip


class Sliders:
    """The sliders of a person, and the motion that their values ask for.

    Attributes:
        offered: those that this person's components can move.

    Raises:
        UserError: the person was tracked by other landmarks, or the usual pose is not known.
    """

    def __init__(self, identity: Identity) -> None:
        self._model, kind = identity.model, identity.landmark_set
        if kind.name != MEDIAPIPE or identity.pose_range is None:
            raise UserError(
                "sliders need an avatar that was tracked by MediaPipe and knows its usual pose; train again"
            )
        self._poses = identity.pose_range
        rest = measures(landmark_positions(self._model, self._model.template), kind)
        moved = measures(landmark_positions(self._model, self._model.expression_basis), kind)
        self._directions: dict[str, np.ndarray] = {}
        for slider in _EXPRESSIONS:
            free = (slider.key, "blink", *_FREE.get(slider.key, ()))  # the blink is what both lids do
            held = [name for name in moved if name not in free]
            closed = -float(rest[slider.key]) if slider.key in (*_LIDS, "blink") else None
            direction = self._direction(moved, slider.key, held, closed)
            if direction is not None:
                self._directions[slider.key] = direction
        if not all(name in self._directions for name in _LIDS):
            for name in _LIDS:
                self._directions.pop(name, None)
        self.offered = (
            *(slider for slider in _EXPRESSIONS if slider.key in self._directions), *_GAZE,
            *(slider for slider, _, _ in _HEAD),
        )  # fmt: skip

    def _direction(
        self, moved: Mapping[str, np.ndarray], name: str, held: list[str], most: float | None
    ) -> np.ndarray | None:
        """Find the coefficients (E,) at the end of a slider, or None where this person does not do that alone."""
        rows = np.stack([moved[key] for key in (name, *held)]).astype(float)
        covered = rows * self._model.expression_scale.astype(float) ** 2
        spread = covered @ rows.T + _NOISE_CM**2 * np.eye(len(rows))
        alone = 1 / np.sqrt(np.linalg.inv(spread)[0, 0])
        usual = np.sqrt(spread[0, 0])
        end = _SPREADS * usual if most is None else most
        if end < _LEAST_CM or alone < max(_ALONE * usual, 2 * _NOISE_CM):
            return None
        return covered.T @ np.linalg.solve(spread, np.eye(len(rows))[0]) * end

    def motion(self, values: Mapping[str, float]) -> Motion:
        """Make the motion of one frame; keys left out rest, values beyond their range are limited.

        Raises:
            ValueError: a key that is not offered, or a value that is no finite number.
        """
        known = {slider.key: slider for slider in self.offered}
        if unknown := [key for key in values if key not in known]:
            raise ValueError(f"there is no slider '{unknown[0]}'")
        at = {key: float(np.clip(values.get(key, 0.0), slider.low, slider.high)) for key, slider in known.items()}
        if not np.isfinite(list(at.values())).all():
            raise ValueError("the value of a slider must be a number")
        asked = sum((at[key] * way for key, way in self._directions.items()), np.zeros(self._model.expression_count))
        model = self._model
        expression = soft_limit(asked[None], model.expression_low, model.expression_high, 1.0)
        expression = np.clip(expression, *model.expression_limits())
        relative = np.zeros((1, 6))
        for slider, axis, sign in _HEAD:
            value = at[slider.key] * sign
            least = _LEAST_TURN_RAD if axis < 3 else _LEAST_SHIFT_CM
            ends = max(-float(self._poses.low[axis]), least), max(float(self._poses.high[axis]), least)
            relative[0, axis] = value * ends[value > 0]
        rotation, translation = posed(relative, self._poses.reference.astype(float))
        yaw, pitch = _GAZE_RAD * at["gaze_x"], -_GAZE_RAD * at["gaze_y"]
        return Motion(rotation, translation, expression, np.array([[yaw, pitch, yaw, pitch]]))
