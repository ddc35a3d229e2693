"""Open a video file from others: it is known by its content, and names no other file and no address."""

from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from selfieavatar.errors import UserError

# FFmpeg's demuxers of files that hold a video themselves: no playlist, no script, no pattern of names, no text.
_FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "vvc", "av1", "obu", "vc1", "ivf",
    "asf", "flv", "ogg", "mxf", "gxf", "dv", "nut", "rm", "wtv", "mjpeg", "yuv4mpegpipe", "gif", "apng",
)  # fmt: skip
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS), "fflags": "+discardcorrupt"}


def open_container(path: Path) -> InputContainer:
    """Open a file by PyAV as a file, whatever its name looks like.

    Raises:
        UserError: it is a pipe, a device or a folder, of a kind that is not read, or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file (a pipe, a device or a folder): give a video file")
    try:
        return av.open(f"file:{path.absolute()}", options=dict(_OPTIONS))
    except av.error.ArgumentError as error:  # what a format that is not on the list gives
        raise UserError(
            f"{path} is no video file: playlists, scripts, texts, single images and sound are not read; give the video "
            "file itself or a folder of images"
        ) from error
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a video ({getattr(error, 'strerror', None) or error}): it is another file, or "
            "its recording ended before the index was written; give a video file or a folder of images"
        ) from error


def video_tracks(container: InputContainer, path: Path) -> list[VideoStream]:
    """List the video tracks of a file; the first is the one to read.

    Raises:
        UserError: it has none, or no decoder knows the first.
    """
    # A cover image in a sound file also counts as a video stream.
    tracks = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not tracks:
        why = "only sound?" if len(container.streams) else "its recording ended before the index was written"
        raise UserError(f"{path} has no video stream ({why}): give a video file or a folder of images")
    if tracks[0].codec_context is None:
        raise UserError(f"{path} has a codec that FFmpeg does not know: convert it to H.264")
    return tracks
