"""Make H.264 whose frames are coded as two fields each (PAFF), as camcorders do and no free encoder does."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def _golomb(value: int) -> str:
    """Write an unsigned Exp-Golomb code, ITU-T H.264 9.1."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _unit(kind: int, bits: str, data: bytes = b"") -> bytes:
    """Write a NAL unit: its bits, aligned, and the bytes after them, with emulation prevention."""
    bits += "0" * (-len(bits) % 8) if data else "1" + "0" * (-(len(bits) + 1) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big") + data + (b"\x80" if data else b"")
    escaped = bytearray()
    for byte in payload:
        if escaped[-2:] == b"\0\0" and byte <= 3:
            escaped.append(3)
        escaped.append(byte)
    return b"\0\0\0\1" + bytes([kind]) + bytes(escaped)


def _field(luma: np.ndarray, number: int, bottom: int) -> bytes:
    """Write a field (16, W) of frame `number` as one I slice of uncompressed macroblocks (I_PCM)."""
    first = number == 0 and not bottom
    header = _golomb(0) + _golomb(7) + _golomb(0) + f"{number % 16:04b}1{bottom}" + (_golomb(0) if first else "")
    header += f"{(2 * number + bottom) % 256:08b}" + ("00" if first else "0") + _golomb(0) + _golomb(1)
    mark, data = _golomb(25), b""  # I_PCM, whose samples begin at a whole byte
    for block in np.split(np.maximum(luma, 4), luma.shape[1] // 16, axis=1):
        data += int(mark.ljust(16, "0"), 2).to_bytes(2, "big") if data else b""
        data += block.astype(np.uint8).tobytes() + bytes([128]) * 128
    return _unit(9, "111") + _unit(0x65 if first else 0x61, header + mark, data)


def write_paff(path: Path, frames: Sequence[np.ndarray], rate: int = 25) -> Path:
    """Write grey frames (32, W) uint8, W a multiple of 16, top field first, as MPEG-TS with one packet a field."""
    width = frames[0].shape[1] // 16
    sequence = f"{77:08b}{0:08b}{30:08b}" + "".join(map(_golomb, (0, 0, 0, 4, 1))) + "0"  # Main profile, level 3
    sequence += _golomb(width - 1) + _golomb(0) + "00100"  # one row of macroblocks a field, fields allowed
    parameters = _golomb(0) * 2 + "00" + _golomb(0) * 3 + "000" + _golomb(0) * 3 + "100"
    units = _unit(0x67, sequence) + _unit(0x68, parameters)
    fields = [_field(frame[row::2], n, row) for n, frame in enumerate(frames) for row in (0, 1)]
    raw = path.with_suffix(".h264")
    raw.write_bytes(units + b"".join(fields))
    with av.open(str(raw)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            packet.stream, packet.time_base = stream, Fraction(1, 2 * rate)
            packet.pts = packet.dts = number
            new.mux(packet)
    return path
