"""Convert decoded frames to upright 8-bit sRGB: YUV matrix, range, alpha, rotation, pixel aspect, HDR tone mapping."""

import logging

import av
import cv2
import numpy as np

from selfieavatar.io.images import over_white

log = logging.getLogger(__name__)

PQ, HLG = 16, 18  # ITU-T H.273 transfer characteristics: SMPTE ST 2084, ARIB STD-B67
_BT709_PRIMARIES, _BT2020_PRIMARIES, _P3_PRIMARIES = 1, 9, 12
_WIDE_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_OTHER_TRANSFERS = {8, 9, 10, 17}  # linear, logarithmic, SMPTE ST 428
_UNSPECIFIED = 2
_ITU709, _FCC, _ITU601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9  # swscale's numbers, which follow H.273
_MATRIX = {1: _ITU709, 4: _FCC, 5: _ITU601, 6: _ITU601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}
_RANGE_LIMITED, _RANGE_FULL = 1, 2
REFERENCE_WHITE_NITS = 203.0  # ITU-R BT.2408: diffuse white of HDR programmes
_PEAK_NITS = 1000.0
# ITU-R BT.2087: linear BT.2020 RGB to linear BT.709 RGB
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)
# SMPTE EG 432-1 (P3 with the white D65) to BT.709, both linear, from their chromaticities
_P3_TO_BT709 = np.array([[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]], dtype=np.float32)
# An HDR video that names no primaries has those of ITU-R BT.2100.
_TO_BT709 = {_BT2020_PRIMARIES: _BT2020_TO_BT709, _UNSPECIFIED: _BT2020_TO_BT709, _P3_PRIMARIES: _P3_TO_BT709}


def is_hdr(frame) -> bool:
    """Tell whether the transfer characteristic of a frame is PQ or HLG."""
    return int(frame.color_trc) in (PQ, HLG)


_READS_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these pass over the alpha


