"""Plain data of the objects that a pickle describes (selfieavatar.io.pickles), and how large they may become."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_SHARE, _SPARE_BYTES = 4, 1 << 20  # copies may add up to so many times the file, and a little more
_CHARACTER_BYTES = 4  # in an array of text
_DTYPE = re.compile(r"[<>=|]?(\?|[biufc](1|2|4|8|16)?|O[48]?|[SUV]\d{1,5}|b1|bool|u?int(8|16|32|64)|float(16|32|64))")


class Refused(Exception):
    """What is wrong, in words that go on after the name of the file."""


class Entry:
    """A permitted global. Calling it checks the arguments and returns plain data or a `Later`."""

    __slots__ = ("name", "build")

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self.name, self.build = name, build


class Later:
    """An object under construction: its kind, the arguments of its constructor, then the state that BUILD gives."""

    __slots__ = ("kind", "args", "state")

    def __init__(self, kind: str, *args: Any) -> None:
        self.kind, self.args, self.state = kind, args, None


class Budget:
    """Bytes that copies of what a file of `size` bytes holds may take."""

    def __init__(self, size: int) -> None:
        self.most = self.left = _SHARE * size + _SPARE_BYTES

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Refused("describes data far larger than itself")


def checked_array(shape: Any, dtype: np.dtype, data: Any, fortran: Any = False) -> np.ndarray:
    """(shape) array of a buffer of exactly its size; nothing is allocated before that is certain."""
    if type(shape) is not tuple or not all(type(side) is int and side >= 0 for side in shape):
        raise Refused(f"describes an array of the shape {shape!r}")
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or math.prod(shape) * dtype.itemsize != len(data):
        raise Refused(f"describes an array of {shape} {dtype}, but holds another number of bytes")
    if not dtype.itemsize:
        raise Refused("describes an array of nothing")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


class Plain:
    """Turns what a pickle described into plain data.

    `sizes` say of each container with all that it holds written out the bytes at least, the number of items, and the
    length of the longest text: what it would take as an array. That is bounded like copies, so that a list of lists of
    the same list, or of one long text among many short ones, cannot become one.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.done: dict[int, Any] = {}
        self.sizes: dict[int, tuple[int, int, int]] = {}

    def __call__(self, value: Any) -> Any:
        if type(value) is Entry:
            raise Refused(f"holds the function {value.name} instead of data")
        if type(value) in (set, frozenset):
            if any(type(item) in (Later, Entry) for item in value):
                raise Refused("holds a set of objects")
            return value
        if type(value) not in (Later, dict, list, tuple):
            return value
        if id(value) not in self.done:
            self.done[id(value)] = self._made(value)
        return self.done[id(value)]

    def _made(self, value: Any) -> Any:
        if type(value) is Later:
            if value.kind == "":
                raise Refused("holds an array that contains itself")
            kind, value.kind = value.kind, ""
            return getattr(self, f"_{kind}")(value, *value.args)
        if id(value) in self.sizes:
            raise Refused("holds a list that contains itself")
        self.sizes[id(value)] = 0, 0, 0
        if type(value) is dict:
            if any(type(key) in (Later, Entry) for key in value):
                raise Refused("has a key that is no text or number")
            made = {key: self(item) for key, item in value.items()}
        else:
            made = type(value)(self(item) for item in value)
        items = value.values() if type(value) is dict else value
        sizes, counts, texts = zip((0, 0, 0), *map(self._size, items), strict=True)
        written = (sum(sizes), sum(counts), max(texts))
        # NumPy makes nothing of a dict, and gives each text of a list the room of the longest.
        self.sizes[id(value)] = written = (written[0], 1, 0) if type(value) is dict else written
        if max(written[0], _CHARACTER_BYTES * written[1] * written[2]) > self.budget.most:
            raise Refused("describes data far larger than itself")
        return made

    def _size(self, item: Any) -> tuple[int, int, int]:
        made = self.done.get(id(item), item)
        if isinstance(made, np.ndarray):
            return made.nbytes, made.size, 0
        if isinstance(made, str | bytes | bytearray):
            return len(made), 1, len(made)
        return self.sizes.get(id(item), (1, 1, 0))

    def _dtype(self, later: Later, code: Any = None, *_: Any) -> np.dtype:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise Refused(f"describes an array of the type {code!r}")
        dtype = np.dtype("O" if code.startswith("O") else code)
        if later.state is not None:
            version, order, *rest = later.state
            if order not in ("<", ">", "|", "=") or any(item is not None for item in rest[:3]):
                raise Refused("describes an array of records")
            dtype = dtype.newbyteorder(order)
        return dtype

    def _array(self, later: Later, subtype: Any = None, *_: Any) -> np.ndarray:
        if type(subtype) is not Entry or subtype.name != "numpy.ndarray":
            raise Refused("describes an array of a foreign class")
        if type(later.state) is not tuple or len(later.state) not in (4, 5):
            raise Refused("describes an array without its content")
        shape, dtype, fortran, data = later.state[-4:]
        dtype = self._checked_dtype(dtype)
        if not dtype.hasobject:
            return self._copied(shape, dtype, data, fortran)
        if type(shape) is not tuple or type(data) is not list or math.prod(shape) != len(data):
            raise Refused(f"describes an array of {shape} objects, but holds another number of them")
        self.budget.spend(8 * len(data))
        array = np.empty(len(data), object)
        for index, item in enumerate(data):
            array[index] = self(item)
        return array.reshape(shape, order="F" if fortran else "C")

    def _checked_dtype(self, dtype: Any) -> np.dtype:
        if type(dtype) is not Later or (dtype.kind != "dtype" and id(dtype) not in self.done):
            raise Refused("describes an array without its type")
        dtype = self(dtype)
        if not isinstance(dtype, np.dtype):
            raise Refused("describes an array without its type")
        return dtype

    def _scalar(self, _: Later, dtype: Any = None, data: Any = None) -> Any:
        # NumPy's own `scalar` unpickles the bytes of an object: the well-known way round a list of permitted names.
        dtype = self._checked_dtype(dtype)
        if dtype.hasobject:
            raise Refused("hides an object in a scalar")
        return self._copied((), dtype, data)[()]

    def _buffer(self, _: Later, data: Any = None, dtype: Any = None, shape: Any = None, order: Any = "C") -> Any:
        dtype = self._checked_dtype(dtype)
        if dtype.hasobject:
            raise Refused("hides objects in a buffer")
        return self._copied(shape, dtype, data, order == "F")

    def _copied(self, shape: Any, dtype: np.dtype, data: Any, fortran: Any = False) -> np.ndarray:
        """`checked_array` with a share in the budget where it copies, as the same buffer may serve many arrays."""
        if not isinstance(data, bytes | bytearray) or not dtype.isnative or shape == ():
            self.budget.spend(np.size(data) if not hasattr(data, "__len__") else len(data))
        return checked_array(shape, dtype, data, fortran)

    def _sparse(self, later: Later, form: str, *_: Any) -> Any:
        from scipy import sparse

        state = self._state(later, f"{form} matrix", "data", "indices", "indptr", "_shape")
        for key in ("data", "indices", "indptr"):
            self.budget.spend(self._ndarray(state[key]).nbytes)
        matrix = getattr(sparse, f"{form}_matrix")(
            (state["data"], state["indices"], state["indptr"]), shape=tuple(int(side) for side in state["_shape"])
        )
        matrix.check_format(full_check=True)
        return matrix

    def _chumpy(self, later: Later, *_: Any) -> np.ndarray:
        return self._ndarray(self._state(later, "chumpy array", "x")["x"])

    def _ndarray(self, value: Any) -> np.ndarray:
        if not isinstance(value, np.ndarray):
            raise Refused("holds something else where an array belongs")
        return value

    def _expression(self, later: Later, *_: Any) -> None:
        """A formula of chumpy's is not computed; who needs its value finds nothing."""

    def _chumpy_select(self, later: Later, *_: Any) -> np.ndarray:
        state = self._state(later, "chumpy selection", "a", "idxs")
        index, source = self._ndarray(state["idxs"]), self._ndarray(state["a"])
        self.budget.spend(index.size * source.itemsize + source.nbytes)
        picked = source.ravel()[index]
        return picked.reshape(state.get("preferred_shape", picked.shape))

    def _storage(self, _: Later, data: Any = None) -> np.ndarray:
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(data, bytes) or data.startswith(b"PK"):  # what is pickled is never an archive
            raise Refused("holds a tensor without its content")
        self.budget.spend(len(data))
        import torch  # slow to import, and few files hold tensors

        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return torch.tensor([], dtype=storage.dtype).set_(storage).numpy()

    def _tensor(
        self, _: Later, storage: Any = None, offset: Any = 0, size: Any = (), stride: Any = (), *_rest: Any
    ) -> np.ndarray:
        flat, size, stride = self(storage), tuple(size), tuple(stride)
        numbers = (offset, *size, *stride)
        if not isinstance(flat, np.ndarray) or not all(type(n) is int and n >= 0 for n in numbers):
            raise Refused("holds a tensor without its content")
        self.budget.spend(math.prod(size) * flat.itemsize)
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if math.prod(size) and last >= flat.size:
            raise Refused(f"describes a tensor of {size}, but holds fewer numbers")
        strides = tuple(step * flat.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, strides, writeable=False).copy()

    def _state(self, later: Later, what: str, *keys: str) -> dict[str, Any]:
        # SciPy and chumpy pickle their attributes by name; what Python 2 wrote may be bytes.
        state = self(later.state)
        if isinstance(state, dict):
            state = {key.decode("latin1") if isinstance(key, bytes) else key: item for key, item in state.items()}
        missing = [key for key in keys if not isinstance(state, dict) or key not in state]
        if missing:
            raise Refused(f"holds a {what} without {', '.join(missing)}")
        return state
