"""Test that a video is opened as the file that was named, and that nothing else is read."""

import os

import cv2
import pytest

from selfieavatar.errors import UserError
from selfieavatar.video.reader import open_source
from tests.data.media import numbered, write_video

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\nclip.mp4\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1"><BaseURL>clip.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>'
)


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / "clip.mp4", numbered(3))


@pytest.mark.parametrize("name", ["selfie.mp4", "selfie.m3u8", "selfie.sdp", "selfie.mpd", "selfie.txt"])
@pytest.mark.parametrize("text", [HLS, "ffconcat version 1.0\nfile clip.mp4\n", SDP, DASH, "words\n" * 99])
def test_a_text_that_names_another_video_is_refused(clip, capfd, name, text):
    clip.with_name(name).write_text(text)
    with pytest.raises(UserError, match=f"{name} (is no video file|cannot be read as a video)"):
        open_source(clip.with_name(name))
    assert capfd.readouterr() == ("", ""), "the libraries say nothing"


def test_a_single_image_is_no_video(tmp_path):
    (tmp_path / "photo.mp4").write_bytes(cv2.imencode(".png", numbered(2)[1])[1].tobytes())
    with pytest.raises(UserError, match="single images.*folder of images"):
        open_source(tmp_path / "photo.mp4")


def test_a_pattern_of_names_is_one_image(tmp_path):
    for other in ("s0.png", "s1.png", "s%d.png"):
        (tmp_path / other).write_bytes(cv2.imencode(".png", numbered(2)[1])[1].tobytes())
    assert open_source(tmp_path / "s%d.png").count == 1


@pytest.mark.parametrize(
    "name", ["http:/127.0.0.1:9/x.mp4", "concat:clip.mp4", "clip%03d.mp4", "pipe:0", "-", "file:x", "übung \udcff.mp4"]
)
def test_a_name_like_an_address_is_a_file(clip, monkeypatch, name):
    monkeypatch.chdir(clip.parent)
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    clip.rename(name)
    source = open_source(name)
    assert source.count == 3 and len(list(source.read([0, 2]))) == 2


def test_a_pipe_or_a_device_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", "/dev/zero"):
        with pytest.raises(UserError, match="is no file"):
            open_source(path)


def test_several_tracks_are_named(tmp_path, caplog):
    import av

    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, size in zip(streams, ((64, 48), (128, 96)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(3):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(numbered(3, (stream.width, stream.height))[number], format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert open_source(tmp_path / "two.mkv").size == (64, 48)
    assert caplog.text.count("2 video tracks: the first is used, 64x48") == 1
