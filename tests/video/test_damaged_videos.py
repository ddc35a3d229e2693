"""Truncated and damaged videos: the reader yields what there is, and says what is lost."""

import av
import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.video.reader import open_source
from tests.data.media import numbered, read_all, read_number, write_video


@pytest.fixture
def noisy(tmp_path):
    """A file whose bytes are spread evenly over its frames, with its index in front."""
    rng = np.random.default_rng(0)
    images = [cv2.addWeighted(p, 0.8, rng.integers(0, 256, p.shape, dtype=np.uint8), 0.2, 0) for p in numbered(100)]
    return write_video(tmp_path / "good.mp4", images, options={"g": "10", "movflags": "+faststart"})


def truncate(path, share, name):
    """Copy a file with its index first, as phones and the web write it, and truncate it after a share of its data."""
    fast = path.with_name("fast.mp4")
    with av.open(str(path)) as old, av.open(str(fast), "w", options={"movflags": "+faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    data = fast.read_bytes()
    head = data.index(b"mdat") + 4
    result = path.with_name(name)
    result.write_bytes(data[: head + int(share * (len(data) - head))])
    return result


def test_truncated_file_yields_its_frames_with_a_warning(noisy, caplog):
    frames, reader = read_all(truncate(noisy, 0.5, "half.mp4"))
    assert 40 <= len(frames) <= 60
    assert [read_number(p) for _, _, p in frames] == reader.source_frames
    assert reader.source_frames == list(range(len(frames)))
    assert reader.lost == 100 - len(frames)
    assert f"{reader.lost} of 100 frames could not be read" in caplog.text


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_truncated_matroska_warns(tmp_path, caplog, share):
    """Matroska announces a length in place of a number of frames."""
    path = write_video(tmp_path / "a.mkv", numbered(100))
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    frames, reader = read_all(path)
    assert len(frames) + reader.lost == pytest.approx(100, abs=1)
    assert (reader.lost > 20) == (share < 1) == ("frames could not be read" in caplog.text)


def test_range_beyond_the_truncation_is_an_error(noisy):
    path = truncate(noisy, 0.3, "third.mp4")
    with pytest.raises(UserError, match="damaged or incomplete"):
        read_all(path, 80, 90)


def test_file_without_its_index(noisy):
    path = noisy.with_name("headless.mp4")
    path.write_bytes(noisy.read_bytes()[:4000])  # plain MP4: the index was to come last
    with pytest.raises(UserError, match="video"):
        open_source(path)


def test_damaged_middle_is_skipped(noisy):
    data = bytearray(noisy.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = b"\0" * 3000
    path = noisy.with_name("hole.mp4")
    path.write_bytes(data)
    frames, reader = read_all(path)
    assert len(frames) >= 80 and reader.source_frames[0] == 0 and reader.source_frames[-1] == 99


@pytest.mark.parametrize("options", [{"bf": "0"}, {"bf": "3", "g": "10"}])
@pytest.mark.parametrize("first, second", [(0, 0), (0, 17), (0, 1900), (100_000, 0)])
def test_joined_recordings_whose_times_begin_again_are_refused(tmp_path, options, first, second):
    joined = tmp_path / "joined.ts"
    parts = []
    for name, start in (("a.ts", first), ("b.ts", second)):
        times = [start + 40 * number for number in range(50)]
        write_video(tmp_path / name, numbered(50), times=times, options=options)
        parts.append((tmp_path / name).read_bytes())
        assert open_source(tmp_path / name).count == 50, "each by itself is read"
    joined.write_bytes(b"".join(parts))
    with pytest.raises(
        UserError, match=r"begin again at frame (49|50): .* `ffmpeg -i joined.ts -c copy corrected.mp4`"
    ):
        open_source(joined)


def test_joined_recordings_whose_times_go_on_are_read(tmp_path):
    for name, start in (("a.ts", 0), ("b.ts", 5000)):
        write_video(tmp_path / name, numbered(50), times=[start + 40 * number for number in range(50)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    assert open_source(joined).count >= 99
