"""The neutral face of a made-up person is found among blinks, speech and held smiles."""

import numpy as np

from selfieavatar.fitting.neutral import neutral_expression, neutral_frames
from selfieavatar.morphable import landmark_sets as ls
from tests.fitting import makers

KIND = ls.landmark_set(ls.MEDIAPIPE)


def test_neutral_frames_neither_blink_nor_speak():
    subject = makers.model()
    rotation, translation, expression = makers.movement(100)
    expression[:, :2] = np.where(np.arange(100)[:, None] % 2, expression[:, :2] + 0.4, 0.0)
    expression[:, 2:] = 0.0
    points, _ = makers.landmarks(subject, rotation, translation, expression)
    chosen = neutral_frames(points)
    assert len(chosen) == 20 and (chosen % 2 == 0).mean() > 0.9


def test_the_neutral_face_is_found_wherever_it_is():
    rng = np.random.default_rng(0)
    model = makers.model()
    expression = np.stack([np.zeros(150), rng.uniform(0.5, 1, 150), rng.uniform(-1, 1, 150), rng.normal(size=150)], 1)
    rest = np.array([0.05, 0.0, 0.4, -0.2])  # a clip may rest elsewhere than the model
    expression[70:110] = rest + rng.normal(0, 0.03, (40, 4))
    expression[110:115] = [1, 0, 0.4, -0.2]  # closed eyes are not neutral
    np.testing.assert_allclose(neutral_expression(model, expression, KIND), rest, atol=0.06)
    np.testing.assert_allclose(neutral_expression(model, expression[:1], KIND), expression[0])


def test_a_smile_that_is_held_is_not_the_neutral_face():
    """Lips meet mostly in smiles here; at rest they do so in a tenth of the frames."""
    rng = np.random.default_rng(1)
    model = makers.model()
    expression = np.zeros((300, 4))
    expression[:180, 2] = 3.0
    expression[180:270, 1] = rng.uniform(0.3, 1, 90)
    expression += rng.normal(0, 0.02, expression.shape)
    found = neutral_expression(model, expression, KIND)
    assert abs(found[2]) < 0.3 and abs(found[1]) < 0.1


def test_eyes_that_are_closed_most_of_the_time_are_not_neutral():
    """A grimacing actor: lids down, half or wholly, in three frames of five."""
    rng = np.random.default_rng(2)
    model = makers.model()
    expression = np.zeros((300, 4))
    expression[:180, 0] = rng.uniform(0.4, 0.6, 180)
    expression[180:240, 1] = rng.uniform(0.3, 1, 60)
    expression += rng.normal(0, 0.02, expression.shape)
    assert abs(neutral_expression(model, expression, KIND)[0]) < 0.1
