"""Test the decode stage from the command line: one crop for all clips, correct flags, clean failures."""

import errno
import json
import logging
from collections import namedtuple
from unittest.mock import ANY

import cv2
import numpy as np
import pytest

from selfieavatar.footage import person
from selfieavatar.io import disk, images
from selfieavatar.io.files import content_hash
from selfieavatar.io.images import image_name, read_image
from selfieavatar.io.manifest import read_manifest
from selfieavatar.settings import cli
from selfieavatar.video.reader import CropReader, open_source
from stages import decode
from tests.data.media import drawn_face, numbered, write_sound, write_video

SIZE = 96


def face_clip(count: int, start: int = 0, **face) -> list[np.ndarray]:
    """Draw a head that moves and speaks; every image differs from the one before."""
    return [
        drawn_face(center=(160 + 8 * np.sin(i / 5), 110 + 3 * np.cos(i / 3)), mouth=0.3 * (1 + np.sin(i)) / 2, **face)
        for i in range(start, start + count)
    ]


def decoded(source, out, start=None, end=None, ranges=(), held=(), only=False, **settings):
    argv = ["--source", str(source), "--out-frames", str(out / "frames"), "--manifest", str(out / "decode.parquet")]
    argv += ["--settings", json.dumps({"size_px": SIZE, "sample_count": 8, **settings}), "--threads", "2"]
    argv += [] if start is None else ["--start", str(start)]
    argv += [] if end is None else ["--end", str(end)]
    argv += ["--ranges", json.dumps(ranges)]
    argv += ["--holdout", "0.25", "--gap-s", "0.2", "--train-clips", json.dumps(held)] if held else []
    argv += ["--only"] if only else []
    cli.main(decode.build_parser(), decode.run, argv)
    return read_manifest(out / "decode.parquet", "decode")


def assert_refused(capsys, source, out, words, **more):
    """Check that the stage ends with status 2, `words` in its last line, and without outputs."""
    with pytest.raises(SystemExit) as end:
        decoded(source, out, **more)
    assert end.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and words in lines[0]
    assert not out.exists() or list(out.iterdir()) == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "face.mp4", face_clip(40), options={"crf": "12"})


def test_frames_and_manifest_agree(clip, tmp_path):
    m = decoded(clip, tmp_path)
    facts = m.metadata
    assert len(m) == 40 and m["frame"].tolist() == list(range(40)) == m["source_frame"].tolist()
    assert np.allclose(m["time_s"], np.arange(40) / 25)
    assert m["face"].all() and not m["duplicate"].any()
    assert facts["size_px"] == SIZE and facts["source_size"] == [320, 240] and facts["fps"] == 25
    assert facts["reader"] == "pyav" and facts["faces_per_frame_max"] == 1 and facts["static_camera"] is True
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == [image_name(n) for n in range(40)]
    x0, y0, side = facts["crop_px"]
    assert side % 2 == 0 and x0 >= 0 and y0 >= 0 and x0 + side <= 320 and y0 + side <= 240
    with CropReader(clip, None, None, facts["crop_px"], SIZE) as reader:
        for number, _, image in reader:
            path = tmp_path / "frames" / image_name(number)
            assert m["picture_hash"][number] == content_hash(path)
            # Frames are shrunk in two steps when they are small: equal but for rounding.
            assert np.abs(read_image(path).astype(int) - image).mean() < 1.5


def test_box_follows_the_drawn_face(clip, tmp_path):
    m = decoded(clip, tmp_path)
    x0, y0, side = m.metadata["crop_px"]
    truth_x = (160 + 8 * np.sin(np.arange(40) / 5) - x0) * SIZE / side
    box = m["face_box_px"]
    middle = (box[:, 0] + box[:, 2]) / 2
    assert np.abs(middle - truth_x - np.median(middle - truth_x)).max() < 2.0
    assert np.abs(np.median(middle - truth_x)) < 3.0
    assert np.median(box[:, 3] - box[:, 1]) == pytest.approx(92 * SIZE / side, rel=0.1)


def test_clips_of_one_source_share_their_crop(clip, tmp_path):
    ranges = [[0, 15], [20, None]]
    first = decoded(clip, tmp_path / "a", 0, 15, ranges)
    second = decoded(clip, tmp_path / "b", 20, None, ranges)
    assert first.metadata["crop_px"] == second.metadata["crop_px"]
    assert first["source_frame"].tolist() == list(range(15))
    assert second["source_frame"].tolist() == list(range(20, 40))
    assert second["frame"].tolist() == list(range(20))


