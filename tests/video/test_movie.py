"""Times, sound and alpha of what is written, read back by FFmpeg's decoders."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.video.movie import FolderWriter, MovieWriter, check_movie
from selfieavatar.video.sound import Sound
from tests.video.flash import FLASH_S, flash_and_beep

SIZE = 64


def image(value, alpha=255):
    return np.dstack([np.full((SIZE, SIZE, 3), value, np.uint8), np.full((SIZE, SIZE), alpha, np.uint8)])


def times_of(path):
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def beep_of(path):
    """When the sound sets in, and how long it is, in s."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [(frame.time, frame.to_ndarray().astype(float)) for frame in container.decode(stream)]
    loud = [(time, np.abs(part).max(0)) for time, part in parts]
    level = max(part.max() for _, part in loud) / 2
    rate = stream.rate
    first = next(time + np.flatnonzero(part > level)[0] / rate for time, part in loud if (part > level).any())
    return first, parts[-1][0] + parts[-1][1].shape[-1] / rate


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".webm"])
def test_each_image_keeps_its_own_time(tmp_path, ending):
    times = [0.0, 0.04, 0.12, 0.13, 0.5]
    with MovieWriter(tmp_path / f"x{ending}", 10, (SIZE, SIZE)) as movie:
        for time_s in times:
            movie.put(image(100), time_s)
    np.testing.assert_allclose(times_of(tmp_path / f"x{ending}"), times, atol=6e-4)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25)])
def test_a_steady_rate_stays(tmp_path, rate):
    with MovieWriter(tmp_path / "x.mp4", float(rate), (SIZE, SIZE)) as movie:
        for number in range(30):
            movie.put(image(100), float(number / rate))
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(float(rate), rel=1e-4)


@pytest.mark.parametrize("ending", [".webm", ".mov"])
def test_alpha_comes_back(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    with MovieWriter(path, 25, (SIZE, SIZE), alpha=True) as movie:
        for alpha in (0, 128, 255):
            movie.put(image(200, alpha), alpha / 1000)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if ending == ".webm":  # FFmpeg's own decoder of VP9 passes alpha over
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            packets = [packet for packet in container.demux(stream) if packet.size]
            frames = [frame for packet in packets for frame in decoder.decode(packet)] + list(decoder.decode(None))
        else:
            frames = list(container.decode(stream))
    found = [frame.to_ndarray(format="rgba")[..., 3].mean() for frame in frames]
    np.testing.assert_allclose(found, [0, 128, 255], atol=3)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".webm"])
@pytest.mark.parametrize("start_s", [0.0, 1.52])
def test_sound_stays_in_time(tmp_path, ending, start_s):
    source = flash_and_beep(tmp_path / "source.mkv", start_s)
    path = tmp_path / f"x{ending}"
    with MovieWriter(path, 25, (SIZE, SIZE), sound=Sound(source)) as movie:
        for number in range(50):
            movie.put(image(255 if number == round(FLASH_S * 25) else 0), number / 25)
    begins, ends = beep_of(path)
    assert begins == pytest.approx(FLASH_S, abs=0.012)
    assert ends == pytest.approx(2.0, abs=0.06), "not longer than the images"


def test_a_source_without_sound_gives_a_silent_video(tmp_path):
    with MovieWriter(tmp_path / "a.mp4", 25, (SIZE, SIZE)) as movie:
        movie.put(image(0), 0)
    with MovieWriter(tmp_path / "b.mp4", 25, (SIZE, SIZE), sound=Sound(tmp_path / "a.mp4")) as movie:
        movie.put(image(0), 0)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio
    assert not Sound(tmp_path).known, "a folder of images"


def test_the_first_of_several_sound_tracks_is_named(tmp_path, caplog):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        tracks = [container.add_stream("pcm_s16le", rate=44100, layout="mono") for _ in range(2)]
        for track in tracks:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.int16), format="s16", layout="mono")
            silence.sample_rate = 44100
            container.mux(track.encode(silence))
        frame = av.VideoFrame.from_ndarray(np.zeros((SIZE, SIZE, 3), np.uint8), format="rgb24")
        container.mux(video.encode(frame))
        for stream in (video, *tracks):
            container.mux(stream.encode(None))
    assert Sound(tmp_path / "a.mkv").known and "2 sound tracks: the first is used" in caplog.text


def test_a_folder_holds_numbered_images(tmp_path):
    with FolderWriter(tmp_path / "x", alpha=True) as movie:
        for alpha in (10, 20):
            movie.put(image(200, alpha), alpha)
    assert [path.name for path in sorted((tmp_path / "x").iterdir())] == ["000000.png", "000001.png"]
    read = cv2.imread(str(tmp_path / "x" / "000001.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, image(200, 20))


@pytest.mark.parametrize(
    "name, alpha, said",
    [("x.avi", False, "no ending that can be"), ("x.mp4", True, "holds no alpha"), ("full", False, "no empty folder"),
     ("full.mp4", False, "is a folder")],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(tmp_path, name, alpha, said):
    for folder in ("full", "full.mp4"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text("")
    with pytest.raises(UserError, match=said):
        check_movie(tmp_path / name, alpha)


def test_nothing_is_left_of_an_interrupted_video(tmp_path):
    with pytest.raises(KeyboardInterrupt), MovieWriter(tmp_path / "x.mp4", 25, (SIZE, SIZE)) as movie:
        movie.put(image(0), 0)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), FolderWriter(tmp_path / "x") as movie:
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
