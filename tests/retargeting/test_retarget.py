"""One made-up person drives another, of other proportions and with another basis, whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from selfieavatar.fitting.neutral import neutral_expression
from selfieavatar.geometry.camera import rotation_matrix
from selfieavatar.morphable import landmark_sets as ls
from selfieavatar.retargeting.retarget import (
    Actor,
    Motion,
    Retarget,
    driver_of,
    same_person,
    soft_limit,
)
from tests.fitting import makers

KIND = ls.landmark_set(ls.MEDIAPIPE)
STRETCH = np.array([1.15, 0.9, 1.05])
WIDE = np.tile([[-10.0], [10.0]], (1, 6))


def blinking():
    """The made-up person, whose coefficient 0 lays the upper lids on the lower ones."""
    model = makers.model()
    basis = model.expression_basis.copy()
    basis[0] = 0
    for ring in (ls.LEFT_EYE, ls.RIGHT_EYE):
        lower, upper = list(ring[1:8]), [ring[-k] for k in range(1, 8)]
        basis[0, upper, 1] = model.template[lower, 1] - model.template[upper, 1]
    return replace(model, expression_basis=basis)


def mixed(model, seed=3):
    """The same face with another basis of the same space, and the matrix from old to new coefficients."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(model.expression_count,) * 2))[0]
    basis = np.tensordot(turn, model.expression_basis, 1)
    return replace(model, expression_basis=basis, name="facemesh"), turn


@pytest.fixture(scope="module")
def people():
    """Driver, target (stretched, own basis), the target's coefficients of the driver's, and a motion of the driver."""
    driver = blinking()
    target, turn = mixed(replace(driver, template=driver.template * STRETCH,
                                 expression_basis=driver.expression_basis * STRETCH))  # fmt: skip
    rotation, translation, expression = makers.movement(200)
    seen = expression @ turn.T
    target = replace(target, expression_low=seen.min(0), expression_high=seen.max(0), expression_scale=seen.std(0))
    motion = Motion(rotation, translation, expression, np.zeros((200, 4)))
    return driver, target, seen, motion


def person(model, rest=(0, 0, 0, 0, 0, 90.0)):
    return Actor(model, makers.camera(), np.zeros(model.expression_count), np.array(rest, float))


def openings(model, expression):
    """(N, 3) mean opening of left lids, right lids, lips, cm."""
    shape = model.vertices(expression)
    pairs = (ls.LEFT_LIDS, ls.RIGHT_LIDS, ((ls.UPPER_LIP, ls.LOWER_LIP),))
    return np.stack([np.mean([np.abs(shape[:, u, 1] - shape[:, d, 1]) for u, d in p], axis=0) for p in pairs], 1)


def test_expression_goes_through_the_geometry(people):
    driver, target, wanted, motion = people
    found = Retarget(person(driver), person(target), KIND, WIDE)(motion).expression
    error = target.vertices(found) - target.vertices(wanted)
    moved = target.vertices(wanted) - target.template
    assert np.sqrt((error**2).sum(2).mean()) < 0.1 * np.sqrt((moved**2).sum(2).mean())
    # the coefficients themselves mean something else in the target
    assert np.abs(found - motion.expression).mean() > 3 * np.abs(found - wanted).mean()


def test_blinks_close_and_the_mouth_opens_as_far(people):
    driver, target, _, motion = people
    found = Retarget(person(driver), person(target), KIND, WIDE)(motion).expression
    own, other = openings(driver, motion.expression), openings(target, found)
    own, other = (v / openings(m, np.zeros((1, 4)))[:, :2].mean() for v, m in ((own, driver), (other, target)))
    shut = motion.expression[:, 0] == 1
    assert other[shut, :2].max() < 0.12 and other[~shut & (motion.expression[:, 0] == 0), :2].min() > 0.85
    np.testing.assert_allclose(other[:, :2], own[:, :2], atol=0.1)
    assert np.corrcoef(own[:, 2], other[:, 2])[0, 1] > 0.99


@pytest.mark.parametrize("crossed_cm", [0.0, 0.03])
def test_the_mouth_opens_from_lips_that_cross_by_a_hair_s_breadth(people, crossed_cm):
    driver, target, seen, motion = people
    template = target.template.copy()
    half = len(ls.LIPS_INNER) // 2
    for k in range(1, half):
        lower, upper = ls.LIPS_INNER[k], ls.LIPS_INNER[-k]
        middle = (template[lower, 1] + template[upper, 1]) / 2
        template[lower, 1], template[upper, 1] = middle - crossed_cm / 2, middle + crossed_cm / 2
    closed = replace(target, template=template)
    found = Retarget(person(driver), person(closed), KIND, WIDE)(motion).expression
    wanted = openings(closed, seen)[:, 2]
    wide = wanted > 0.5 * wanted.max()
    assert wide.sum() > 10 and (openings(closed, found)[wide, 2] > 0.9 * wanted[wide]).all()


