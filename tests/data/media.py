"""Makers of small test videos and images. Nothing here is stored: every file is made where a test needs it."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from selfieavatar.video.reader import CropReader


def numbered(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Images that carry their number as eight black or white columns, which survive lossy coding."""
    images = []
    for number in range(count):
        bits = np.array([255 if number >> bit & 1 else 0 for bit in range(8)], dtype=np.uint8)
        row = cv2.resize(bits[None], size, interpolation=cv2.INTER_NEAREST)
        images.append(np.repeat(row[..., None], 3, axis=2))
    return images


def read_number(image: np.ndarray) -> int:
    """The number in an image of `numbered`, or in any scaled copy of it."""
    means = [part.mean() for part in np.array_split(image.astype(float), 8, axis=1)]
    return sum(int(mean > 127) << bit for bit, mean in enumerate(means))


def write_video(
    path: Path,
    images: Iterable[np.ndarray],
    fps: float = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    rotation: int | None = None,
    flips: dict[str, bool] | None = None,
    aspect: Fraction | None = None,
    tags: dict[str, int] | None = None,
    matrix: int = 5,
    full_range: bool = False,
) -> Path:
    """Encode (H, W, 3) uint8 RGB images, (H, W, 4) with alpha, or (H, W, 3) uint16 for more than 8 bits.

    times: presentation times in milliseconds (variable frame rate); rotation: display matrix, counter-clockwise
    degrees, flips: its hflip and vflip; aspect: pixel aspect; tags: color_trc, color_primaries, ... of the stream;
    matrix: of the conversion to YUV (5 is BT.601).
    """
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation, **(flips or {}))
        for number, image in enumerate(images):
            name = "rgba" if image.shape[2] == 4 else "rgb24" if image.dtype == np.uint8 else "rgb48le"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=name)
            frame = frame.reformat(
                format=pix_fmt,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=2 if full_range else 1,
            )
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = number, 1 / Fraction(fps).limit_denominator(1001)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A tenth of a second of silence, and no image."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def drawn_face(
    size: tuple[int, int] = (320, 240), center: tuple[float, float] = (160, 110), height: float = 100, mouth=0.1
) -> np.ndarray:
    """A drawn head with shoulders that MediaPipe takes for a person; `height` of the face in px, `mouth` opening."""
    width, tall = size
    image = np.zeros((tall, width, 3), dtype=np.uint8)
    image[:] = (90, 120, 140)
    image[::16] = (70, 100, 120)  # a wall with something on it
    image[:, ::16] = (70, 100, 120)
    scale, (cx, cy) = height / 100, center
    skin, dark = (225, 180, 150), (60, 40, 30)

    def ellipse(x, y, a, b, colour, start=0, end=360):
        middle = (round((cx + x * scale) * 16), round((cy + y * scale) * 16))
        axes = (max(1, round(a * scale * 16)), max(1, round(b * scale * 16)))
        cv2.ellipse(image, middle, axes, 0, start, end, colour, -1, cv2.LINE_AA, 4)

    ellipse(0, 150, 100, 85, (40, 60, 110))  # shoulders
    ellipse(0, 60, 22, 30, (200, 155, 125))  # neck
    ellipse(0, -14, 48, 60, dark)  # hair
    ellipse(0, 4, 40, 54, skin)
    for side in (-1, 1):
        ellipse(side * 17, -18, 10, 2.5, dark)  # brow
        ellipse(side * 17, -8, 8, 4.5, (250, 250, 250))
        ellipse(side * 17, -8, 4, 4.2, (70, 45, 25))
        ellipse(side * 17, -8, 1.8, 1.8, (10, 10, 10))
        ellipse(side * 4, 15, 2, 1.5, (150, 100, 85))  # nostril
    ellipse(0, 8, 5, 8, (215, 165, 138))  # nose
    ellipse(0, 30, 15, 4 + 20 * mouth, (175, 80, 80))
    ellipse(0, 30, 12, 20 * mouth, (60, 20, 25))
    return cv2.GaussianBlur(image, (3, 3), 0.8 * scale)


def read_all(path, start=None, end=None, size=64):
    with CropReader(path, start, end, (0, -8, 64), size) as reader:
        return list(reader), reader


def restamp(source: Path, target: Path, times: Sequence[int]) -> Path:
    """Copy the packets of a video without B-frames, the k-th with the presentation time times[k] in ms.

    Decoding times rise where presentation times do not, as far as the container asks for it.
    """
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        packets = (packet for packet in read.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.dts = max(times[: number + 1]) - 80 if target.suffix == ".mp4" else times[number]
            packet.dts += number if target.suffix == ".mp4" else 0
            packet.pts = times[number]
            written.mux(packet)
    return target
