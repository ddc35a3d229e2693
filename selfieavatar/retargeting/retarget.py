"""Retarget one person's motion to another person's model, with nothing learnt and nothing set by hand.

Two personal models have bases of their own: their coefficients do not mean the same. Expressions therefore go through
the geometry: how far the driver's landmarks have moved from the driver's neutral face, in head space, scaled to the
proportions of the target's face, is what the target's basis has to follow (a regularised linear least-squares problem,
one matrix for all frames). Openings of lids and lips are asked for on their own, so that what closes also closes in the
target. Models that share one basis pass their coefficients on. Poses are relative to where each head is held as a
rule; gaze is relative to the head already and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selfieavatar.fitting.landmark_measures import (
    landmark_positions,
    lid_and_lip_pairs,
    mean_known,
    mouth_width,
    opposite,
    vertical_gaps,
)
from selfieavatar.fitting.neutral import neutral_expression
from selfieavatar.geometry.camera import Camera, rotation_matrix
from selfieavatar.geometry.reference_pose import posed, reference_pose, relative_pose
from selfieavatar.morphable.landmark_sets import LandmarkSet, landmark_weights
from selfieavatar.morphable.model import MorphableModel

POSES = ("relative", "absolute")

# Support and noise as in `SolverSettings`. The prior is strong: what is asked is another face's motion, which the
# target should make in its own usual ways, rather than match by components that it hardly ever used.
_SUPPORT, _NOISE_CM, _PRIOR = 60.0, 0.05, 3.0
_MOST_EYES = 2.0  # by which an eye's opening is scaled at most, and by its inverse at least
_GAP_SUPPORT, _GAP_NOISE_CM = 20.0, 0.02  # of each eye's lids, and of the lips
_RESTORE_NOISE_CM = 0.01  # to which closures are restored after the limits
# Changes by the limits that are seen: of one landmark, in outer eye distances, and of the head's rotation.
_SEEN_SHARE, _SEEN_DEG = 0.02, 2.0
_LEAST_CARRIED, _MOST_CLAMPED = 0.5, 0.5  # shares beyond which there is a warning


@dataclass(frozen=True)
class Motion:
    """Coefficients of N frames: rotation (N, 3) rad, translation (N, 3) cm, expression (N, E), gaze (N, 4) rad."""

    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.rotation)


@dataclass(frozen=True)
class Carried:
    """How much of a driver is asked of a target.

    expression: share of the driver's expression, as movement of the landmarks in the target's proportions; 1 is all.
    clamped: share of the frames in which the limits keep a landmark from where it should go by more than 2 % of the
    outer eye distance, or hold the head's rotation back by more than 2 degrees; its place does not count.
    """

    expression: float = 1.0
    clamped: float = 0.0

    def warnings(self) -> list[str]:
        """Say, a sentence each, what makes this another performance than the driver's."""
        said = []
        if self.expression < _LEAST_CARRIED:
            said.append(f"only {100 * self.expression:.0f} % of the driver's expression was asked of the avatar")
        if self.clamped > _MOST_CLAMPED:
            said.append(f"in {100 * self.clamped:.0f} % of the frames the limits of expression or pose took a part")
        return [f"{sentence}: aed and apd_deg say little about how well it follows the driver" for sentence in said]


@dataclass(frozen=True)
class Actor:
    """A model with its camera, the coefficients (E,) of the neutral face and the reference pose (6,)."""

    model: MorphableModel
    camera: Camera
    neutral: np.ndarray
    reference: np.ndarray


def driver_of(model: MorphableModel, camera: Camera, motion: Motion, kind: LandmarkSet) -> Actor:
    """Measure the person who drives, from the coefficients of the clip."""
    neutral = neutral_expression(model, motion.expression, kind)
    return Actor(model, camera, neutral, reference_pose(motion.rotation, motion.translation))


def same_basis(one: MorphableModel, other: MorphableModel) -> bool:
    """Whether a coefficient means the same in both models."""
    a, b = one.expression_basis, other.expression_basis
    return one.name == other.name and a.shape == b.shape and np.allclose(a, b, atol=1e-4)


def same_person(one: MorphableModel, other: MorphableModel) -> bool:
    """Whether both are one person's model, made in one run: nothing has to be carried over."""
    return one.template.shape == other.template.shape and same_basis(one, other) and np.allclose(
        one.template, other.template, atol=1e-4
    )  # fmt: skip


def soft_limit(values: np.ndarray, low: np.ndarray, high: np.ndarray, overshoot: float) -> np.ndarray:
    """Limit values (N, K) smoothly: unchanged within [low, high] (K,), at most `overshoot` half ranges beyond."""
    room = np.maximum(overshoot * (high - low) / 2, 1e-9)
    inside = np.clip(values, low, high)
    return inside + room * np.tanh((values - inside) / room)


