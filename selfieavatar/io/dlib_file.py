"""Read the layers of a network that dlib has saved (`serialize`), a file that is not trusted.

The format is that of dlib 19's dlib/serialize.h, dlib/cuda/tensor.h, dlib/dnn/core.h and dlib/dnn/layers.h (King 2009):

- a whole number: a control byte (sign in the highest bit, count of bytes in the lowest four), then the bytes, lowest
  first; a real number: mantissa and exponent of 2, two whole numbers; a text: its length, then its bytes
- a tensor: a version, four sides, little-endian float32
- a network: the loss, the versions of all layers from the last to the first, the input, then the layers from the first
  to the last; of each its name, its parameters, three flags and three tensors that only training fills

Nothing is built of what the file says but numbers and arrays over its own bytes, so that memory and time are bounded by
its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfieavatar.errors import UserError

LARGEST_BYTES = 256 << 20  # of a file
MOST_LAYERS = 1000
_LONGEST_NAME = 64
_LARGEST_EXPONENT = 900
# What follows a layer's name: t a tensor, s the shape of a part of it, i a whole, r a real number. Of "con": parameters
# (filters, then biases), count, kernel, stride and padding (rows, columns), shapes of filters and biases, learning
# rates. Of "affine": gain, then offset. Of "fc": outputs, inputs, weights (inputs, outputs), shapes, rates.
_FIELDS = {
    "con_4": "tiiiiiiissrrrr", "affine_": "tssi", "fc_2": "iitssirrrr", "max_pool_2": "iiiiii", "avg_pool_2": "iiiiii",
    "relu_": "", "add_prev_": "",
}  # fmt: skip


class _Damaged(Exception):
    """What is wrong, in words that go on after the name of the file."""


class Layer(NamedTuple):
    """A layer: its name in the file, such as "con_4", and what follows it (`_FIELDS`); tensors are flat float32."""

    name: str
    fields: tuple[Any, ...]


class _Reader:
    """Cursor over the bytes of a file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> int:
        """Pass over some bytes; returns where they begin."""
        start = self.place
        if not 0 <= count <= len(self.data) - start:
            raise _Damaged("ends too early")
        self.place += count
        return start

    def integer(self) -> int:
        control = self.data[self.take(1)]
        size = control & 0x0F
        if control & 0x70 or not 1 <= size <= 8:
            raise _Damaged("has something else where a whole number should be")
        value = int.from_bytes(self.data[self.take(size) : self.place], "little")
        return -value if control & 0x80 else value

    def real(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > _LARGEST_EXPONENT:
            raise _Damaged("has a number that is not finite")
        return math.ldexp(mantissa, exponent)

    def text(self, length: int) -> str:
        if not 0 <= length <= _LONGEST_NAME:
            raise _Damaged(f"has a name of {length} characters")
        return self.data[self.take(length) : self.place].decode("latin1")

    def shape(self, version: int = 1) -> tuple[int, ...]:
        if self.integer() != version:
            raise _Damaged("has a tensor of another version")
        sides = tuple(self.integer() for _ in range(4))
        if min(sides) < 0:
            raise _Damaged("has a tensor with a negative side")
        return sides

    def tensor(self) -> np.ndarray:
        count = math.prod(self.shape(version=2))
        values = np.frombuffer(self.data, "<f4", count, self.take(4 * count)) if count else np.zeros(0, np.float32)
        if not np.isfinite(values).all():
            raise _Damaged("has a weight that is not finite")
        return values

    def flag(self) -> None:
        if self.data[self.take(1)] not in b"01":
            raise _Damaged("has something else where a flag should be")


_READ: dict[str, Callable[[_Reader], Any]] = {
    "t": _Reader.tensor, "s": _Reader.shape, "i": _Reader.integer, "r": _Reader.real,
}  # fmt: skip


def _layer(reader: _Reader, first: bool) -> Layer:
    name = reader.text(reader.integer())
    if name not in _FIELDS:
        raise _Damaged(f"has a layer of an unknown kind, {name!r}")
    fields = tuple(_READ[kind](reader) for kind in _FIELDS[name])
    for _ in range(3):
        reader.flag()
    for _ in range(3):
        reader.tensor()
    if first:  # the layer on the input says how many samples are made of one
        reader.integer()
    return Layer(name, fields)


def _network(reader: _Reader) -> list[Layer]:
    if reader.integer() != 1 or reader.text(reader.integer()) != "loss_metric_2":
        raise _Damaged("is not a network that was trained with the metric loss")
    reader.real(), reader.real()  # margin and threshold
    # The first number that is not the version of a layer is the length of a name.
    length = next((n for _ in range(MOST_LAYERS) if (n := reader.integer()) not in (1, 2, 3)), -1)
    if reader.text(length) != "input_rgb_image_sized":
        raise _Damaged("does not take RGB images of one size")
    for read in (reader.real, reader.real, reader.real, reader.integer, reader.integer):  # mean colour, rows, columns
        read()
    layers: list[Layer] = []
    while reader.place < len(reader.data):
        if len(layers) == MOST_LAYERS:
            raise _Damaged(f"has more than {MOST_LAYERS} layers")
        layers.append(_layer(reader, first=not layers))
    return layers


def read_dlib_layers(path: Path) -> list[Layer]:
    """List the layers of a network with metric loss and RGB input, from the input to the descriptor.

    Raises:
        UserError: the file is missing, too large, damaged or of another network.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise _Damaged(f"is larger than {LARGEST_BYTES >> 20} MiB")
        return _network(_Reader(path.read_bytes()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except _Damaged as error:
        raise UserError(f"{path} cannot be read as a network of dlib: it {error}") from None
