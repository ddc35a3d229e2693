"""Test that videos are complete or absent, open in players, and keep their colours."""

import errno

import av
import numpy as np
import pytest

from selfieavatar.video.reader import open_source
from selfieavatar.video.writer import VideoWriter
from tests.data.media import drawn_face, numbered, read_number


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_written_frames_come_back(tmp_path, size):
    with VideoWriter(tmp_path / "a.mp4", 29.97, size) as video:
        for image in numbered(20, size):
            video.put(image)
    source = open_source(tmp_path / "a.mp4")
    assert source.fps == pytest.approx(29.97, abs=0.001)
    assert source.size == (64 + 2 * (size[0] > 64), 48 + 2 * (size[1] > 48))
    assert [read_number(image) for _, _, image in source.read(range(20))] == list(range(20))


def test_player_friendly(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 25, (64, 48)) as video:
        video.put(numbered(1)[0])
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # starts to play before it is loaded
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_colours_survive(tmp_path, size):
    face = drawn_face(size, (size[0] / 2, 110), 100)
    with VideoWriter(tmp_path / "a.mp4", 25, size, crf=5) as video:
        video.put(face)
    _, _, back = next(open_source(tmp_path / "a.mp4").read([0]))
    assert np.abs(back.astype(float) - face).mean(axis=(0, 1)).max() < 2.5


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt()])
def test_nothing_half_written_stays(tmp_path, error):
    with pytest.raises(type(error)):
        with VideoWriter(tmp_path / "a.mp4", 25, (64, 48)) as video:
            video.put(numbered(1)[0])
            raise error
    assert list(tmp_path.iterdir()) == []


def test_disk_full_while_muxing_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left")

    with pytest.raises(OSError):
        with VideoWriter(tmp_path / "a.mp4", 25, (64, 48)) as video:
            video.put(numbered(1)[0])
            monkeypatch.setattr(video, "_mux", full)
    assert list(tmp_path.iterdir()) == []


def test_refuses_an_image_of_another_size(tmp_path):
    with pytest.raises(ValueError, match="does not fit"):
        with VideoWriter(tmp_path / "a.mp4", 25, (64, 48)) as video:
            video.put(np.zeros((10, 10, 3), dtype=np.uint8))
    assert not (tmp_path / "a.mp4").exists()
