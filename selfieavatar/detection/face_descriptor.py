"""Describe faces by dlib's face recognition network, without torch, whose import takes seconds and 0.7 GB.

The network is that of `selfieavatar.networks.face_resnet`, a ResNet of 29 convolutions (King 2017): the layers of
`anet_type` in dlib's tools/python/src/face_recognition.cpp. Its authors take two faces whose descriptors are less than
0.6 (Euclidean) apart for one person's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from selfieavatar.errors import UserError
from selfieavatar.io.dlib_file import Layer, read_dlib_layers
from selfieavatar.settings.packaged import packaged_path
from selfieavatar.video.window import cut_window

CHIP_PX = 150  # of the faces that it sees, upright
# Side of the square that dlib cuts out (get_face_chip_details, padding 0.25) over the longer side of MediaPipe's mesh:
# 1.03 to 1.13 on 13 images of 8 people, the centres at most 7 % of the square apart, and nearly the same in the median.
CHIP_SCALE = 1.1
DESCRIPTOR = 128
MEAN, SCALE = (122.782, 117.001, 104.298), 256.0  # the network sees (colour of 0 to 255 - MEAN) / SCALE
# Channels and blocks of each stage; the first block of all but the first halves the resolution.
STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


def block_shapes() -> list[list[tuple[int, int, bool]]]:
    """List the blocks of each stage: channels in, channels out, whether it halves the resolution."""
    stages: list[list[tuple[int, int, bool]]] = []
    channels = STAGES[0][0]
    for number, (out, blocks) in enumerate(STAGES):
        halves = [number > 0 and block == 0 for block in range(blocks)]
        stages.append([(channels if half else out, out, half) for half in halves])
        channels = out
    return stages


def packaged_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Read weight (O, I, k, k) and bias (O,), float32, of each convolution in order; affine layers are folded in.

    Raises:
        UserError: the package that holds them is missing, or its file is another.
    """
    path = packaged_path("dlib_face")
    shapes: list[tuple[int, ...]] = [(STAGES[0][0], 3, 7, 2, 0)]  # channels out and in, kernel, stride, padding
    for channels, out, half in (block for stage in block_shapes() for block in stage):
        shapes += [(out, channels, 3, *((2, 0) if half else (1, 1))), (out, out, 3, 1, 1)]
    try:
        layers = [layer for layer in read_dlib_layers(path) if layer.name in ("con_4", "affine_", "fc_2")]
        return _folded(layers, shapes)
    except ValueError as error:
        raise UserError(f"{path} does not hold dlib's face recognition network: {error}") from None


def _folded(layers: list[Layer], shapes: list[tuple[int, ...]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fold each affine layer into the convolution before it; ValueError where the layers are of another network."""
    if [layer.name for layer in layers] != ["con_4", "affine_"] * len(shapes) + ["fc_2"]:
        raise ValueError("its layers are others")
    folded = []
    for (out, channels, side, *steps), filters, affine in zip(shapes, layers[:-1:2], layers[1:-1:2], strict=True):
        shape = (out, channels, side, side)
        form = (out, side, side, *np.repeat(steps, 2).tolist(), shape)
        values, gain_offset = filters.fields[0], affine.fields[0]
        if filters.fields[1:9] != form or values.size != np.prod(shape) + out or gain_offset.size != 2 * out:
            raise ValueError(f"a layer is not of the form {form}")
        gain, offset = gain_offset.reshape(2, out).astype(np.float32)
        weight = values[:-out].reshape(shape).astype(np.float32) * gain[:, None, None, None]
        folded.append((weight, values[-out:].astype(np.float32) * gain + offset))
    last, channels = layers[-1].fields[2], STAGES[-1][0]
    if last.size != channels * DESCRIPTOR:
        raise ValueError("the descriptor has another length")
    weight = last.reshape(channels, DESCRIPTOR).T.astype(np.float32)[..., None, None]
    return [*folded, (weight, np.zeros(DESCRIPTOR, np.float32))]


class FaceDescriptor:
    """Map faces to descriptors; a face takes some 20 ms of one core."""

    def __init__(self) -> None:
        self._weights = [(weight.reshape(len(weight), -1).T, bias) for weight, bias in packaged_weights()]

    def __call__(self, chip: np.ndarray) -> np.ndarray:
        """Describe a face (150, 150, 3) uint8 RGB: (128,) float32."""
        weights = iter(self._weights)
        colours = (chip.astype(np.float32) - np.array(MEAN, np.float32)) / SCALE
        x = np.maximum(_convolved(colours, 7, 2, weights), 0)
        x = _windows(x, 3, 2).max((3, 4))
        for _, _, halves in (block for stage in block_shapes() for block in stage):
            y = np.pad(x, ((1, 1), (1, 1), (0, 0))) if not halves else x
            y = np.maximum(_convolved(y, 3, 2 if halves else 1, weights), 0)
            y = _convolved(np.pad(y, ((1, 1), (1, 1), (0, 0))), 3, 1, weights)
            if halves:
                rows, columns = np.array(x.shape[:2]) // 2
                x = x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, -1).mean((1, 3))
            # The halved input may have fewer channels, and one row and column more: what is missing counts as 0.
            total = np.zeros(np.maximum(x.shape, y.shape), np.float32)
            for part in (x, y):
                total[: part.shape[0], : part.shape[1], : part.shape[2]] += part
            x = np.maximum(total, 0)
        return _convolved(x.mean((0, 1), keepdims=True), 1, 1, weights).ravel()


def face_chip(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut the face in a box (4,) out of an image (H, W, 3) uint8 as the network wants it, (150, 150, 3)."""
    side = CHIP_SCALE * max(box[3] - box[1], 1)
    x0, y0 = (box[:2] + box[2:]) / 2 - side / 2
    return cut_window(image, (x0, y0, side), CHIP_PX)


def _windows(x: np.ndarray, side: int, stride: int) -> np.ndarray:
    """View the windows of (H, W, C) as (h, w, C, side, side)."""
    view = sliding_window_view(x, (side, side), axis=(0, 1))  # type: ignore[call-overload]  # two axes are fine
    return view[::stride, ::stride]


def _convolved(x: np.ndarray, side: int, stride: int, weights: Iterator[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Convolve (H, W, I) by the next weight (I side side, O) and bias (O,): (h, w, O)."""
    weight, bias = next(weights)
    windows = _windows(x, side, stride)
    return (windows.reshape(-1, len(weight)) @ weight + bias).reshape(*windows.shape[:2], -1)