def decoder(stream):
    """Choose the decoder of a PyAV stream: its own, or one that reads the alpha channel which the file announces."""
    context = stream.codec_context
    name = _READS_ALPHA.get(context.name)
    if name is None or {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") != "1":
        return context
    try:
        return av.CodecContext.create(name, "r")
    except ValueError:  # av.codec.UnknownCodecError
        log.warning("this PyAV has no %s: the alpha channel is not read, and what lies under it shows", name)
        return context


def has_alpha(frame) -> bool:
    """Tell whether a PyAV frame may be transparent in places; the colours of a palette may be, too."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def shows_transparency(frame) -> bool:
    """Tell whether anything is transparent in a frame."""
    return bool((frame.reformat(format="rgba").to_ndarray()[..., 3] < 255).any())


def frame_to_alpha(frame) -> np.ndarray:
    """Convert the alpha of a PyAV frame to a grey image (H, W, 3) uint8, 255 where it is opaque."""
    return np.repeat(frame.reformat(format="rgba").to_ndarray()[..., 3:], 3, axis=2)


def _matrix(frame) -> int:
    """Choose the matrix of a frame, as swscale numbers it.

    A stream without a named matrix is read as BT.709 from 1280x720 on and as BT.601 below, as players do; swscale's
    default of BT.601 for all would tint faces in HD footage.
    """
    hd = max(frame.width, frame.height) >= 1280 or min(frame.width, frame.height) > 576
    return _MATRIX.get(int(frame.colorspace), _BT2020 if is_hdr(frame) else _ITU709 if hd else _ITU601)


def _is_full(frame) -> bool:
    return int(frame.color_range) == _RANGE_FULL or frame.format.name.startswith("yuvj")


def _is_limited_rgb(frame) -> bool:
    return frame.format.is_rgb and not frame.format.has_palette and int(frame.color_range) == _RANGE_LIMITED


def frame_to_rgb(frame) -> np.ndarray:
    """Convert a PyAV frame from YUV to RGB (H, W, 3): uint8, or uint16 in the file's own transfer if it is HDR.

    Transparent frames are laid over white.
    """
    transparent = has_alpha(frame)
    name = ("rgba64le" if transparent else "rgb48le") if is_hdr(frame) else ("rgba" if transparent else "rgb24")
    if frame.format.is_rgb or frame.format.name.startswith(("pal", "mono")):
        image = frame.reformat(format=name).to_ndarray()  # no matrix to choose
        if _is_limited_rgb(frame):  # swscale takes any RGB for full range
            image[..., :3] = _stretched(image[..., :3])
    elif frame.format.name.startswith(("gray", "ya")):
        image = frame.reformat(format=name).to_ndarray()
        if not _is_full(frame):  # swscale takes any grey for full range
            image[..., :3] = _stretched(image[..., :3])
    else:
        matrix = _matrix(frame)
        converted = frame.reformat(
            format=name,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=_RANGE_FULL if _is_full(frame) else _RANGE_LIMITED,
            dst_color_range=_RANGE_FULL,
        )
        image = converted.to_ndarray()
    return over_white(image[..., :3], image[..., 3]) if transparent else image


def _stretched(image: np.ndarray) -> np.ndarray:
    """Stretch limited range (16 to 235 of 255) to full, uint8 or uint16."""
    top = float(np.iinfo(image.dtype).max)
    codes = np.arange(top + 1)
    return np.rint(np.clip((codes - top * 16 / 255) * 255 / 219, 0, top)).astype(image.dtype)[image]


def remarks(frame) -> list[str]:
    """Say, a sentence each, what the first frame leaves open about its image, or asks for and does not get."""
    matrix, name = int(frame.colorspace), frame.format.name
    primaries = int(frame.color_primaries)
    skewed = min(_turned(frame)) > 0.02 * max(_turned(frame))
    found = ["it is to be turned by no right angle: the nearest is taken"] if skewed else []
    if is_hdr(frame) and primaries == _UNSPECIFIED:
        found.append("it is HDR and names no colour primaries: BT.2020 is taken")
    elif is_hdr(frame) and primaries not in {*_TO_BT709, _BT709_PRIMARIES}:
        found.append(f"its HDR colour primaries (number {primaries} of ITU-T H.273) are not converted: BT.709 is taken")
    if _is_limited_rgb(frame):
        found.append("it says that its RGB has limited range: stretched to full")
    if frame.format.is_rgb or name.startswith(("pal", "mono")):
        return found
    grey = name.startswith(("gray", "ya"))
    read_as = {_ITU709: "BT.709", _ITU601: "BT.601", _BT2020: "BT.2020"}.get(_matrix(frame), "named")
    silent = ["matrix"] * (matrix == _UNSPECIFIED and not grey) + ["range"] * (not int(frame.color_range))
    if silent:
        taken = {"matrix": read_as, "range": "full" if _is_full(frame) else "limited"}
        found.append(f"it names no colour {' and '.join(silent)}: {', '.join(taken[s] for s in silent)} is taken")
    if matrix not in _MATRIX and matrix != _UNSPECIFIED and not grey:
        found.append(f"its colour matrix (number {matrix} of ITU-T H.273) is not known: {read_as} is taken")
    if name.startswith("yuvj") and int(frame.color_range) == _RANGE_LIMITED:
        found.append("its pixel format says full range and its colour range limited: full is taken")
    if not is_hdr(frame) and primaries in _WIDE_PRIMARIES:
        found.append(f"its {_WIDE_PRIMARIES[primaries]} colours are taken for BT.709 and get paler")
    if not is_hdr(frame) and int(frame.color_trc) in _OTHER_TRANSFERS:
        found.append(f"its transfer curve (number {int(frame.color_trc)} of ITU-T H.273) is not converted")
    return found


def _display_matrix(frame) -> tuple[int, int, int, int]:
    """Read (a, b, c, d) of a frame's display matrix [a b u; c d v; x y w].

    It maps coded to displayed positions: p' = a p + c q, q' = b p + d q.
    """
    data = next((s for s in frame.side_data if getattr(s.type, "name", "") == "DISPLAYMATRIX"), None)
    a, b, _, c, d = (1, 0, 0, 0, 1) if data is None else np.frombuffer(bytes(data), dtype="<i4")[:5].tolist()
    return a, b, c, d


def _turned(frame) -> tuple[int, int]:
    """Measure how far a frame is to stay as it is, and how far to be turned on its side."""
    a, b, c, d = _display_matrix(frame)
    return max(abs(a), abs(d)), max(abs(b), abs(c))


def orientation(frame) -> tuple[bool, bool, bool]:
    """Read (transpose, flip x, flip y) that makes a frame upright from its display matrix (all eight EXIF cases)."""
    a, b, c, d = _display_matrix(frame)
    stays, turned = _turned(frame)
    return (True, c < 0, b < 0) if turned > stays else (False, a < 0, d < 0)


def orient(image: np.ndarray, steps: tuple[bool, bool, bool]) -> np.ndarray:
    """Apply (transpose, flip x, flip y) to an image (H, W, C)."""
    transpose, flip_x, flip_y = steps
    if transpose:
        image = cv2.transpose(image)
    if flip_x or flip_y:
        image = cv2.flip(image, -1 if flip_x and flip_y else 1 if flip_x else 0)
    return image


def square_pixels(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Compute the (width, height) with square pixels.

    `aspect` is pixel width over height. The short side grows, so that all detail is kept.
    """
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def _pq_to_nits(code: np.ndarray) -> np.ndarray:
    """Apply the SMPTE ST 2084 EOTF: code value in [0,1] to cd/m2."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.power(code, 1 / m2)
    return 10000.0 * np.power(np.maximum(power - c1, 0) / (c2 - c3 * power), 1 / m1)


def _hlg_to_scene(code: np.ndarray) -> np.ndarray:
    """Apply the inverse HLG OETF of ITU-R BT.2100: code value to scene light, both in [0,1]."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(code <= 0.5, code * code / 3, (np.exp((code - c) / a) + b) / 12)


def _compress(light: np.ndarray, peak: float, knee: float = 0.5) -> np.ndarray:
    """Apply a soft-knee curve: identity up to `knee`, then a hyperbola with slope 1 there that reaches 1 at `peak`."""
    room, reach = 1.0 - knee, peak - knee
    over = np.clip(light - knee, 0, reach)
    # over / (1 + over * k) has slope 1 at 0; k makes it equal `room` at `reach`.
    k = 1.0 / room - 1.0 / reach
    return np.where(light <= knee, light, knee + over / (1.0 + over * k))


def tone_map(image: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Tone map an HDR image (H, W, 3) uint16 of PQ or HLG code values to (H, W, 3) uint8 sRGB.

    Diffuse white (203 cd/m2, ITU-R BT.2408) stays a little below full white. Highlights are rolled off up to 1000 cd/m2
    by the largest of the three channels, which keeps the hue. BT.2020 and P3 primaries are converted to BT.709, and
    clipped.
    """
    codes = np.arange(65536, dtype=np.float64) / 65535.0
    if transfer == PQ:
        light = (_pq_to_nits(codes) / REFERENCE_WHITE_NITS).astype(np.float32)[image]
    else:
        scene = _hlg_to_scene(codes).astype(np.float32)[image]
        luminance = scene @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
        # BT.2100 OOTF for a 1000 cd/m2 display, gamma 1.2
        light = scene * np.power(np.maximum(luminance, 1e-6), 0.2)[..., None]
        light *= _PEAK_NITS / REFERENCE_WHITE_NITS
    largest = light.max(axis=-1, keepdims=True)
    light = light * (_compress(largest, _PEAK_NITS / REFERENCE_WHITE_NITS) / np.maximum(largest, 1e-6))
    if primaries in _TO_BT709:
        light = light @ _TO_BT709[primaries].T
    light = np.clip(light, 0.0, 1.0)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.rint(encoded * 255.0).astype(np.uint8)
