"""Reads pickled arrays of strangers without running anything in them.

A pickle is a small program, and the published face models come as pickles. Here a GLOBAL never imports anything: it
is looked up in a table of the few names that arrays, SciPy's sparse matrices, chumpy's and torch's arrays need, and
yields an entry of that table that does nothing but check its arguments and remember them. Only afterwards `_plain`
turns what was remembered into NumPy arrays. Everything else is refused.

Python's own `pickle._Unpickler` is used, not the compiled one: its steps that call something (REDUCE, BUILD, NEWOBJ)
can be replaced by strict ones, its memo is a dict that a large index does not blow up, and a file is mostly a few
large buffers, so that it is not slower. Every allocation is bounded by the size of the file.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from stages.core.errors import UserError

LARGEST_BYTES = 2 << 30
_DTYPE = re.compile(r"[<>=|]?(\?|[biufc](1|2|4|8|16)?|O[48]?|[SUV]\d{1,5}|b1|bool|u?int(8|16|32|64)|float(16|32|64))")


class _Refused(Exception):
    """What is wrong, in words that go on after the name of the file."""


class _Entry:
    """A permitted global. Calling it checks the arguments and returns plain data or a `_Later`."""

    __slots__ = ("name", "build")

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self.name, self.build = name, build


class _Later:
    """An object under construction: its kind, the arguments of its constructor, then the state that BUILD gives."""

    __slots__ = ("kind", "args", "state")

    def __init__(self, kind: str, *args: Any) -> None:
        self.kind, self.args, self.state = kind, args, None


def _refuse(name: str) -> Callable[..., Any]:
    def build(*_: Any) -> Any:
        raise _Refused(f"calls {name}")

    return build


def _later(kind: str, *first: Any) -> Callable[..., _Later]:
    return lambda *args: _Later(kind, *first, *args)


def _reconstructor(cls: Any, *_: Any) -> _Later:
    """copyreg._reconstructor of protocols 0 and 1: an empty object of a permitted class."""
    if not isinstance(cls, _Entry):
        raise _Refused("constructs an object of something that is no class")
    return cls.build()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """_codecs.encode: how Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"calls _codecs.encode with {encoding!r}")
    return text.encode("latin1")


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {key: value for key, value in pairs}


def _table() -> dict[str, _Entry]:
    """Full name of each permitted global -> its entry."""
    table: dict[str, Callable[..., Any]] = {
        "numpy.ndarray": _refuse("numpy.ndarray"), "numpy.dtype": _later("dtype"),
        "builtins.object": _refuse("object"), "builtins.bytes": lambda: b"", "builtins.complex": complex,
        "builtins.set": set, "builtins.frozenset": frozenset, "collections.OrderedDict": _ordered,
        "_codecs.encode": _encode, "copyreg._reconstructor": _reconstructor,
        "chumpy.ch.Ch": _later("chumpy"), "chumpy.reordering.Select": _later("chumpy_select"),
        "torch._utils._rebuild_tensor_v2": _later("tensor"), "torch.storage._load_from_bytes": _later("storage"),
    }  # fmt: skip
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray._reconstruct"] = _later("array")
        table[f"{core}.multiarray.scalar"] = _later("scalar")
        table[f"{core}.numeric._frombuffer"] = _later("buffer")
    for form in ("csc", "csr"):
        for module in (f"scipy.sparse.{form}", f"scipy.sparse._{form}"):
            for container in ("matrix", "array"):
                table[f"{module}.{form}_{container}"] = _later("sparse", form)
    return {name: _Entry(name, build) for name, build in table.items()}


_ENTRIES = _table()


class _Reader(pickle._Unpickler):
    """Unpickler whose stack never holds anything callable but entries of the table."""

    def find_class(self, module: str, name: str) -> _Entry:
        if self.proto < 3 and self.fix_imports:  # names of Python 2
            module, name = pickle._compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            module = pickle._compat_pickle.IMPORT_MAPPING.get(module, module)
        full = f"{module}.{name}"
        if full.startswith("chumpy.") and full not in _ENTRIES:
            return _Entry(full, _later("expression"))
        if full not in _ENTRIES:
            raise _Refused(f"asks for {full!r}, which no array needs and which could run foreign code")
        return _ENTRIES[full]

    def get_extension(self, code: int) -> None:
        raise _Refused(f"uses extension code {code}")

    def persistent_load(self, pid: Any) -> None:
        raise _Refused("refers to objects outside of the file")

    def _call(self, entry: Any, args: Any) -> Any:
        if type(entry) is not _Entry or type(args) is not tuple:
            raise _Refused("calls something that is no function")
        return entry.build(*args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.append(self._call(self.stack.pop(), args))

    def load_newobj(self) -> None:
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        if self.stack.pop():
            raise _Refused("calls a constructor with named arguments")
        self.load_reduce()

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._call(klass, tuple(args)))

    def load_build(self) -> None:
        state = self.stack.pop()
        inst = self.stack[-1]
        if type(inst) is not _Later or inst.state is not None:
            raise _Refused("changes an object that is already complete")
        inst.state = state

    def load_bytearray8(self) -> None:
        # The inherited one allocates what the length says before it looks how much there is.
        self.append(self.read(struct.unpack("<Q", self.read(8))[0]))

    dispatch = dict(pickle._Unpickler.dispatch) | {
        pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj, pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build, pickle.BYTEARRAY8[0]: load_bytearray8,
    }  # fmt: skip


