"""A video with a flash and a beep at the same moment."""

from fractions import Fraction

import av
import numpy as np

FLASH_S, RATE = 1.2, 44100
LEAD = RATE // 25


def flash_and_beep(path, start_s=0.0, size=64):
    """Two seconds from `start_s` (whole frames) on, in Matroska; the sound begins a frame before the images."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        time = np.arange(-LEAD, 2 * RATE) / RATE
        wave = np.where((time >= FLASH_S) & (time < FLASH_S + 0.1), np.sin(2 * np.pi * 880 * time), 0)
        for start in range(0, len(wave), 1024):
            part = (wave[None, start : start + 1024] * 20000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = start + round(start_s * RATE)
            container.mux(sound.encode(frame))
        for number in range(50):
            value = 255 if number == round(FLASH_S * 25) else 0
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), value, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round((number / 25 + start_s) * 1000) + 40, Fraction(1, 1000)
            container.mux(video.encode(frame))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    return path