class Retarget:
    """From a driver's coefficients to a target's.

    Args:
        driver, target: who moves, and whose avatar follows; the target's neutral is that of its model.
        kind: landmark set of both models.
        pose_range: (2, 6) lowest and highest pose relative to the target's reference pose that the avatar has seen.
        pose: "relative" carries over how the driver moves from his reference pose, "absolute" where he is.
        gain: on the expression. overshoot, pose_overshoot: of expression and pose, see `soft_limit`.

    Raises:
        ValueError: the models have no landmarks in common, or `pose` is unknown.
    """

    def __init__(
        self, driver: Actor, target: Actor, kind: LandmarkSet, pose_range: np.ndarray, pose: str = "relative",
        gain: float = 1.0, overshoot: float = 1.0, pose_overshoot: float = 0.3,
    ) -> None:  # fmt: skip
        if pose not in POSES:
            raise ValueError(f"pose must be one of {POSES}, not {pose!r}")
        if any(len(person.model.landmark_vertices) != kind.count for person in (driver, target)):
            raise ValueError(f"both models must have the {kind.count} landmarks of {kind.name}")
        self.driver, self.target, self.kind = driver, target, kind
        self.pose_range, self.pose, self.gain = pose_range, pose, gain
        self.overshoot, self.pose_overshoot = overshoot, pose_overshoot
        self.direct = same_basis(driver.model, target.model)
        actors = driver, target
        self._from, self._to = (landmark_positions(a.model, a.model.vertices(a.neutral)[None])[0] for a in actors)
        common = np.isfinite(self._from).all(1) & np.isfinite(self._to).all(1)
        if not common.any():
            raise ValueError("the models have no landmark in common")
        self._proportions(common)
        self._prepare(np.flatnonzero(common & (landmark_weights(kind.name) > 0)))

    def _proportions(self, common: np.ndarray) -> None:
        """Set scale (L, 3): target over driver, of the face; of the mouth across and of each eye's opening, its own."""
        size = np.ptp(self._to[common], axis=0) / np.ptp(self._from[common], axis=0)
        self.scale = np.repeat(size[None], self.kind.count, axis=0)
        to, source = (np.where(common[:, None], shape, np.nan) for shape in (self._to, self._from))
        width = [mouth_width(shape, self.kind) for shape in (to, source)]
        if width[1] > 0:
            lips = [self.kind.regions[name] for name in ("lips_outer", "lips_inner")]
            self.scale[np.concatenate(lips), 0] = width[0] / width[1]
        for ring, pairs in zip(self.kind.eyes, lid_and_lip_pairs(self.kind), strict=False):
            gaps = [mean_known(np.abs(vertical_gaps(shape, pairs))) for shape in (to, source)]
            if gaps[1] > 0:
                # Of a neutral face whose eye is nearly closed, the scale would be several times too large.
                self.scale[list(ring), 1] = np.clip(gaps[0] / gaps[1], 1 / _MOST_EYES, _MOST_EYES)

    def _prepare(self, used: np.ndarray) -> None:
        """Set up the least-squares problem: rows for x, y, z of the landmarks `used`, then for the gaps of both."""
        basis = landmark_positions(self.target.model, self.target.model.expression_basis)
        weights = landmark_weights(self.kind.name)[used]
        weights = np.repeat(_SUPPORT / weights.sum() * weights / _NOISE_CM**2, 3)
        rows, row_weights = [basis[:, used].reshape(len(basis), -1).T], [weights]
        self._used, self._groups, self._is_lip = used, [], np.zeros(0, bool)
        openings, sides = [np.zeros(0)], [np.zeros(0)]
        outer_lips = np.nansum(vertical_gaps(self._to, opposite(self.kind.regions["lips_outer"])))
        for number, pairs in enumerate(lid_and_lip_pairs(self.kind)):
            known = np.isin(pairs, used).all(1)
            if known.any():
                self._groups.append(pairs[known])
                self._is_lip = np.concatenate([self._is_lip, np.full(known.sum(), number == 2)])
                rows.append(vertical_gaps(basis, pairs[known]).T)
                row_weights.append(np.full(known.sum(), _GAP_SUPPORT / known.sum() / _GAP_NOISE_CM**2))
                openings.append(vertical_gaps(self._to, pairs[known]))
                # The sign that stands for open: the rings of some sets run the other way round. That of the lips is
                # read off their outer ring, which runs as the inner one does: closed lips may cross by a hair.
                way = outer_lips if number == 2 and outer_lips else openings[-1].sum()
                sides.append(np.full(known.sum(), -1.0 if way < 0 else 1.0))
        self._opening, self._side = np.concatenate(openings), np.concatenate(sides)
        matrix, weight = np.concatenate(rows), np.concatenate(row_weights)
        spread = np.maximum(self.target.model.expression_scale.astype(float), 1e-6)
        normal = matrix.T @ (weight[:, None] * matrix) + np.diag(_PRIOR / spread**2)
        self._solve = np.linalg.solve(normal, matrix.T * weight)
        self._gap_rows = matrix[3 * len(used) :]
        covered = self._gap_rows * spread**2
        inner = covered @ self._gap_rows.T + _RESTORE_NOISE_CM**2 * np.eye(len(covered))
        self._restore = np.linalg.solve(inner, covered).T if len(covered) else np.zeros((len(basis), 0))

    def _asked(self, expression: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what landmarks (N, 3 M) and gaps (N, G) of the target should change by, in cm."""
        model = self.driver.model
        moved = landmark_positions(model, np.tensordot(expression - self.driver.neutral, model.expression_basis, 1))
        moved *= self.scale * self.gain
        gaps = (vertical_gaps(moved, pairs) for pairs in self._groups)
        change = np.concatenate([np.zeros((len(moved), 0)), *gaps], axis=1)
        # Lids and lips touch: they do not pass through each other.
        gaps = self._side * np.maximum(self._side * change, -np.maximum(self._side * self._opening, 0))
        return moved[:, self._used].reshape(len(moved), -1), gaps

    def expression(self, expression: np.ndarray) -> np.ndarray:
        """Return (N, E') coefficients of the target for (N, E) of the driver."""
        return self._wanted_and_given(np.asarray(expression, float))[1]

    def _wanted_and_given(self, expression: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, E') coefficients of the target before and after the limits."""
        target = self.target.model
        if self.direct:
            wanted = self.gain * (expression - self.driver.neutral) + self.target.neutral
            return wanted, self._limited(wanted)
        moved, gaps = self._asked(expression)
        wanted = np.concatenate([moved, gaps], axis=1) @ self._solve.T + self.target.neutral
        limited = self._limited(wanted)
        # A blink, or lips that meet, must survive the limits; a mouth that opens too wide must not.
        missing = gaps - (limited - self.target.neutral) @ self._gap_rows.T
        wider = self._is_lip & (self._side * missing > 0)
        missing[wider] = 0
        return wanted, np.clip(limited + missing @ self._restore.T, *target.expression_limits())

    def _limited(self, wanted: np.ndarray) -> np.ndarray:
        model = self.target.model
        bent = soft_limit(wanted, model.expression_low, model.expression_high, self.overshoot)
        return np.clip(bent, *model.expression_limits())

    def placed(self, rotation: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (N, 3) and translation (N, 3) of the target for those of the driver."""
        return self._bounded(self._wanted_pose(rotation, translation))

    def _bounded(self, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.pose_range
        return posed(soft_limit(pose, low, high, self.pose_overshoot), self.target.reference)

    def _wanted_pose(self, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Return (N, 6) pose relative to the target's reference pose, before the limits."""
        size = self._eye_distance(self._to) / self._eye_distance(self._from)
        if self.pose == "relative":
            pose = relative_pose(rotation, translation, self.driver.reference)
            pose[:, 3:] *= size
            return pose
        zoom = [p.camera.focal_px / p.camera.size_px for p in (self.target, self.driver)]
        scaled = np.asarray(translation, float) * size * np.array([1.0, 1.0, zoom[0] / zoom[1]])
        return relative_pose(rotation, scaled, self.target.reference)

    def carried(self, motion: Motion) -> Carried:
        """Measure how much of what the driver does is asked of the target."""
        basis = landmark_positions(self.target.model, self.target.model.expression_basis)[:, self._used]
        if self.direct:
            moved = np.tensordot(motion.expression - self.driver.neutral, basis, 1)
        else:
            source = landmark_positions(self.driver.model, self.driver.model.expression_basis)
            moved = (np.tensordot(motion.expression - self.driver.neutral, source, 1) * self.scale)[:, self._used]
        wanted, given = self._wanted_and_given(motion.expression)
        asked = np.tensordot(given - self.target.neutral, basis, 1)
        square = (moved**2).sum()
        share = float((asked * moved).sum() / square) if square > 0 else 1.0
        taken = np.linalg.norm(np.tensordot(given - wanted, basis, 1), axis=2).max(1) / self._eye_distance(self._to)
        pose = self._wanted_pose(motion.rotation, motion.translation)
        free, bounded = (rotation_matrix(R) for R, _ in (posed(pose, self.target.reference), self._bounded(pose)))
        cosine = (np.einsum("nij,nij->n", free, bounded) - 1) / 2
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        return Carried(share, float(((taken > _SEEN_SHARE) | (angle > _SEEN_DEG)).mean()))

    def _eye_distance(self, shape: np.ndarray) -> float:
        right, left = self.kind.outer_eyes
        return float(np.linalg.norm(shape[left] - shape[right]))

    def __call__(self, motion: Motion) -> Motion:
        """Retarget a motion; frames are independent of each other, so one at a time will do as well."""
        rotation, translation = self.placed(motion.rotation, motion.translation)
        return Motion(rotation, translation, self.expression(motion.expression), np.array(motion.gaze, float))