def load_pickle(path: Path | str, encoding: str = "ASCII") -> Any:
    """The content of a pickle file: dicts, lists, scalars and NumPy arrays (sparse matrices stay sparse).

    Args:
        encoding: how strings of Python 2 are read; "latin1" for FLAME.

    Raises:
        UserError: the file is missing, damaged or too large, or asks for anything that is not data.
    """
    path = Path(path)
    return _guarded(path, lambda data: _unpickle(data, encoding))


def load_npy(path: Path | str) -> Any:
    """The content of an .npy file; one that wraps a single object (np.save of a dict) gives that object.

    Raises:
        UserError: as `load_pickle`.
    """
    return _guarded(Path(path), _read_npy)


def load_npz(path: Path | str) -> dict[str, Any]:
    """All arrays of an .npz file.

    Raises:
        UserError: as `load_pickle`, and for one that unpacks to more than `LARGEST_BYTES`.
    """
    return _guarded(Path(path), _read_npz)


def _guarded(path: Path, read: Callable[[bytes], Any]) -> Any:
    if not path.is_file():
        raise UserError(f"the file {path} is missing; put it there, docs/models.md says where it comes from")
    size = path.stat().st_size
    if not 0 < size <= LARGEST_BYTES:
        raise UserError(f"{path} has {size} bytes, which is no model file; download it again")
    try:
        return read(path.read_bytes())
    except _Refused as refusal:
        raise UserError(f"{path} {refusal}; nothing was run, use the file that its authors published") from None
    except Exception as error:  # a damaged pickle raises a dozen different ones
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); download it again") from error


def _unpickle(data: bytes, encoding: str) -> Any:
    return _Plain(len(data))(_Reader(io.BytesIO(data), encoding=encoding).load())


def _read_npy(data: bytes) -> Any:
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        array = _unpickle(data[file.tell() :], "latin1")
        if isinstance(array, np.ndarray) and array.ndim == 0:
            return array.item()
        return array
    return _array(shape, dtype, data[file.tell() :], fortran)


def _read_npz(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
            raise _Refused("unpacks to more than any model needs")
        return {member.filename.removesuffix(".npy"): _read_npy(archive.read(member)) for member in archive.infolist()}


def _array(shape: Any, dtype: np.dtype, data: Any, fortran: Any = False) -> np.ndarray:
    """(shape) array of a buffer of exactly its size; nothing is allocated before that is certain."""
    if type(shape) is not tuple or not all(type(side) is int and side >= 0 for side in shape):
        raise _Refused(f"describes an array of the shape {shape!r}")
    if isinstance(data, str):
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray) or math.prod(shape) * dtype.itemsize != len(data):
        raise _Refused(f"describes an array of {shape} {dtype}, but holds another number of bytes")
    if not dtype.itemsize:
        raise _Refused("describes an array of nothing")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