def test_blinks_survive_limits_that_never_saw_one(people):
    driver, target, seen, motion = people
    open_eyes = motion.expression[:, 0] == 0
    narrow = replace(target, expression_low=seen[open_eyes].min(0), expression_high=seen[open_eyes].max(0))
    found = Retarget(person(driver), person(narrow), KIND, WIDE, overshoot=0.0)(motion).expression
    lids = openings(narrow, found)[:, :2] / openings(narrow, np.zeros((1, 4)))[:, :2]
    assert lids[motion.expression[:, 0] == 1].max() < 0.15


def test_a_person_s_own_basis_written_otherwise_gives_the_same_face():
    own = makers.model()
    other, _ = mixed(own)
    wide = np.full(4, 5.0)
    other = replace(other, expression_low=-wide, expression_high=wide)
    expression = makers.movement(60)[2]
    found = Retarget(person(own), person(other), KIND, WIDE).expression(expression)
    # 0.1 mm on average: what the prior holds back
    assert np.abs(other.vertices(found) - own.vertices(expression)).mean() < 0.01


def test_one_basis_passes_coefficients_on(people):
    driver, _, _, motion = people
    wide = replace(driver, template=driver.template * 1.1, expression_low=np.full(4, -9.0),
                   expression_high=np.full(4, 9.0))  # fmt: skip
    shifted = replace(person(driver), neutral=np.array([0.1, 0, 0.5, 0]))
    found = Retarget(shifted, person(wide), KIND, WIDE, gain=0.5).expression(motion.expression)
    np.testing.assert_allclose(found, 0.5 * (motion.expression - shifted.neutral), atol=1e-12)
    assert same_person(driver, driver) and not same_person(driver, wide)


def test_weights_of_blendshapes_stay_weights(people):
    driver, target, _, motion = people
    shapes = replace(target, name="ict", expression_low=np.zeros(4), expression_high=np.ones(4))
    found = Retarget(person(driver), person(shapes), KIND, WIDE).expression(3 * motion.expression)
    assert found.min() >= 0 and found.max() <= 1


def test_models_that_lack_some_landmarks(people):
    """What one model does not have is left to the landmarks that both have."""
    driver, target, wanted, motion = people
    sparse = driver.landmark_vertices.copy()
    sparse[[*ls.LEFT_BROW, *ls.RIGHT_BROW, *ls.LIPS_INNER[::3], *ls.OVAL]] = -1
    poor = replace(driver, landmark_vertices=sparse)
    assert np.isfinite(neutral_expression(poor, motion.expression, KIND)).all()
    found = Retarget(person(poor), person(target), KIND, WIDE)(motion).expression
    blinks = motion.expression[:, 0] == 1
    assert openings(target, found)[blinks, :2].max() < 0.1 * openings(target, np.zeros((1, 4)))[:, :2].max()
    assert np.corrcoef(openings(target, found)[:, 2], openings(target, wanted)[:, 2])[0, 1] > 0.99


def test_relative_pose_starts_from_the_target_s_rest(people):
    driver, target, _, motion = people
    mover, held = person(driver, (0.1, -0.2, 0.05, 2, 1, 80)), person(target, (-0.1, 0.3, 0.0, -1, 0, 60))
    size = np.linalg.norm(np.diff(target.template[[33, 263]], axis=0)) / 9.0
    carry = Retarget(mover, held, KIND, WIDE * 100)
    rotation, translation = carry.placed(mover.reference[None, :3], mover.reference[None, 3:])
    np.testing.assert_allclose(np.r_[rotation[0], translation[0]], held.reference, atol=1e-9)
    rotation, translation = carry.placed(motion.rotation, motion.translation)
    turned = rotation_matrix(rotation) @ rotation_matrix(held.reference[:3]).T
    driven = rotation_matrix(motion.rotation) @ rotation_matrix(mover.reference[:3]).T
    np.testing.assert_allclose(turned, driven, atol=1e-9)
    moved = motion.translation - mover.reference[3:]
    np.testing.assert_allclose(translation - held.reference[3:], size * moved, atol=1e-9)


def test_absolute_pose_is_the_driver_s(people):
    driver, _, _, motion = people
    carry = Retarget(person(driver), person(driver, (0.3, 0, 0, 0, 0, 70)), KIND, WIDE * 100, pose="absolute")
    rotation, translation = carry.placed(motion.rotation, motion.translation)
    np.testing.assert_allclose(rotation_matrix(rotation), rotation_matrix(motion.rotation), atol=1e-9)
    np.testing.assert_allclose(translation, motion.translation, atol=1e-9)


