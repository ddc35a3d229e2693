"""A clip's images are found by kind and number, in its folder or where they were put."""

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.images import write_image
from tests.training.makers import write_manifests


def test_images_by_kind_and_number(tmp_path):
    for number in (3, 12):
        write_image(tmp_path / f"talk/frames/{number:06d}.png", np.full((4, 4, 3), number, np.uint8))
        write_image(tmp_path / f"elsewhere/{number:06d}.png", np.full((4, 4), number, np.uint8))
    clip = ClipStore(tmp_path / "talk", alpha=tmp_path / "elsewhere")
    assert clip.path("uv", np.int32(12)) == tmp_path / "talk/uv/000012.png"
    assert clip.image("alpha", 3).tolist() == np.full((4, 4), 3).tolist()
    assert clip.images("frames", np.array([12, 3]))[:, 0, 0, 0].tolist() == [12, 3]
    with pytest.raises(UserError, match="000004.png is missing"):
        clip.image("frames", 4)
    with pytest.raises(UserError, match="fit.parquet is missing"):
        clip.manifest("fit")


def test_rows_of_frames_that_a_manifest_lacks_are_refused(tmp_path):
    frame = np.array([2, 3, 5], np.int32)
    write_manifests(tmp_path, 3, decode_frame=frame)
    clip = ClipStore(tmp_path)
    manifest, rows = clip.rows("decode", np.array([3, 5]))
    assert manifest["frame"][rows].tolist() == [3, 5]
    for frames in ([4], [6], [-1, 2]):
        with pytest.raises(UserError, match=r"decode.parquet lacks frames that are asked for"):
            clip.rows("decode", np.array(frames))
    write_manifests(tmp_path, 3, decode_frame=frame[::-1])
    with pytest.raises(UserError, match="lacks frames"):
        clip.rows("decode", frame)
