"""A clip's images are found by kind and number, in its folder or where they were put."""

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.clips import ClipStore
from selfieavatar.io.images import write_image


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
