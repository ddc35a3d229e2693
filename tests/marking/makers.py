"""A made-up avatar's name, and a image smooth and lively enough to hold a watermark."""

import io

import av
import cv2
import numpy as np

from selfieavatar.marking.facts import Origin

ANNA = Origin("anna", "written", "0123456789abcdef")


def lively_image(size=128, seed=0):
    """Smooth colours with some grain, (size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(30, 220, (6, 6, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 3, coarse.shape), 0, 255).astype(np.uint8)


def lively_video(size=128, count=12):
    """A image that wanders by a pixel a frame."""
    wide = lively_image(size + count, 1)
    return [wide[k : k + size, k : k + size] for k in range(count)]


def through_h264(images, crf=18):
    """Encode the images as H.264 and decode them again."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "veryfast"}
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def halved(images):
    """Scale the images to half their size."""
    return [cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for one in images]
