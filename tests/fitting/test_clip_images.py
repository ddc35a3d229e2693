"""The torso is followed beside the fit of the face: on the cores that it leaves, and no longer than it."""

import threading

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.fitting.clip_images import ClipImages, torso_beside
from selfieavatar.fitting.torso import follow_torso, small
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.images import image_name, write_image
from tests.fitting.test_torso import SIDE, person, reference

FRAMES = 12


@pytest.fixture
def images(tmp_path):
    for kind in ("frames", "alpha"):
        (tmp_path / kind).mkdir()
    for number in range(FRAMES):
        frame, matte = person((number, 0))
        write_image(tmp_path / "frames" / image_name(number), frame)
        write_image(tmp_path / "alpha" / image_name(number), matte)
    return ClipImages(ClipStore(tmp_path), SIDE, np.arange(FRAMES), np.arange(FRAMES) / 25)


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("torso")]


def test_the_torso_is_followed_while_the_cores_are_free(images):
    images.cores.acquire()
    with torso_beside(reference(), images) as shift:
        with pytest.raises(TimeoutError):
            shift.result(timeout=0.3)
        assert not images.kept
        images.cores.release()
        found = shift.result()
    np.testing.assert_array_equal(found, follow_torso(reference(), [small(person((n, 0))[0]) for n in range(FRAMES)]))
    assert {kind for kind, _ in images.kept} == {"frames"}  # nobody has asked for a matte
    assert not running()


def test_a_missing_image_is_said_to_the_caller(images):
    images.clip.path("frames", 3).unlink()
    with pytest.raises(UserError, match="000003.png is missing"), torso_beside(reference(), images) as shift:
        shift.result()
    assert not running()


def test_what_ends_the_fit_ends_the_torso(images):
    images.number = np.resize(images.number, 100_000)
    with pytest.raises(KeyboardInterrupt), torso_beside(reference(), images):
        raise KeyboardInterrupt
    assert not running() and len(images.kept) < 100


def test_only_the_first_rows_stay_in_memory(images, monkeypatch):
    monkeypatch.setattr("selfieavatar.fitting.clip_images.KEPT_ROWS", 2)
    first = [images.small(row) for row in range(FRAMES)]
    assert len(images.kept) == 4
    for row, pair in enumerate(first):
        np.testing.assert_array_equal(images.small(row), pair)
        np.testing.assert_array_equal(images.grey(row), pair[0])