class _Plain:
    """Turns what a pickle described into plain data; `budget` bounds the numbers that views may blow up to."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.done: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if type(value) is _Entry:
            raise _Refused(f"holds the function {value.name} instead of data")
        if type(value) in (set, frozenset):
            if any(type(item) in (_Later, _Entry) for item in value):
                raise _Refused("holds a set of objects")
            return value
        if type(value) not in (_Later, dict, list, tuple):
            return value
        if id(value) not in self.done:
            self.done[id(value)] = self._made(value)
        return self.done[id(value)]

    def _made(self, value: Any) -> Any:
        if type(value) is _Later:
            if value.kind == "":
                raise _Refused("holds an array that contains itself")
            kind, value.kind = value.kind, ""
            return getattr(self, f"_{kind}")(value, *value.args)
        # Registered before it is filled, as a container may hold itself.
        if type(value) is list:
            self.done[id(value)] = made = []
            made.extend(self(item) for item in value)
            return made
        if type(value) is dict:
            self.done[id(value)] = made = {}
            if any(type(key) in (_Later, _Entry) for key in value):
                raise _Refused("has a key that is no text or number")
            made.update((key, self(item)) for key, item in value.items())
            return made
        return tuple(self(item) for item in value)

    def _dtype(self, later: _Later, code: Any = None, *_: Any) -> np.dtype:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _Refused(f"describes an array of the type {code!r}")
        dtype = np.dtype("O" if code.startswith("O") else code)
        if later.state is not None:
            version, order, *rest = later.state
            if order not in ("<", ">", "|", "=") or any(item is not None for item in rest[:3]):
                raise _Refused("describes an array of records")
            dtype = dtype.newbyteorder(order)
        return dtype

    def _array(self, later: _Later, subtype: Any = None, *_: Any) -> np.ndarray:
        if subtype is not _ENTRIES["numpy.ndarray"]:
            raise _Refused("describes an array of a foreign class")
        if type(later.state) is not tuple or len(later.state) not in (4, 5):
            raise _Refused("describes an array without its content")
        shape, dtype, fortran, data = later.state[-4:]
        dtype = self._checked_dtype(dtype)
        if not dtype.hasobject:
            return _array(shape, dtype, data, fortran)
        if type(shape) is not tuple or type(data) is not list or math.prod(shape) != len(data):
            raise _Refused(f"describes an array of {shape} objects, but holds another number of them")
        array = np.empty(len(data), object)
        for index, item in enumerate(data):
            array[index] = self(item)
        return array.reshape(shape, order="F" if fortran else "C")

    def _checked_dtype(self, dtype: Any) -> np.dtype:
        if type(dtype) is not _Later or (dtype.kind != "dtype" and id(dtype) not in self.done):
            raise _Refused("describes an array without its type")
        dtype = self(dtype)
        if not isinstance(dtype, np.dtype):
            raise _Refused("describes an array without its type")
        return dtype

    def _scalar(self, _: _Later, dtype: Any = None, data: Any = None) -> Any:
        # NumPy's own `scalar` unpickles the bytes of an object: the well-known way round a list of permitted names.
        dtype = self._checked_dtype(dtype)
        if dtype.hasobject:
            raise _Refused("hides an object in a scalar")
        return _array((), dtype, data)[()]

    def _buffer(self, _: _Later, data: Any = None, dtype: Any = None, shape: Any = None, order: Any = "C") -> Any:
        dtype = self._checked_dtype(dtype)
        if dtype.hasobject:
            raise _Refused("hides objects in a buffer")
        return _array(shape, dtype, data, order == "F")

    def _sparse(self, later: _Later, form: str, *_: Any) -> Any:
        from scipy import sparse

        state = self._state(later, f"{form} matrix", "data", "indices", "indptr", "_shape")
        matrix = getattr(sparse, f"{form}_matrix")(
            (state["data"], state["indices"], state["indptr"]), shape=tuple(int(side) for side in state["_shape"])
        )
        matrix.check_format(full_check=True)
        return matrix

    def _chumpy(self, later: _Later, *_: Any) -> np.ndarray:
        return np.asarray(self._state(later, "chumpy array", "x")["x"])

    def _expression(self, later: _Later, *_: Any) -> None:
        """A formula of chumpy's is not computed; who needs its value finds nothing."""

    def _chumpy_select(self, later: _Later, *_: Any) -> np.ndarray:
        state = self._state(later, "chumpy selection", "a", "idxs")
        index = np.asarray(state["idxs"])
        self._spend(index.size)
        picked = np.asarray(state["a"]).ravel()[index]
        return picked.reshape(state.get("preferred_shape", picked.shape))

    def _storage(self, _: _Later, data: Any = None) -> np.ndarray:
        if isinstance(data, str):
            data = data.encode("latin1")
        if not isinstance(data, bytes):
            raise _Refused("holds a tensor without its content")
        import torch  # slow to import, and few files hold tensors

        storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return torch.tensor([], dtype=storage.dtype).set_(storage).numpy()

    def _tensor(
        self, _: _Later, storage: Any = None, offset: Any = 0, size: Any = (), stride: Any = (), *_rest: Any
    ) -> np.ndarray:
        flat, size, stride = self(storage), tuple(size), tuple(stride)
        numbers = (offset, *size, *stride)
        if not isinstance(flat, np.ndarray) or not all(type(n) is int and n >= 0 for n in numbers):
            raise _Refused("holds a tensor without its content")
        self._spend(math.prod(size))
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if math.prod(size) and last >= flat.size:
            raise _Refused(f"describes a tensor of {size}, but holds fewer numbers")
        strides = tuple(step * flat.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, strides, writeable=False).copy()

    def _state(self, later: _Later, what: str, *keys: str) -> dict[str, Any]:
        # SciPy and chumpy pickle their attributes by name; what Python 2 wrote may be bytes.
        state = self(later.state)
        if isinstance(state, dict):
            state = {key.decode("latin1") if isinstance(key, bytes) else key: item for key, item in state.items()}
        missing = [key for key in keys if not isinstance(state, dict) or key not in state]
        if missing:
            raise _Refused(f"holds a {what} without {', '.join(missing)}")
        return state

    def _spend(self, numbers: int) -> None:
        self.budget -= numbers
        if self.budget < 0:
            raise _Refused("describes arrays far larger than itself")
