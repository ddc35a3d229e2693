"""What leaves is marked, and read back by this program, by c2pa's own reader and, where it is there, by exiftool."""

import io
import json
import shutil
import subprocess
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from c2pa import Reader

from selfieavatar.errors import UserError
from selfieavatar.io.images import encode_jpeg, encode_png
from selfieavatar.marking import xmp
from selfieavatar.marking.credentials import INVALID, read_credentials
from selfieavatar.marking.facts import BESIDE_REAL, NOT_STATED, PAINTED, SOURCE_TYPES, Facts, Origin
from selfieavatar.marking.keys import signing_key
from selfieavatar.marking.label import write_label
from selfieavatar.marking.marker import Marker
from selfieavatar.marking.reading import read_marks
from selfieavatar.settings.marking_section import Marking
from selfieavatar.video.writer import VideoWriter
from tests.marking.makers import ANNA, lively_image, lively_video

TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}


def made(folder, suffix, region=None, label=True, origin=ANNA):
    """A marked file."""
    marker, path = Marker(origin, Marking(label=label)), folder / f"x{suffix}"
    if suffix == ".mp4":
        with VideoWriter(path, 25, (128, 128), finish=lambda part: marker.seal(part, region, path.name)) as video:
            for image in lively_video():
                video.put(marker.paint(image))
    else:
        encode = encode_png if suffix == ".png" else lambda image: encode_jpeg(image, 999)
        path.write_bytes(marker.sealed(encode(marker.paint(lively_image())), region))
    return path


@pytest.mark.parametrize("suffix", TYPES)
@pytest.mark.parametrize("region", [None, (0, 0, 128, 128)])
def test_every_mark_is_read_back(tmp_path, suffix, region):
    path = made(tmp_path, suffix, region)
    assert list(tmp_path.iterdir()) == [path]
    marks = read_marks(path)
    kind = BESIDE_REAL if region else PAINTED
    wanted = Facts("anna", "0123456789abcdef", "written", kind, region)
    assert (marks.credentials.facts, marks.xmp, marks.facts) == (wanted, wanted, wanted)
    assert marks.credentials.signature == "valid, untrusted" and marks.credentials.problems == ()
    assert marks.watermark is True and marks.found and not marks.broken
    said = "\n".join(marks.in_words())
    assert "SYNTHETIC" in said and "anna" in said and "consent: written" in said and "untrusted" in said