def test_a_test_clip_takes_the_crop_of_the_training_clips(clip, tmp_path):
    ranges = [[0, 15]]
    trained = decoded(clip, tmp_path / "a", 0, 15, ranges)
    tested = decoded(clip, tmp_path / "b", 30, None, ranges)
    alone = decoded(clip, tmp_path / "c", 30, None)
    assert trained.metadata["crop_px"] == tested.metadata["crop_px"] != alone.metadata["crop_px"]


@pytest.mark.parametrize(("others", "seen"), [(0, 25), (1, 15), (5, 40)])
def test_what_is_held_out_is_not_looked_at_for_the_crop(clip, tmp_path, monkeypatch, others, seen):
    """A quarter of all frames, the last ones, and a gap of five; a source that is held out as a whole stands alone."""
    other = write_video(tmp_path / "other.mp4", face_clip(40))
    find, asked = decode.find_crop, []
    monkeypatch.setattr(decode, "find_crop", lambda *given: asked.append(given[1]) or find(*given))
    held = [[str(path), None, None] for path in [other] * others + [clip]]
    decoded(clip, tmp_path / "out", ranges=[[None, None]], held=held, sample_count=40)
    assert asked == [list(range(seen))]


@pytest.mark.parametrize("count", [1, 6])
def test_too_few_frames_to_hold_some_out_are_refused_before_a_face_is_looked_for(tmp_path, capsys, monkeypatch, count):
    monkeypatch.setattr(decode, "FaceFinder", None)
    clip = write_video(tmp_path / "short.mp4", numbered(count))
    words = f"have {count} frames in all, of which samples.holdout (0.25) and samples.gap_s (0.2) leave 0; give longer"
    assert_refused(capsys, clip, tmp_path / "out", words, held=[[str(clip), None, None]])


def test_a_pause_is_said_once_and_shortens_no_gap(tmp_path, caplog):
    """A recording that was paused for a minute within the gap."""
    times = [40 * n + 60_000 * (n >= 27) for n in range(40)]
    source = write_video(tmp_path / "paused.mp4", face_clip(40), times=times)
    facts = decoded(source, tmp_path / "out", held=[[str(source), None, None]]).metadata
    assert (facts["fps"], facts["held_from"], facts["test_from"]) == (25, 25, 30)
    assert caplog.text.count("the recording pauses after frame 26") == 1


def test_the_gap_of_each_clip_has_its_own_rate(clip, tmp_path):
    """The cut lies in a clip of 25 frames/s, whatever the rate of the clip after it, all of which measures."""
    other = write_video(tmp_path / "other.mp4", face_clip(8), fps=60)
    facts = decoded(clip, tmp_path / "out", held=[[str(path), None, None] for path in (clip, other)]).metadata
    assert (facts["held_from"], facts["test_from"]) == (31, 36)


def test_a_clip_whose_images_do_not_fit_is_refused_before_anything_is_written(clip, tmp_path, capsys, monkeypatch):
    needed = disk.image_bytes(12, SIZE)
    monkeypatch.setattr(decode, "FaceFinder", None)  # nobody is looked for
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: namedtuple("usage", "free")(needed))
    assert_refused(capsys, clip, tmp_path / "out", "storage.keep_pictures", start=3, end=15)


def test_one_photo_or_frame_trains_nobody(clip, tmp_path, capsys):
    said = "is one photo or frame, which cannot train an avatar"
    one = write_video(tmp_path / "one.mp4", face_clip(1))
    (tmp_path / "folder").mkdir()
    cv2.imwrite(str(tmp_path / "folder" / "a.png"), face_clip(1)[0])
    for source in (one, tmp_path / "folder"):
        assert_refused(capsys, source, tmp_path / "out", said, only=True)
    assert_refused(capsys, clip, tmp_path / "out", said, only=True, start=3, end=4)
    assert_refused(capsys, one, tmp_path / "out", said, only=True, held=[[str(one), None, None]])
    assert len(decoded(one, tmp_path / "beside")) == 1, "to test on, or beside others"


def test_output_is_reproducible_to_the_byte(clip, tmp_path):
    for name in "ab":
        decoded(clip, tmp_path / name, 0, 12)
    assert (tmp_path / "a" / "decode.parquet").read_bytes() == (tmp_path / "b" / "decode.parquet").read_bytes()


def test_five_frames_are_enough(tmp_path):
    m = decoded(write_video(tmp_path / "five.mp4", face_clip(5)), tmp_path / "out")
    assert len(m) == 5 and m["face"].all()


