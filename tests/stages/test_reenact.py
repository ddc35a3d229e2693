"""The command on a tiny avatar and a made-up driver: what is written, marked, kept in time, and refused."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from selfieavatar.detection import landmarks
from selfieavatar.detection.landmarks import Detection
from selfieavatar.errors import UserError
from selfieavatar.io.images import read_image
from selfieavatar.marking.facts import PAINTED
from selfieavatar.marking.reading import read_marks
from selfieavatar.settings.sections import Reenact
from stages import reenact
from tests.fitting import makers
from tests.stages.test_reenact_clip import SIZE, made  # noqa: F401 - the fixture of a tiny avatar
from tests.video.flash import flash_and_beep

FRAMES, LOST = 50, range(20, 32)


class Sees:
    """A detector that sees a made-up face that moves, but for some frames."""

    set_name = "mediapipe478"

    def __init__(self):
        self.points, self.depth = makers.landmarks(makers.model(), *makers.movement(FRAMES, 4))
        self.number = -1

    def detect(self, image):
        self.number += 1
        if self.number in LOST:
            return None
        points = (self.points[self.number] / makers.SIZE * image.shape[0]).astype(np.float32)
        return Detection(points, self.depth[self.number].astype(np.float32), 1.0)

    def close(self):
        pass


@pytest.fixture
def driver(tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "MediaPipeDetector", Sees)
    return flash_and_beep(tmp_path / "driver.mkv", size=128)


def arguments(made, driver, out, *more):  # noqa: F811
    command = ["--avatar", str(made / "avatar.pt"), "--driver", str(driver), "--out", str(out), "--threads", "1", *more]
    args = reenact.build_parser().parse_args(command)
    args.settings = Reenact(batch_size=16)
    return args


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_a_video_comes_out_with_sound_and_marks(made, driver, tmp_path, caplog, ending):  # noqa: F811
    out = tmp_path / f"x{ending}"
    with caplog.at_level("INFO"):
        reenact.run(arguments(made, driver, out))
    assert (
        "50 frames, 12 of them without a face; 12 hold the last motion" in caplog.text
        and "consent: not stated" in caplog.text
    )
    with av.open(str(out)) as container:
        assert container.streams.audio and float(container.streams.video[0].average_rate) == pytest.approx(25, rel=0.01)
        times = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(FRAMES) / 25, atol=2e-3)
    marks = read_marks(out)
    assert (marks.facts.subject, marks.facts.kind) == ("anna", PAINTED)
    assert (marks.credentials is not None) == (ending == ".mp4")


@pytest.mark.parametrize("heard", [False, True])
def test_a_pause_of_the_driver_is_left_out_unless_its_sound_goes_on(made, driver, tmp_path, caplog, heard):  # noqa: F811
    """The driver's images stop for a minute after frame 24."""
    times = [40 * number + 60_000 * (number > 24) for number in range(FRAMES)]
    path, out = tmp_path / "paused.mkv", tmp_path / "x.mp4"
    with av.open(str(driver)) as read, av.open(str(path), "w") as written:
        tracks = {"video": written.add_stream("libx264", rate=25, options={"bf": "0"})}
        tracks["video"].width = tracks["video"].height = 128
        tracks["video"].codec_context.time_base = Fraction(1, 1000)
        if heard:
            tracks["audio"] = written.add_stream_from_template(read.streams.audio[0])
        number = 0
        for packet in read.demux():
            if packet.stream.type == "video":
                for frame in packet.decode():
                    frame.pts, frame.time_base = times[number], Fraction(1, 1000)
                    written.mux(tracks["video"].encode(frame))
                    number += 1
            elif heard and packet.size:
                packet.stream = tracks["audio"]
                written.mux(packet)
        written.mux(tracks["video"].encode(None))
    with caplog.at_level("INFO"):
        reenact.run(arguments(made, path, out))
    with av.open(str(out)) as container:
        found = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(found, np.array(times) / 1000 if heard else np.arange(FRAMES) / 25, atol=2e-3)
    assert ("pauses stay in the video, since its sound" in caplog.text) == heard
    assert ("pauses are left out of the video" in caplog.text) != heard
    assert "nor in videos" not in caplog.text


@pytest.mark.slow
def test_a_folder_holds_marked_images_with_alpha(made, driver, tmp_path):  # noqa: F811
    import cv2

    reenact.run(arguments(made, driver, tmp_path / "frames", "--alpha", "--no-label"))
    images = sorted((tmp_path / "frames").iterdir())
    assert len(images) == FRAMES and cv2.imread(str(images[0]), cv2.IMREAD_UNCHANGED).shape == (SIZE, SIZE, 4)
    assert read_marks(images[7]).credentials.signature == "valid, untrusted"
    held = [read_image(images[number]) for number in (19, *LOST)]
    assert all((image == held[0]).all() for image in held), "the last motion holds"


@pytest.mark.slow
def test_the_consent_of_the_avatar_travels(made, driver, tmp_path):  # noqa: F811
    path = tmp_path / "avatar.pt"
    torch.save(torch.load(made / "avatar.pt", weights_only=True) | {"consent": "written"}, path)
    args = arguments(made, driver, tmp_path / "x.mp4")
    args.avatar = path
    reenact.run(args)
    assert read_marks(tmp_path / "x.mp4").facts.consent == "written"


@pytest.mark.parametrize(
    "what, said",
    [("absent", "is missing"), ("ending", "no ending"), ("itself", "is the driver itself"), ("version", "reads format"),
     ("text", "driver.txt"), ("key", "key to sign by"), ("below a file", "cannot write into")],
)  # fmt: skip
def test_what_cannot_be_is_said_before_time_is_spent(made, driver, tmp_path, monkeypatch, what, said):  # noqa: F811
    monkeypatch.setattr(Sees, "detect", None)
    args = arguments(made, driver, tmp_path / "out.mp4")
    if what == "absent":
        args.driver = tmp_path / "absent.mp4"
    elif what == "ending":
        args.out = tmp_path / "x.gif"
    elif what == "itself":
        args.driver = args.out = driver.rename(tmp_path / "driver.mp4")
    elif what == "version":
        content = torch.load(args.avatar, weights_only=True)
        args.avatar = tmp_path / "old.pt"
        torch.save(content | {"format": 2}, args.avatar)
    elif what == "text":
        args.driver = tmp_path / "driver.txt"
        args.driver.write_text("no video")
    elif what == "key":
        args.signing_key = str(tmp_path / "absent.pem")
    elif what == "below a file":
        args.out = driver / "x.mp4"
    with pytest.raises(UserError, match=said):
        reenact.run(args)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(made, driver, tmp_path):  # noqa: F811
    (tmp_path / "shut").mkdir(mode=0o500)
    with pytest.raises(UserError, match="cannot write into"):
        reenact.run(arguments(made, driver, tmp_path / "shut" / "x.mp4"))


def test_a_video_without_a_face_is_refused(made, driver, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(Sees, "detect", lambda self, image: None)
    with pytest.raises(UserError, match="shows a face"):
        reenact.run(arguments(made, driver, tmp_path / "x.mp4"))
    assert not (tmp_path / "x.mp4").exists()
