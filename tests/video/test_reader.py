"""Test reading of any file a user may bring: exact frame numbers, upright images, true colours, clear errors."""

import itertools
import logging
import struct
import threading
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.video.reader import CropReader, open_source
from tests.data.media import numbered, read_all, read_number, write_sound, write_video


def numbers(source, wanted):
    return [(number, read_number(image)) for number, _, image in source.read(wanted)]


# -- frame index ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "ts"])
def test_every_start_is_exact_with_b_frames(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    codec = "mpeg4" if suffix == "avi" else "libx264"
    options = {"g": "12"} if suffix == "avi" else {"g": "12", "bf": "3", "b_strategy": "0"}
    source = open_source(write_video(path, numbered(60), codec=codec, options=options))
    assert (source.count, source.size, source.reader) == (60, (64, 48), "pyav")
    for start in (0, 1, 7, 11, 12, 13, 35, 59):
        assert numbers(source, range(start, min(start + 3, 60))) == [(n, n) for n in range(start, min(start + 3, 60))]
    sparse = [0, 3, 30, 31, 58]
    assert numbers(source, sparse) == [(n, n) for n in sparse]


def test_variable_frame_rate_keeps_its_times(tmp_path):
    times = list(itertools.accumulate([0] + [20, 33, 100, 47] * 8))
    source = open_source(write_video(tmp_path / "a.mkv", numbered(len(times)), times=times))
    assert np.allclose(source.times_s * 1000, times, atol=1)
    assert source.fps == pytest.approx(20.0, rel=0.01)  # 32 steps in 1.6 s
    read = list(source.read(range(10, 14)))
    assert [read_number(p) for _, _, p in read] == [10, 11, 12, 13]
    assert np.allclose([t * 1000 for _, t, _ in read], times[10:14], atol=1)


def test_clip_numbers_count_from_zero(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(30), options={"g": "10"})
    with CropReader(path, 12, 17, (0, 0, 48), 32) as reader:
        assert len(reader) == 5
        got = list(reader)
        assert [n for n, _, _ in got] == [0, 1, 2, 3, 4]
        assert reader.source_frames == [12, 13, 14, 15, 16]
        assert got[0][1] == pytest.approx(12 / 25)
        assert got[0][2].shape == (32, 32, 3) and got[0][2].dtype == np.uint8
        assert len(list(reader)) == 5  # and again


def trim(path, first_ms, last_ms):
    """Trim as phones do: by the edit list (ISO 14496-12, `elst` version 0), with all samples left in the file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 8
    assert struct.unpack(">I", data[at : at + 4]) == (1,)
    start = struct.unpack(">i", data[at + 8 : at + 12])[0] + first_ms * 512 // 40  # 25 fps are 12800 ticks a second
    data[at + 4 : at + 12] = struct.pack(">Ii", last_ms - first_ms, start)
    result = path.with_name("trimmed.mp4")
    result.write_bytes(data)
    return result


@pytest.mark.parametrize("first, last", [(0, 60), (0, 30), (10, 40), (17, 31)])
def test_clip_trimmed_on_the_phone(tmp_path, caplog, first, last):
    path = write_video(tmp_path / "a.mp4", numbered(60), options={"g": "12", "bf": "3"})
    frames, reader = read_all(trim(path, first * 40, last * 40))
    assert [read_number(p) for _, _, p in frames] == list(range(first, last))
    assert len(reader) == last - first and reader.lost == 0
    assert frames[0][1] == 0 and not caplog.text


def test_leaving_early_ends_the_thread(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(100))
    for _ in CropReader(path, None, None, (0, 0, 48), 48, depth=2):
        break
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


# -- orientation, shape, depth, colour ------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_phone_rotation_is_undone(tmp_path, degrees, suffix):
    upright = np.zeros((80, 48, 3), dtype=np.uint8)
    upright[:24, :24] = (250, 20, 20)
    upright[-24:, :24] = (20, 250, 20)
    upright[:24, -16:] = (20, 20, 250)
    coded = np.rot90(upright, -degrees // 90)  # the camera held on its side
    path = write_video(tmp_path / f"a.{suffix}", [coded] * 3, rotation=degrees)
    source = open_source(path)
    assert source.size == (48, 80)
    _, _, got = next(source.read([1]))
    assert np.abs(got.astype(int) - upright).mean() < 8


def test_pixels_become_square(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(3, (64, 60)), aspect=Fraction(15, 16))
    source = open_source(path)
    assert source.size == (64, 64)
    assert next(source.read([2]))[2].shape == (64, 64, 3)


@pytest.mark.parametrize(
    "codec, pix_fmt, size",
    [
        ("libx264", "yuv444p", (321, 241)),
        ("libx264", "yuv420p10le", (64, 48)),
        ("libx265", "yuv420p10le", (64, 48)),
        ("ffv1", "gray", (64, 48)),
        ("qtrle", "argb", (64, 48)),
        ("ffv1", "yuva420p", (64, 48)),
    ],
)
def test_odd_sizes_ten_bits_grey_and_alpha(tmp_path, codec, pix_fmt, size):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    suffix = "mp4" if codec.startswith("libx26") else "mov" if codec == "qtrle" else "mkv"
    path = write_video(tmp_path / f"a.{suffix}", numbered(5, size), codec=codec, pix_fmt=pix_fmt, options=options)
    source = open_source(path)
    assert source.size == size
    assert numbers(source, range(5)) == [(n, n) for n in range(5)]
    _, _, image = next(source.read([1]))
    white = image[:, : size[0] // 8 - 4]
    assert white.min() > 240 and image[:, size[0] // 8 + 8 :].max() < 15


@pytest.mark.parametrize("matrix, full_range", [(1, False), (5, False), (5, True), (9, False)])
def test_matrix_and_range_are_respected(tmp_path, matrix, full_range):
    colours = np.array([[210, 160, 130], [40, 90, 200], [128, 128, 128], [20, 200, 60]], dtype=np.uint8)
    image = np.repeat(np.repeat(colours[None], 48, 0), 16, 1)
    tag = {1: 1, 5: 5, 9: 9}[matrix]
    tags = {"colorspace": tag, "color_range": 2 if full_range else 1, "color_trc": 1, "color_primaries": 1}
    path = write_video(
        tmp_path / "a.mp4", [image] * 2, matrix=matrix, full_range=full_range, tags=tags, options={"crf": "1"}
    )
    _, _, got = next(open_source(path).read([0]))
    for i, colour in enumerate(colours):
        assert np.abs(got[8:40, 16 * i + 5 : 16 * i + 11].mean(axis=(0, 1)) - colour).max() < 4


def luma_only(path, codec, pix_fmt, colour_range):
    """Two frames whose luma is 16, 126, 206 and 235 in four columns, and whose chroma is neutral."""
    luma = np.repeat(np.repeat(np.array([[16, 126, 206, 235]], np.uint8), 48, 0), 16, 1)
    planes = luma if pix_fmt == "gray" else np.concatenate([luma, np.full((24, 64), 128, np.uint8)])
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"x265-params": "log-level=none:lossless=1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.color_range = colour_range
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(planes, format=pix_fmt)
            frame.pts, frame.color_range = number, colour_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


LIMITED, FULL = [0, 128, 221, 255], [16, 126, 206, 235]


@pytest.mark.parametrize(
    "codec, pix_fmt, colour_range, shown",
    [
        *((codec, pix_fmt, *more) for codec, pix_fmt in (("ffv1", "yuv420p"), ("ffv1", "gray"))
          for more in ((0, LIMITED), (1, LIMITED), (2, FULL))),
        ("libx265", "gray", 0, LIMITED),  # FFmpeg writes no grey HEVC that names a range
    ],
)  # fmt: skip
def test_grey_has_the_range_of_colour(tmp_path, caplog, codec, pix_fmt, colour_range, shown):
    caplog.set_level(logging.INFO)
    source = open_source(luma_only(tmp_path / "a.mkv", codec, pix_fmt, colour_range))
    _, _, image = next(source.read([1]))
    assert image[24, 8::16].tolist() == [[value] * 3 for value in shown]
    assert ("range: " in caplog.text) == (colour_range == 0 and codec == "ffv1")


@pytest.mark.parametrize("codec, pix_fmt", [("ffv1", "bgr0"), ("libx264rgb", "rgb24")])
@pytest.mark.parametrize("colour_range, shown", [(0, FULL), (1, LIMITED), (2, FULL)])
def test_rgb_of_limited_range_is_stretched_and_named(tmp_path, caplog, codec, pix_fmt, colour_range, shown):
    caplog.set_level(logging.INFO)
    levels = np.array([16, 126, 206, 235], np.uint8).repeat(16)[None, :, None]
    path = write_video(
        tmp_path / "a.mkv", [np.broadcast_to(levels, (48, 64, 3))] * 2, codec=codec, pix_fmt=pix_fmt,
        tags={"color_range": colour_range}, options={"qp": "0"} if codec == "libx264rgb" else {}, full_range=True,
    )  # fmt: skip
    _, _, image = next(open_source(path).read([1]))
    assert image[24, 8::16].tolist() == [[value] * 3 for value in shown]
    assert ("RGB has limited range: stretched to full" in caplog.text) == (colour_range == 1)


@pytest.mark.parametrize(
    "tags, words",
    [
        ({}, "it names no colour matrix and range: BT.601, limited is taken"),
        (
            {"colorspace": 8, "color_range": 1},
            "its colour matrix (number 8 of ITU-T H.273) is not known: BT.601 is taken",
        ),
        ({"colorspace": 1, "color_range": 1, "color_primaries": 12}, "its Display P3 colours are taken for BT.709"),
        ({"colorspace": 1, "color_range": 1, "color_trc": 8}, "its transfer curve (number 8 of ITU-T H.273) is not"),
    ],
)
def test_what_is_not_said_about_colours_or_not_done_is_named(tmp_path, caplog, tags, words):
    caplog.set_level(logging.INFO)
    open_source(write_video(tmp_path / "a.mp4", numbered(2), tags=tags))
    assert caplog.text.count(str(tmp_path)) == 1 and words in caplog.text


def test_a_turn_by_no_right_angle_and_odd_pixels_are_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = write_video(tmp_path / "a.mp4", numbered(2), rotation=70, aspect=Fraction(40))
    assert open_source(path).size == (48, 64)
    assert "turned by no right angle" in caplog.text and "40 times as wide as high: square ones" in caplog.text


@pytest.mark.parametrize("flips", [{"hflip": True}, {"vflip": True}, {"hflip": True, "vflip": True}])
@pytest.mark.parametrize("degrees", [0, 90])
def test_flips_agree_with_ffmpeg(tmp_path, flips, degrees):
    path = write_video(tmp_path / "a.mov", numbered(2), rotation=degrees, flips=flips)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    a, b, _, c, d = np.frombuffer(bytes(frame.side_data.get("DISPLAYMATRIX")), "<i4")[:5] // 65536
    coded = frame.to_ndarray(format="rgb24")
    tall, wide = coded.shape[:2]
    q, p = np.mgrid[:tall, :wide]
    x, y = a * p + c * q, b * p + d * q
    shown = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1, 3), np.uint8)
    shown[y - y.min(), x - x.min()] = coded
    _, _, image = next(open_source(path).read([0]))
    assert np.abs(image.astype(int) - shown).mean() < 3


@pytest.mark.parametrize("transfer, white", [(16, 0.5807), (18, 0.75)])
def test_hdr_is_tone_mapped(tmp_path, caplog, transfer, white):
    levels = np.array([0.0, 0.38, white, 1.0])  # black, grey card, diffuse white, peak: ITU-R BT.2408
    image = np.repeat(np.repeat(np.rint(levels * 65535).astype(np.uint16)[None, :, None], 48, 0), 16, 1).repeat(3, 2)
    tags = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9, "color_range": 1}
    path = write_video(
        tmp_path / "a.mkv", [image] * 2, codec="libx265", pix_fmt="yuv420p10le", matrix=9, tags=tags,
        options={"x265-params": "log-level=none", "crf": "1"},
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        frames, _ = read_all(path)
    assert "HDR" in caplog.text
    with CropReader(path, 0, 1, (0, -8, 64), 64) as reader:
        ((_, _, got),) = reader
    black, grey, bright, peak = (got[32, 16 * i + 8].mean() for i in range(4))
    assert black < 8 and 95 < grey < 140 and 210 < bright < 245 and peak > 250


@pytest.mark.parametrize(
    "primaries, words",
    [(1, None), (9, None), (12, None), (2, "names no colour primaries: BT.2020 is taken"),
     (10, "its HDR colour primaries (number 10 of ITU-T H.273) are not converted")],
)  # fmt: skip
def test_hdr_primaries_that_are_not_converted_are_named(tmp_path, caplog, primaries, words):
    caplog.set_level(logging.INFO)
    tags = {"color_trc": 16, "color_primaries": primaries, "colorspace": 9, "color_range": 1}
    path = write_video(
        tmp_path / "a.mkv", [np.zeros((48, 64, 3), np.uint16)] * 2, codec="libx265", pix_fmt="yuv420p10le", matrix=9,
        tags=tags, options={"x265-params": "log-level=none"},
    )  # fmt: skip
    open_source(path)
    assert caplog.text.count("colour primaries") == (words is not None) and (words or "HDR") in caplog.text


# -- folders of images ----------------------------------------------------------------------------------------------


def save(folder, names, size=(64, 48)):
    folder.mkdir(exist_ok=True)
    for name, image in zip(names, numbered(len(names), size), strict=True):
        assert cv2.imwrite(str(folder / name), image)
    return folder


def test_folder_in_natural_order(tmp_path):
    folder = save(tmp_path / "images", [f"frame{n}.png" for n in range(12)])
    (folder / "notes.txt").write_text("not an image")
    (folder / "._frame0.png").write_bytes(b"left by a Mac")
    source = open_source(folder, folder_fps=10)
    assert (source.reader, source.count, source.size, source.fps) == ("folder", 12, (64, 48), 10)
    assert numbers(source, range(12)) == [(n, n) for n in range(12)]
    assert source.time(5) == 0.5


def test_folder_of_grey_alpha_and_deep_images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.full((48, 64), 100, np.uint8))
    cv2.imwrite(str(folder / "1.png"), np.full((48, 64, 4), (10, 20, 30, 255), np.uint8))
    cv2.imwrite(str(folder / "2.png"), np.full((48, 64, 4), (10, 20, 30, 0), np.uint8))
    cv2.imwrite(str(folder / "3.png"), np.full((48, 64, 3), (257 * 10, 257 * 20, 257 * 30), np.uint16))
    got = [image[5, 5].tolist() for _, _, image in open_source(folder).read(range(4))]
    assert got == [[100] * 3, [30, 20, 10], [255] * 3, [30, 20, 10]]


# -- bad input: a clear error each ---------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        open_source(tmp_path / "none.mp4")


def test_folder_without_images(tmp_path):
    with pytest.raises(UserError, match="without images"):
        open_source(tmp_path)


def test_folder_with_one_other_size(tmp_path):
    folder = save(tmp_path / "p", ["a.png", "b.png"])
    save(folder, ["c.png"], (32, 32))
    with pytest.raises(UserError, match=r"c\.png is 32x32 but a\.png is 64x48"):
        open_source(folder)


def test_folder_with_a_broken_image(tmp_path):
    folder = save(tmp_path / "p", ["a.png"])
    (folder / "b.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"b\.png is not a readable image"):
        open_source(folder)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a.mov"])
def test_text_file(tmp_path, name):
    (tmp_path / name).write_text("This is not a video.\n" * 100)
    with pytest.raises(UserError, match="video"):
        open_source(tmp_path / name)


def test_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match="empty"):
        open_source(tmp_path / "a.mp4")


def test_sound_only(tmp_path):
    with pytest.raises(UserError, match="no video stream"):
        open_source(write_sound(tmp_path / "a.m4a"))


@pytest.mark.parametrize(
    "start, end, words", [(30, None, "beyond"), (99, 120, "beyond"), (5, 5, "greater"), (9, 3, "greater")]
)
def test_range_that_is_empty(tmp_path, start, end, words):
    path = write_video(tmp_path / "a.mp4", numbered(30))
    with pytest.raises(UserError, match=words):
        CropReader(path, start, end, (0, 0, 48), 48)


def test_end_beyond_the_last_frame_is_clamped_with_a_warning(tmp_path, caplog):
    frames, _ = read_all(write_video(tmp_path / "a.mp4", numbered(30)), 20, 50)
    assert len(frames) == 10 and "30 frames" in caplog.text


def test_five_frames(tmp_path):
    frames, _ = read_all(write_video(tmp_path / "a.mp4", numbered(5)))
    assert len(frames) == 5
