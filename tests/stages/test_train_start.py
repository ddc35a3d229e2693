"""A training that starts from somebody else's avatar: what its file says, and which starts are refused."""

import numpy as np
import pytest
import torch

from selfieavatar.avatar import Avatar
from selfieavatar.errors import UserError
from selfieavatar.training.start import read_start
from stages import train
from tests.stages.test_train import run, subject, words  # noqa: F401 - a fixture
from tests.training.makers import SIZE, settings


def test_a_training_starts_from_somebody_else(subject, caplog):  # noqa: F811
    """Another start is another run; the file names the person, and no path."""
    first = run(subject)
    args = train.build_parser().parse_args(
        words(subject, "second.pt", "samples.parquet", "identity.npz", "--start-from", str(subject / "avatar.pt"))
    )
    args.settings = settings(start_from=str(subject / "avatar.pt"), images=4)
    with caplog.at_level("INFO"):
        train.run(args)
    assert "starting from the networks of 'x', after 40 images" in caplog.text
    second = torch.load(subject / "second.pt", weights_only=True)
    assert second["started_from"] == "x (not stated)" and not first["started_from"]
    train.with_consent(subject / "second.pt", "self", subject / "stated.pt")
    assert Avatar.load(subject / "stated.pt").consent == "self; started from x (not stated)"
    assert second["settings"]["start_from"] == ""
    assert second["history"][-1]["val_full_db"] > first["history"][-1]["val_full_db"] - 3
    fresh = run(subject, "fresh.pt", images=4)
    assert fresh["history"][-1]["val_full_db"] < second["history"][-1]["val_full_db"]


@pytest.mark.parametrize(
    ("changes", "size_px", "sentence"),
    [
        ({"net_face_bases": 2}, SIZE, r"other networks \(net_face_bases 0 instead of 2\)"),
        ({}, 64, "size_px 32 instead of 64"),
        ({"net_free_maps": False}, SIZE, "other networks|net_free_maps cannot learn"),
    ],
)
def test_a_start_with_other_networks_is_refused(subject, changes, size_px, sentence):  # noqa: F811
    run(subject)
    assert read_start(subject / "avatar.pt", settings(seed=3, net_disc_patch_px=16), SIZE, "facemesh")["subject"] == "x"
    with pytest.raises(UserError, match=sentence):
        read_start(subject / "avatar.pt", settings(**changes), size_px, "facemesh")


def test_a_damaged_start_is_refused(subject, tmp_path):  # noqa: F811
    content = run(subject)
    content["maps"]["face"]["feature"][0, 0, 0, 0] = np.nan
    torch.save(content, tmp_path / "nan.pt")
    (tmp_path / "text.pt").write_text("text")
    for name in ("nan.pt", "text.pt", "absent.pt"):
        with pytest.raises(UserError, match=name):
            read_start(tmp_path / name, settings(), SIZE, "facemesh")


def test_a_start_with_another_face_model_is_refused(subject):  # noqa: F811
    """Its map of the face is laid out otherwise: what lies on the lips there lies on the forehead here."""
    run(subject)
    with pytest.raises(UserError, match="face model 'facemesh' instead of flame"):
        read_start(subject / "avatar.pt", settings(), SIZE, "flame")


def test_a_start_that_the_new_file_could_not_name_is_refused_before_the_training(subject, tmp_path):  # noqa: F811
    """Either text is allowed by itself; the finished avatar would not load."""
    content = run(subject) | {"subject": "s" * 4000, "consent": "c" * 4000}
    torch.save(content, tmp_path / "long.pt")
    with pytest.raises(UserError, match="room for 4096"):
        read_start(tmp_path / "long.pt", settings(), SIZE, "facemesh")