@pytest.mark.parametrize("suffix", TYPES)
def test_the_reader_of_c2pa_confirms_it(tmp_path, suffix):
    data = made(tmp_path, suffix).read_bytes()
    with Reader(TYPES[suffix], io.BytesIO(data)) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    actions = next(one for one in manifest["assertions"] if one["label"] == "c2pa.actions.v2")["data"]["actions"]
    assert [(one["action"], one["digitalSourceType"]) for one in actions] == [("c2pa.created", SOURCE_TYPES + PAINTED)]
    assert "thumbnail" not in manifest, "which would cost time"


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
@pytest.mark.parametrize("suffix", TYPES)
def test_exiftool_confirms_it(tmp_path, suffix):
    path = made(tmp_path, suffix, (0, 0, 64, 64))
    [said] = json.loads(subprocess.run(["exiftool", "-j", "-G1", path], capture_output=True, check=True).stdout)
    assert said["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPES + BESIDE_REAL
    assert said["XMP-xmp:CreatorTool"].startswith("selfieavatar ") and said["XMP-sa:Consent"] == "written"
    assert "Warning" not in " ".join(said)


def test_a_key_that_is_vouched_for_is_trusted(tmp_path):
    marks = read_marks(made(tmp_path, ".png"), anchors=signing_key().chain)
    assert marks.credentials.signature == "trusted"


@pytest.mark.parametrize("suffix", TYPES)
def test_what_was_changed_after_it_was_signed_is_broken(tmp_path, suffix):
    path = made(tmp_path, suffix)
    data = bytearray(path.read_bytes())
    at = (
        data.find(b"mdat") + 600
        if suffix == ".mp4"
        else data.find(b"IDAT") - 12
        if suffix == ".png"
        else len(data) - 60
    )
    data[at] ^= 1
    path.write_bytes(data)
    marks = read_marks(path)
    assert marks.broken and marks.credentials.problems
    assert "changed after it was signed" in "\n".join(marks.in_words())


def test_without_metadata_the_watermark_still_tells(tmp_path):
    path = made(tmp_path, ".png")
    bare = tmp_path / "bare.png"
    cv2.imwrite(str(bare), cv2.imread(str(path)))
    marks = read_marks(bare)
    assert (marks.credentials, marks.xmp, marks.watermark) == (None, None, True)
    assert marks.in_words()[0] == "SYNTHETIC by its watermark alone"


def test_footage_is_not_called_synthetic(tmp_path):
    path = tmp_path / "truth.png"
    path.write_bytes(encode_png(lively_image()))
    marks = read_marks(path)
    assert not marks.found and marks.in_words() == ["no mark found; that does not say where it comes from"]


def test_a_signed_photo_of_a_camera_is_not_called_synthetic(tmp_path):
    from selfieavatar.marking import credentials

    real = Facts("", "", "", "digitalCapture")
    path = tmp_path / "photo.png"
    path.write_bytes(credentials.sign_bytes(encode_png(lively_image()), real, signing_key(), "image/png"))
    marks = read_marks(path)
    assert not marks.found and marks.in_words()[0] == "not said to be synthetic"


def test_an_avatar_from_before_says_that_consent_is_not_stated(tmp_path):
    marks = read_marks(made(tmp_path, ".png", origin=Origin("anna", "", "00")))
    assert marks.facts.consent == NOT_STATED


def test_names_that_are_no_text_do_no_harm(tmp_path):
    odd = Origin("a\"b<c>&'\n\x1b[31m" + "x" * 500, "written", "00")
    marks = read_marks(made(tmp_path, ".png", origin=odd))
    assert marks.xmp.subject == marks.credentials.facts.subject == ("a\"b<c>&'[31m" + "x" * 500)[:200]


def test_tags_of_webm_are_read(tmp_path):
    path = tmp_path / "x.webm"
    with av.open(str(path), "w") as container:
        container.metadata.update(Marker(ANNA).tags())
        stream = container.add_stream("libvpx-vp9", rate=25)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(lively_image(), format="rgb24")))
        container.mux(stream.encode(None))
    marks = read_marks(path)
    assert marks.xmp == Facts("anna", "0123456789abcdef", "written") and marks.credentials is None
    assert "signature: none" in "\n".join(marks.in_words())


def test_the_label_is_seen_and_can_be_left_out(tmp_path):
    image = np.full((128, 128, 3), 128, np.uint8)
    changed = np.argwhere((write_label(image) != image).any(2))
    assert changed[:, 0].min() > 100 and changed[:, 1].max() < 110, "it stays in its corner"
    plain, labelled = (Marker(ANNA, Marking(label=on)).paint(image).astype(int) for on in (False, True))
    assert abs(plain - 128).max() < 12 and labelled.max() > 240


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"not a image" * 100])
def test_damaged_files_end_in_one_sentence(tmp_path, data):
    for suffix in (".png", ".mp4"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        with pytest.raises(UserError):
            read_marks(path)


def test_a_file_of_endless_boxes_ends(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\0\0\0\x08ftyp" + bytes(8) * 20_000)
    assert xmp.of_video(path) is None


def test_a_packet_of_one_long_word_is_read_in_no_time():
    start = time.process_time()
    assert xmp.facts_of(b"a" * (1 << 16)) is None
    assert time.process_time() - start < 2


def test_signed_statements_of_another_form_do_no_harm(tmp_path, monkeypatch):
    path, store = made(tmp_path, ".png"), '{"active_manifest": "a", "manifests": {"a": %s}}'
    listed = '{"assertions": [{"label": "c2pa.actions", "data": [1]}]}'
    for told in ("[]", "[" * 100_000, store % "[1]", store % '{"assertions": [1]}', store % listed):
        monkeypatch.setattr(Reader, "json", lambda _reader, told=told: told)
        found = read_credentials(path)
        assert found.facts is None and found.signature == INVALID and found.problems


def test_nothing_is_left_where_a_file_cannot_be_signed(tmp_path):
    path = Path(tmp_path / "x.mp4")

    def fails(part):
        raise UserError("cannot be signed")

    with pytest.raises(UserError), VideoWriter(path, 25, (64, 64), finish=fails) as video:
        video.put(np.zeros((64, 64, 3), np.uint8))
    assert not list(tmp_path.iterdir())