def test_face_lost_midway_is_marked_and_kept(tmp_path, caplog):
    images = face_clip(15) + [np.full((240, 320, 3), 90, np.uint8)] * 15
    m = decoded(write_video(tmp_path / "a.mp4", images), tmp_path / "out")
    assert m["face"].tolist() == [True] * 15 + [False] * 15
    assert np.isnan(m["face_box_px"][15:]).all() and np.isfinite(m["face_box_px"][:15]).all()
    assert "15 of 30 frames have no face" in caplog.text and m.metadata["person_chosen"] is False


def test_frames_left_out_are_not_said_to_have_no_face(clip, tmp_path, caplog, monkeypatch):
    def reasons(followed, crop, size, frames, *_):
        return np.where(frames < 10, "somebody else", "").astype(object)

    monkeypatch.setattr(person, "reasons", reasons)
    assert decoded(clip, tmp_path)["face"].tolist() == [False] * 10 + [True] * 30
    assert "10 frames show somebody else" in caplog.text and "no face" not in caplog.text


def test_repeated_frames_are_marked(tmp_path):
    images = face_clip(20)
    for i in (6, 12, 18):
        images.insert(i, images[i - 1])
    m = decoded(write_video(tmp_path / "a.mp4", images, fps=30), tmp_path / "out")
    assert np.flatnonzero(m["duplicate"]).tolist() == [6, 12, 18]


def test_moving_camera_is_detected(tmp_path):
    images = [np.roll(p, 3 * i, axis=1) for i, p in enumerate(face_clip(20))]
    m = decoded(write_video(tmp_path / "a.mp4", images), tmp_path / "out")
    assert m.metadata["static_camera"] is False


def test_blur_lowers_sharpness(tmp_path):
    import cv2

    images = face_clip(12, height=130)
    images[8] = cv2.GaussianBlur(images[8], (0, 0), 4)
    m = decoded(write_video(tmp_path / "a.mp4", images, options={"crf": "10"}), tmp_path / "out")
    assert m["sharpness"].argmin() == 8 and m["sharpness"][8] < 0.5 * np.median(m["sharpness"])


def test_second_person_is_reported_and_ignored(tmp_path, caplog):
    images = []
    for image in face_clip(12):
        other = drawn_face(center=(70, 110), height=70)
        both = image.copy()
        both[:, :105] = other[:, :105]
        images.append(both)
    m = decoded(write_video(tmp_path / "a.mp4", images), tmp_path / "out", crop_scale=3)
    assert "1 other face" in caplog.text
    assert m.metadata["faces_per_frame_max"] == 2
    x0, _, side = m.metadata["crop_px"]
    middle = x0 + (m["face_box_px"][:, 0] + m["face_box_px"][:, 2]) / 2 * side / SIZE
    assert np.abs(middle - 160).max() < 20


def test_folder_of_images(tmp_path):
    folder = tmp_path / "images"
    with images.ImageWriter(folder) as writer:
        for number, image in enumerate(face_clip(6)):
            writer.put(number, image)
    m = decoded(folder, tmp_path / "out", folder_fps=10)
    assert m.metadata["reader"] == "folder" and m["time_s"][5] == 0.5


@pytest.mark.slow
def test_of_a_call_in_speaker_view_one_person_is_followed(shared, tmp_path, caplog):
    """Two real people change places: one large on the left, the other a thumbnail on the right, and the reverse."""
    people = [
        [image for _, _, image in open_source(shared / "data/videos" / name).read(range(60))]
        for name in ("acting.mp4", "turning.mp4")
    ]
    images = []
    for number in range(60):
        mine = number % 30 < 20
        canvas = np.full((320, 640, 3), 40, np.uint8)
        places = ((10, 10, 300), (500, 230, 80)) if mine else ((20, 20, 80), (350, 40, 260))
        for (x0, y0, side), frames in zip(places, people, strict=True):
            canvas[y0 : y0 + side, x0 : x0 + side] = cv2.resize(frames[number], (side, side))
        images.append(canvas)
    manifest = decoded(write_video(tmp_path / "call.mp4", images), tmp_path / "out", sample_count=30)
    assert manifest.metadata["left_out"] == [[20, 30, ANY], [50, 60, ANY]] and "20 to 29, 50 to 59" in caplog.text
    assert manifest["face"].tolist() == [number % 30 < 20 for number in range(60)]
    assert manifest.metadata["person_chosen"] is True
    x0, y0, side = manifest.metadata["crop_px"]
    assert x0 >= 0 and y0 >= 0 and side <= 320, "the window lies in the image"
    assert x0 + side <= 350, "and shows one person"


