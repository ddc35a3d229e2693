"""Test deinterlacing: no combs, the same number of images and times, and the same image however it is reached."""

import logging

import av
import numpy as np
import pytest

from selfieavatar.video.fields import deinterlaced
from selfieavatar.video.reader import open_source
from tests.data.media import write_video
from tests.data.paff import write_paff


def box(time_s, size=(128, 96)):
    """A bright box that moves to the right on grey, at a time."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    left = 10 + round(55 * time_s)
    image[size[1] // 4 : 3 * size[1] // 4, left : left + 20] = (220, 200, 180)
    return image


def interlaced(count, rate=25, **more):
    """Frames whose odd rows are filmed half a frame later: top field first."""
    frames = [box(n / rate, **more) for n in range(count)]
    for number, frame in enumerate(frames):
        frame[1::2] = box((number + 0.5) / rate, **more)[1::2]
    return frames


def combs(image):
    rows = image.astype(float)
    return np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean()


@pytest.fixture(scope="module")
def camcorder(tmp_path_factory):
    path = tmp_path_factory.mktemp("interlaced") / "a.mp4"
    options = {"x264-params": "tff=1:interlaced=1", "g": "12", "bf": "2", "crf": "8"}
    return write_video(path, interlaced(40), options=options)


def test_combs_are_gone_and_count_and_times_stay(camcorder, caplog):
    caplog.set_level(logging.INFO)
    source = open_source(camcorder)
    assert source.count == 40 and source.fps == 25 and caplog.text.count("deinterlaced by bwdif") == 1
    shown = list(source.read(range(40)))
    assert [number for number, _, _ in shown] == list(range(40))
    for number, time_s, image in shown[1:-1]:
        truth = box(number / 25)
        assert time_s == pytest.approx(number / 25)
        assert combs(image) < 0.5 * combs(interlaced(40)[number]) and combs(image) < 1.3 * combs(truth)
        assert np.abs(image.astype(int) - truth).mean() < 2.5


def test_an_image_is_the_same_read_alone_and_in_order(camcorder):
    source = open_source(camcorder)
    whole = {number: image for number, _, image in source.read(range(40))}
    for wanted in ([12], [24, 30], [5, 6, 39], range(11, 14)):
        for number, _, image in source.read(wanted):
            np.testing.assert_array_equal(image, whole[number])


def test_a_frame_of_two_packets_is_one_image(tmp_path):
    """H.264 of camcorders may store each field by itself."""
    frames = [frame[..., 0] for frame in interlaced(30, size=(128, 32))]
    source = open_source(write_paff(tmp_path / "a.ts", frames))
    assert (source.count, source.size, source.fps) == (30, (128, 32), 25)
    shown = list(source.read(range(30)))
    np.testing.assert_allclose([time_s for _, time_s, _ in shown], np.arange(30) / 25, atol=1e-4)
    for number, _, image in shown[1:-1]:
        assert combs(image[..., 0]) < 0.7 * combs(frames[number])
    assert [number for number, _, _ in source.read([7, 20])] == [7, 20]


def test_progressive_frames_are_left_alone(tmp_path, caplog):
    """A flag decides, not the look of an image: stripes are no combs."""
    caplog.set_level(logging.INFO)
    stripes = interlaced(6)
    source = open_source(write_video(tmp_path / "a.mp4", stripes, options={"crf": "4"}))
    assert all(np.abs(image.astype(int) - stripes[n]).mean() < 2 for n, _, image in source.read(range(6)))
    assert "deinterlaced" not in caplog.text


def test_interlaced_frames_may_begin_later(tmp_path, camcorder):
    plain = write_video(tmp_path / "plain.mp4", interlaced(4))
    with av.open(str(plain)) as first, av.open(str(camcorder)) as second:
        frames = [*first.decode(video=0), *second.decode(video=0)]
    found = []
    shown = list(deinterlaced(iter(enumerate(frames)), False, lambda: found.append(1)))
    assert [number for number, _ in shown] == list(range(44)) and found == [1]
    assert [frame for _, frame in shown[:4]] == frames[:4]
    assert combs(shown[20][1].to_ndarray(format="gray")) < 0.5 * combs(frames[20].to_ndarray(format="gray"))


def test_fields_as_images_of_their_own_are_named(tmp_path, caplog):
    options = {"x265-params": "log-level=none:interlace=tff:bframes=0"}
    source = open_source(write_video(tmp_path / "a.mkv", interlaced(6), codec="libx265", options=options))
    assert "interlaced HEVC" in caplog.text and len(list(source.read(range(6)))) == 6
