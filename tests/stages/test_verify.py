"""The command: what it prints, and the status with which it ends."""

import json

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.images import encode_png, write_image
from selfieavatar.marking.keys import signing_key
from selfieavatar.marking.marker import Marker
from stages import verify
from tests.marking.makers import ANNA, lively_image


@pytest.fixture
def files(tmp_path):
    marker = Marker(ANNA)
    good = tmp_path / "good.png"
    good.write_bytes(marker.sealed(encode_png(marker.paint(lively_image()))))
    bare, bad = tmp_path / "bare.png", tmp_path / "bad.png"
    bare.write_bytes(encode_png(lively_image()))
    data = bytearray(good.read_bytes())
    data[data.find(b"IDAT") - 12] ^= 1
    bad.write_bytes(data)
    return {"good": good, "bare": bare, "bad": bad}


def status(*arguments):
    args = verify.build_parser().parse_args([str(one) for one in arguments])
    with pytest.raises(SystemExit) as ended:
        verify.run(args)
    return ended.value.code


def test_the_status_tells_marked_from_unmarked_and_broken(files, capsys):
    assert status(files["good"]) == 0
    assert status(files["good"], files["bare"]) == 3
    assert status(files["bare"], files["bad"], files["good"]) == 4
    said = capsys.readouterr().out
    assert "avatar: anna, avatar.pt 0123456789abcdef" in said and "consent: written" in said
    assert "bare.png: no mark found" in said


def test_a_folder_is_looked_through_and_trust_can_be_given(files, tmp_path, capsys):
    roots = tmp_path / "roots.pem"
    roots.write_text(signing_key().chain)
    assert status(tmp_path, "--trust", roots, "--json") == 4
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(told) == 3
    good = next(one for one in told if one["file"].endswith("good.png"))
    assert good["credentials"]["signature"] == "trusted" and good["facts"]["consent"] == "written"


def test_what_cannot_be_read_is_said(tmp_path):
    for arguments in ([tmp_path], [tmp_path, "--trust", tmp_path / "absent.pem"]):
        with pytest.raises(UserError):
            verify.run(verify.build_parser().parse_args([str(one) for one in arguments]))


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path, capsys, caplog):
    write_image(tmp_path / "b.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "a.mp4").write_text("no video")
    assert status(tmp_path, tmp_path / "absent.png") == 2
    assert "b.png: no mark" in capsys.readouterr().out
    assert "a.mp4" in caplog.text and "absent.png is missing" in caplog.text
