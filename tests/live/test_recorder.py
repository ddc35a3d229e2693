"""Recordings last as long as the performance, whatever the rate of the images, and never stay half-written."""

import av
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.live import recorder as module
from selfieavatar.live.recorder import FPS, Recorder
from selfieavatar.marking.credentials import UNTRUSTED, read_credentials
from selfieavatar.marking.marker import Marker
from tests.live.makers import NoMarks, Painted

SIZE = 32


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def grey(value):
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def greys(path):
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24").mean() for frame in video.decode(video=0)]


def test_images_stay_until_the_next_one(tmp_path):
    clock = Clock()
    recorder = Recorder(tmp_path, "anna", SIZE, NoMarks(), clock)
    recorder.start()
    for at, value in ((0, 50), (0.5, 100), (0.501, 150), (0.6, 200)):
        clock.now = 100 + at
        assert not recorder.put(grey(value))
    clock.now = 101.0
    path, seconds = recorder.stop()
    assert seconds == 1.0 and path.name.startswith("anna-2") and not recorder.running
    found = np.array(greys(path))
    assert len(found) == FPS
    expected = [50] * 15 + [150] * 3 + [200] * 12
    off = np.abs(found - expected) > 6
    assert off.sum() <= 1, "0.6 s may fall on either side of a frame"


def test_finished_files_are_marked(tmp_path):
    marks = NoMarks()
    recorder = Recorder(tmp_path, "a/../b c", SIZE, marks)
    recorder.start()
    recorder.put(grey(9))
    path, _ = recorder.stop()
    assert marks.sealed == [(path, True)] and path.parent == tmp_path and path.name.startswith("a-b-c-")


def test_what_cannot_be_marked_does_not_stay(tmp_path):
    class Broken(NoMarks):
        def seal(self, path):
            raise UserError("no key")

    recorder = Recorder(tmp_path, "anna", SIZE, Broken())
    recorder.start()
    recorder.put(grey(9))
    with pytest.raises(UserError, match="no key"):
        recorder.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_read_as_synthetic(tmp_path):
    marker = Marker(Painted())
    recorder = Recorder(tmp_path, "anna", 128, marker)
    recorder.start()
    recorder.put(np.full((128, 128, 3), 90, np.uint8))
    path, _ = recorder.stop()
    found = read_credentials(path)
    assert found.facts == marker.facts and found.facts.subject == "anna" and found.signature == UNTRUSTED


def test_nothing_shown_leaves_nothing(tmp_path):
    recorder = Recorder(tmp_path / "new", "anna", SIZE, NoMarks())
    assert recorder.stop() is None and not recorder.put(grey(0))
    recorder.start()
    assert recorder.stop() is None and list((tmp_path / "new").iterdir()) == []


def test_two_within_a_second_have_two_names(tmp_path):
    paths = set()
    for _ in range(2):
        recorder = Recorder(tmp_path, "", SIZE, NoMarks())
        recorder.start()
        recorder.put(grey(1))
        paths.add(recorder.stop()[0])
    assert len(paths) == 2 and all(path.is_file() for path in paths)


def test_two_pages_may_begin_in_the_same_second(tmp_path):
    recorders = [Recorder(tmp_path, "", SIZE, NoMarks()) for _ in range(3)]
    for recorder in recorders:
        recorder.start()
        recorder.put(grey(1))
    paths = {recorder.stop()[0] for recorder in recorders}
    assert len(paths) == 3 and all(path.is_file() for path in paths)


def test_the_longest_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_S", 1.0)
    clock = Clock()
    recorder = Recorder(tmp_path, "anna", SIZE, NoMarks(), clock)
    recorder.start()
    assert not recorder.put(grey(1))
    clock.now += 5
    assert recorder.put(grey(1)) and recorder.stop()[1] == 1.0


def test_a_disk_that_is_full_ends_the_recording_in_a_sentence(tmp_path, monkeypatch):
    recorder = Recorder(tmp_path, "anna", SIZE, NoMarks())
    recorder.start()
    recorder.put(grey(1))

    def full(self, image):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.VideoWriter, "put", full)
    with pytest.raises(UserError, match="cannot be kept.*disk is full"):
        recorder.stop()
    assert not recorder.running and list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be kept"):
        Recorder(tmp_path / "file", "anna", SIZE, NoMarks()).start()
