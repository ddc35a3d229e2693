"""Comparing two runs: what the clock decides is passed over, anything else is found."""

import json

import numpy as np
import pytest
import torch

from selfieavatar.io.images import write_image
from tools.same_results import differences


@pytest.fixture
def folders(tmp_path):
    """Two folders of results whose files differ in nothing but the clock."""
    for name, minutes in (("one", 1.0), ("other", 2.0)):
        folder = tmp_path / name / "anna"
        (folder / "logs").mkdir(parents=True)
        (folder / "logs/train.log").write_text(name)
        (folder / "identity.npz").write_bytes(b"the same")
        (folder / "metrics.json").write_text(
            json.dumps({"psnr_db": 30.0, "speed": {"fps": minutes}, "training": {"minutes": minutes}, "avatar": name})
        )
        (folder / "table.md").write_text(f"| psnr |\n| 30 |\n\n| minutes of training |\n|---|\n| {minutes} |\n")
        content = {"g_style": {"weight": torch.tensor([1.0, torch.nan])}, "images": 8}
        torch.save(content | {"minutes": minutes, "history": [{"minutes": minutes}]}, folder / "avatar.pt")
    return tmp_path / "one", tmp_path / "other"


def test_what_the_clock_decides_is_no_difference(folders):
    assert differences(*folders) == []


def test_any_other_difference_is_named(folders):
    one, other = folders
    (one / "anna/identity.npz").write_bytes(b"another")
    (one / "anna/metrics.json").write_text(json.dumps({"psnr_db": 30.1, "training": {"minutes": 1.0}}))
    avatar = torch.load(one / "anna/avatar.pt", weights_only=True)
    torch.save(avatar | {"g_style": {"weight": torch.tensor([1.0, 2.0])}}, one / "anna/avatar.pt")
    names = ("avatar.pt", "identity.npz", "metrics.json")
    assert differences(one, other) == [f"anna/{name} differs" for name in names]


def test_half_a_file_and_what_is_missing_or_left_over(folders):
    one, other = folders
    whole = (one / "anna/avatar.pt").read_bytes()
    (one / "anna/avatar.pt").write_bytes(whole[: len(whole) // 2])
    (one / "anna/.identity.part.npz").touch()
    (one / "anna/identity.npz").unlink()
    said = differences(one, other)
    assert said[:2] == ["anna/identity.npz is missing", "anna/.identity.part.npz is left over"]
    assert len(said) == 3 and said[2].startswith("anna/avatar.pt cannot be read")
    assert differences(one, other, complete=False) == said[2:], "what is not made yet is no fault"


def test_images_count_not_the_bytes_of_their_files(folders):
    """Signed files hold a time and a random number."""
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    for folder in folders:
        write_image(folder / "anna/a.png", image)
    signed = folders[0] / "anna/a.png"
    signed.write_bytes(signed.read_bytes() + b"signature")
    assert differences(*folders) == []
    write_image(signed, image ^ 1)
    assert differences(*folders) == ["anna/a.png differs"]
