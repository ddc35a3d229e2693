"""Test IMAvatar's folders: videos, roles, and copies on white."""

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.interop.datasets import imavatar
from selfieavatar.io.images import read_image, write_image
from tests.interop.datasets.makers import write_video


@pytest.fixture
def data(tmp_path):
    for name in ("MVI_1810", "MVI_1812", "MVI_1814"):
        write_video(tmp_path / "data" / "subject1" / "subject1" / name)
    write_video(tmp_path / "data" / "subject2" / "subject2" / "MVI_1", masks=False, coefficients=False)
    return tmp_path / "data"


def test_videos_are_found_from_each_level(data):
    found = imavatar.find_videos(data)
    assert [(video.subject, video.name) for video in found] == [
        ("subject1", "MVI_1810"), ("subject1", "MVI_1812"), ("subject1", "MVI_1814"), ("subject2", "MVI_1"),
    ]  # fmt: skip
    assert not found[0].lacks_masks() and found[0].has_coefficients()
    assert found[3].lacks_masks() and not found[3].has_coefficients()
    assert [video.subject for video in imavatar.find_videos(data / "subject1" / "subject1")] == ["subject1"] * 3
    with pytest.raises(UserError, match="no <video>/image/"):
        imavatar.find_videos(data / "subject1" / "subject1" / "MVI_1810" / "mask")
    with pytest.raises(UserError, match="is not a folder"):
        imavatar.find_videos(data / "none")


def test_roles(data):
    videos = imavatar.find_videos(data / "subject1")
    published = [(video.name, role) for video, role in imavatar.roles(videos, [], [])]
    assert published == [("MVI_1810", "train"), ("MVI_1812", "test"), ("MVI_1814", "train")]
    named = [(video.name, role) for video, role in imavatar.roles(videos, ["MVI_1812"], [])]
    assert named == [("MVI_1812", "train")]
    for train, test, words in (
        (["x"], [], "no video x here"), (["MVI_1812"], ["MVI_1812"], "both trained and tested"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            imavatar.roles(videos, train, test)
    assert [v.subject for v, _ in imavatar.roles(imavatar.find_videos(data), [], [])] == ["subject1"] * 3
    with pytest.raises(UserError, match="no published split of subject2 .*: MVI_1"):
        imavatar.roles(imavatar.find_videos(data / "subject2"), [], [])


def test_a_copy_on_white(data, tmp_path):
    video = imavatar.find_videos(data)[0]
    copy = imavatar.copy_on_white(video, tmp_path / "white")
    assert copy.images == tmp_path / "white" / "subject1" / "MVI_1810" / "image" and not copy.lacks_masks()
    assert copy.has_coefficients()
    image = read_image(copy.images / "2.png")
    assert (image[:, :4] == 40).all() and (image[:, 4:] == 255).all()
    (video.folder / "mask" / "2.png").unlink()
    with pytest.raises(UserError, match="no mask for each"):
        imavatar.copy_on_white(video, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_masks_of_0_and_1_and_two_images_of_one_name_are_refused(data, tmp_path):
    video = imavatar.find_videos(data)[0]
    write_image(video.folder / "mask" / "1.png", np.eye(8, dtype=np.uint8))
    with pytest.raises(UserError, match="1.png is of 0 and 1, but white is 255"):
        imavatar.copy_on_white(video, tmp_path / "white")
    (video.images / "1.jpg").write_bytes((video.images / "1.png").read_bytes())
    with pytest.raises(UserError, match="two images named 1;"):
        imavatar.copy_on_white(video, tmp_path / "white")


def test_what_a_desktop_leaves_is_passed_over(data, tmp_path):
    """Also the folder that macOS packs beside an archive's own."""
    before = imavatar.find_videos(data)
    for video in before:
        for folder in (video.images, video.folder / "mask") if (video.folder / "mask").is_dir() else ():
            for name in (".DS_Store", "._1.png", "Thumbs.db", "desktop.ini"):
                (folder / name).write_bytes(b"left by a desktop")
        twin = data / "__MACOSX" / video.images.relative_to(data)
        twin.mkdir(parents=True)
        (twin / "._1.png").touch()
    assert imavatar.find_videos(data) == before and not before[0].lacks_masks()
    assert len(list(imavatar.copy_on_white(before[0], tmp_path / "white").images.iterdir())) == 3