# -- bad input ------------------------------------------------------------------------------------------------------


def test_no_face_at_all(tmp_path, capsys):
    assert_refused(
        capsys, write_video(tmp_path / "a.mp4", numbered(10, (320, 240))), tmp_path / "out", "no face in any"
    )


def test_no_face_in_this_clip(tmp_path, capsys):
    images = face_clip(10) + [np.full((240, 320, 3), 90, np.uint8)] * 10
    path = write_video(tmp_path / "a.mp4", images)
    assert_refused(
        capsys, path, tmp_path / "out", "no face in any of 10 frames", start=10, ranges=[[0, 10], [10, None]]
    )


def test_missing_source(tmp_path, capsys):
    assert_refused(capsys, tmp_path / "none.mp4", tmp_path / "out", "does not exist")


def test_sound_only(tmp_path, capsys):
    assert_refused(capsys, write_sound(tmp_path / "a.m4a"), tmp_path / "out", "no video stream")


def test_start_beyond_the_end(clip, tmp_path, capsys):
    assert_refused(capsys, clip, tmp_path / "out", "40 frames: start_frame 50", start=50)


def test_an_end_beyond_the_source_is_said_before_a_face_is_looked_for(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(decode, "find_crop", None)
    words = "has 40 frames: end_frame 41 is beyond the end, lower it or leave it empty"
    assert_refused(capsys, clip, tmp_path / "out", words, end=41)


@pytest.mark.parametrize("ranges", ["[1, 2]", "nonsense"])
def test_malformed_ranges(clip, tmp_path, capsys, ranges):
    argv = ["--source", str(clip), "--out-frames", str(tmp_path / "f"), "--manifest", str(tmp_path / "m.parquet")]
    with pytest.raises(SystemExit) as end:
        cli.main(decode.build_parser(), decode.run, [*argv, "--ranges", ranges])
    assert end.value.code == 2 and "--ranges" in capsys.readouterr().err


def test_disk_full(clip, tmp_path, capsys, monkeypatch):
    def full(self, number, image):
        raise OSError(errno.ENOSPC, "No space left on device")  # the kernel names no file

    monkeypatch.setattr(images.ImageWriter, "_write", full)
    assert_refused(capsys, clip, tmp_path / "out", f"the disk is full at {tmp_path / 'out'}")


# -- real footage ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name, faces", [("face_then_none.mov", 74), ("none_then_face.mov", 73)])
def test_real_clip_whose_face_comes_or_goes(shared, tmp_path, name, faces):
    m = decoded(shared / "data" / "videos" / name, tmp_path, sample_count=48)
    assert len(m) == 169 and abs(int(m["face"].sum()) - faces) <= 2
    seen = m["face"] if name.startswith("face") else m["face"][::-1]
    assert seen[:70].mean() > 0.95 and not seen[80:].any()


@pytest.mark.slow
def test_real_clip_with_repeats_and_a_moving_camera(shared, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    m = decoded(shared / "data" / "videos" / "full_body_moving_camera.mp4", tmp_path, sample_count=24)
    repeats = np.flatnonzero(m["duplicate"])
    assert len(repeats) >= 24 and (np.diff(repeats) % 6 == 0).all()  # 25 fps in a 30 fps file
    assert m["face"].all() and m.metadata["static_camera"] is False
    assert m.metadata["crop_px"][2] == pytest.approx(2.3 * 206, rel=0.05)


@pytest.mark.slow
def test_of_two_people_faded_into_each_other_one_is_left_out(shared, tmp_path, caplog):
    """Real faces: 60 frames of one person, a fade of 30, 40 of another in the same place."""
    people = []
    for name in ("anchor", "acting"):
        frames = open_source(shared / "data" / "videos" / f"{name}.mp4").read(range(90))
        people.append([cv2.resize(image, (320, 320), interpolation=cv2.INTER_AREA) for _, _, image in frames])
    one, other = people
    fade = [cv2.addWeighted(one[60 + n], 1 - n / 30, other[n], n / 30, 0) for n in range(30)]
    source = write_video(tmp_path / "fade.mp4", one[:60] + fade + other[30:70], options={"crf": "18"})
    face = decoded(source, tmp_path / "out", size_px=128)["face"]
    change = int(np.flatnonzero(~face)[0])
    assert 65 <= change <= 85 and face[:change].all() and not face[change:].any()
    assert f"show somebody else and are left out: {change} to 129" in caplog.text
