"""Reads pickled arrays of strangers without running anything in them.

A pickle is a small program, and the published face models come as pickles. Here a GLOBAL never imports anything: it
is looked up in a table of the few names that arrays, SciPy's sparse matrices, chumpy's and torch's arrays need, and
yields an entry of that table that does nothing but check its arguments and remember them. Only afterwards `Plain`
turns what was remembered into NumPy arrays. Everything else is refused.

Python's own `pickle._Unpickler` is used, not the compiled one: its steps that call something (REDUCE, BUILD, NEWOBJ)
can be replaced by strict ones, its memo is a dict that a large index does not blow up, and a file is mostly a few
large buffers, so that it is not slower.

Memory is bounded. One byte of a pickle can make an object of some hundred bytes: their number is limited. A few bytes
can name again what is already there: copies of it, and what lists would become as arrays, are limited to a small
multiple of the file.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from selfieavatar.errors import UserError
from selfieavatar.io.pickled_data import Budget, Entry, Later, Plain, Refused, checked_array

LARGEST_BYTES = 2 << 30
# Steps of a pickle, and those among them that make or keep more than a number or a text (up to some 300 bytes each).
MOST_STEPS, MOST_OBJECTS = 1_000_000, 200_000
_ELEMENT_BYTES = 100  # of a set or dict, for each element


def _refuse(name: str) -> Callable[..., Any]:
    def build(*_: Any) -> Any:
        raise Refused(f"calls {name}")

    return build


def _later(kind: str, *first: Any) -> Callable[..., Later]:
    return lambda *args: Later(kind, *first, *args)


def _reconstructor(cls: Any, *_: Any) -> Later:
    """copyreg._reconstructor of protocols 0 and 1: an empty object of a permitted class."""
    if not isinstance(cls, Entry):
        raise Refused("constructs an object of something that is no class")
    return cls.build()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """_codecs.encode: how Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused(f"calls _codecs.encode with {encoding!r}")
    return text.encode("latin1")


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return {key: value for key, value in _listed(pairs)}


def _listed(items: Any) -> list[Any] | tuple[Any, ...]:
    if type(items) not in (list, tuple):
        raise Refused("makes a set or dict of something that is no list")
    return items


def _table() -> dict[str, Entry]:
    """Full name of each permitted global -> its entry."""
    table: dict[str, Callable[..., Any]] = {
        "numpy.ndarray": _refuse("numpy.ndarray"), "numpy.dtype": _later("dtype"),
        "builtins.object": _refuse("object"), "builtins.bytes": lambda: b"", "builtins.complex": complex,
        "builtins.set": lambda items=(): set(_listed(items)), "collections.OrderedDict": _ordered,
        "builtins.frozenset": lambda items=(): frozenset(_listed(items)),
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
    return {name: Entry(name, build) for name, build in table.items()}


_ENTRIES = _table()


# Steps that make a number or text, or take something off the stack.
_SMALL = {
    getattr(pickle, name)
    for name in "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING "
    "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 GET BINGET "
    "LONG_BINGET APPEND APPENDS SETITEM SETITEMS ADDITEMS POP DUP PROTO STOP FRAME".split()
}


def _counted(step: Callable[[Any], None], makes_object: bool) -> Callable[[Any], None]:
    def counted(reader: _Reader) -> None:
        reader.count(makes_object)
        step(reader)

    return counted


class _Reader(pickle._Unpickler):
    """Unpickler whose stack never holds anything callable but entries of the table."""

    def __init__(self, data: bytes, encoding: str, budget: Budget) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self.budget, self.steps, self.objects = budget, MOST_STEPS, MOST_OBJECTS

    def count(self, makes_object: bool) -> None:
        """Before each step."""
        self.steps -= 1
        self.objects -= makes_object
        if self.steps < 0 or self.objects < 0:
            raise Refused("describes more objects than any model needs")

    def find_class(self, module: str, name: str) -> Entry:
        if self.proto < 3 and self.fix_imports:  # names of Python 2
            module, name = pickle._compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            module = pickle._compat_pickle.IMPORT_MAPPING.get(module, module)
        full = f"{module}.{name}"
        if full.startswith("chumpy.") and full not in _ENTRIES:
            return Entry(full, _later("expression"))
        if full not in _ENTRIES:
            raise Refused(f"asks for {full!r}, which no array needs and which could run foreign code")
        return _ENTRIES[full]

    def get_extension(self, code: int) -> None:
        raise Refused(f"uses extension code {code}")

    def persistent_load(self, pid: Any) -> None:
        raise Refused("refers to objects outside of the file")

    def _call(self, entry: Any, args: Any) -> Any:
        if type(entry) is not Entry or type(args) is not tuple:
            raise Refused("calls something that is no function")
        for value in args:
            if isinstance(value, str | bytes | bytearray):
                self.budget.spend(len(value))
            elif isinstance(value, list | tuple):
                self.budget.spend(_ELEMENT_BYTES * len(value))
        return entry.build(*args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.append(self._call(self.stack.pop(), args))

    def load_newobj(self) -> None:
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        if self.stack.pop():
            raise Refused("calls a constructor with named arguments")
        self.load_reduce()

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._call(klass, tuple(args)))

    def load_build(self) -> None:
        state = self.stack.pop()
        inst = self.stack[-1]
        if type(inst) is not Later or inst.state is not None:
            raise Refused("changes an object that is already complete")
        inst.state = state

    def load_bytearray8(self) -> None:
        # The inherited one allocates what the length says before it looks how much there is.
        self.append(self.read(struct.unpack("<Q", self.read(8))[0]))

    dispatch = dict(pickle._Unpickler.dispatch) | {
        pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj, pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build, pickle.BYTEARRAY8[0]: load_bytearray8,
    }  # fmt: skip
    dispatch = {code: _counted(step, bytes([code]) not in _SMALL) for code, step in dispatch.items()}


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
    except Refused as refusal:
        raise UserError(f"{path} {refusal}; nothing was run, use the file that its authors published") from None
    except Exception as error:  # a damaged pickle raises a dozen different ones
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}); download it again") from error


def _unpickle(data: bytes, encoding: str) -> Any:
    budget = Budget(len(data))
    return Plain(budget)(_Reader(data, encoding, budget).load())


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
    return checked_array(shape, dtype, data[file.tell() :], fortran)


def _read_npz(data: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
            raise Refused("unpacks to more than any model needs")
        return {member.filename.removesuffix(".npy"): _read_npy(archive.read(member)) for member in archive.infolist()}