def test_gaze_stays(people):
    driver, target, _, motion = people
    gaze = np.random.default_rng(1).normal(0, 0.3, (200, 4))
    carry = Retarget(person(driver), person(target), KIND, WIDE)
    moved = carry(replace(motion, gaze=gaze))
    np.testing.assert_array_equal(moved.gaze, gaze)
    one = carry(Motion(*(v[[7]] for v in (motion.rotation, motion.translation, motion.expression, gaze))))
    np.testing.assert_allclose(one.expression, moved.expression[[7]], atol=1e-12)


def test_what_is_carried_over_is_measured_against_the_driver(people):
    driver, target, _, motion = people
    still = replace(motion, rotation=np.zeros((200, 3)), translation=np.tile([0, 0, 90.0], (200, 1)))

    def carried(gain=1.0, to=target, moves=still, reach=WIDE, overshoot=1.0):
        return Retarget(person(driver), person(to), KIND, reach, gain=gain, overshoot=overshoot).carried(moves)

    whole, half = carried(), carried(gain=0.5)
    assert whole.expression == pytest.approx(1, abs=0.05) and half.expression == pytest.approx(0.5, abs=0.05)
    assert whole.clamped == 0 and not whole.warnings()
    assert "% of the driver's expression" in carried(gain=0.2).warnings()[0]
    # limits that know nothing of the wide half of the movement
    narrow = replace(target, expression_low=0.2 * target.expression_low, expression_high=0.2 * target.expression_high)
    tight = carried(to=narrow, overshoot=0.0)
    assert tight.expression < 0.8 * whole.expression and tight.clamped > 0.2


def test_blinks_that_are_given_back_do_not_count_as_clamped(people):
    """The target has never closed its eyes: the limits take the blinks, and the lids close all the same."""
    driver, target, _, motion = people
    _, turn = mixed(driver)
    seen = motion.expression * [0, 1, 1, 1] @ turn.T
    awake = replace(target, expression_low=seen.min(0), expression_high=seen.max(0))
    expression = motion.expression * [1, 0, 0, 0]
    still = np.tile([0, 0, 90.0], (200, 1))
    carry = Retarget(person(driver), person(awake), KIND, WIDE, overshoot=0.0)
    blinks = Motion(np.zeros((200, 3)), still, expression, np.zeros((200, 4)))
    opening, shut = openings(awake, carry(blinks).expression)[:, :2], expression[:, 0] == 1
    assert (opening[shut] < 0.2 * opening.max(0)).all(), "they close"
    assert carry.carried(blinks).clamped == 0


def test_a_head_that_is_held_back_counts_as_clamped(people):
    driver, target, _, motion = people
    still = replace(motion, expression=np.zeros((200, 4)), rotation=np.zeros((200, 3)))
    still.rotation[:50, 1] = 0.4
    still.rotation[50:100, 1] = 0.05  # within what is seen as equal
    held = Retarget(person(driver), person(target), KIND, np.tile([[-0.03], [0.03]], (1, 6)), pose_overshoot=0.0)
    found = held.carried(replace(still, translation=np.tile([0, 0, 90.0], (200, 1))))
    assert found.clamped == pytest.approx(0.25) and found.expression == 1


def test_one_basis_carries_everything_whatever_the_proportions(people):
    driver, _, _, motion = people
    wide = np.full(4, 9.0)
    other = replace(driver, template=driver.template * 1.3, expression_low=-wide, expression_high=wide)
    assert Retarget(person(driver), person(other), KIND, WIDE).carried(motion).expression == pytest.approx(1)


def test_soft_limit():
    low, high = np.array([-1.0]), np.array([3.0])
    values = np.linspace(-9, 9, 1801)[:, None]
    bent = soft_limit(values, low, high, 0.25)
    inside = ((values > low) & (values < high))[:, 0]
    np.testing.assert_array_equal(bent[inside], values[inside])
    assert -1.5 <= bent.min() < -1.49 and 3.49 < bent.max() <= 3.5 and (np.diff(bent[:, 0]) >= 0).all()
    assert np.abs(np.diff(bent[:, 0], 2)).max() < 1e-3  # no corner


def test_driver_is_found_from_the_clip(people):
    driver, _, _, motion = people
    found = driver_of(driver, makers.camera(), motion, KIND)
    assert openings(driver, found.neutral[None])[0, 2] < openings(driver, motion.expression)[:, 2].mean()
    np.testing.assert_allclose(found.reference[3:], np.median(motion.translation, axis=0), atol=1e-9)


def test_models_of_other_landmarks_are_refused(people):
    driver, target, _, _ = people
    other = replace(target, landmark_vertices=np.arange(68, dtype=np.int32))
    with pytest.raises(ValueError, match="478 landmarks"):
        Retarget(person(driver), person(other), KIND, WIDE)
    with pytest.raises(ValueError, match="pose must be one of"):
        Retarget(person(driver), person(target), KIND, WIDE, pose="sideways")
