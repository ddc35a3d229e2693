"""Read pickled arrays from untrusted files without running anything in them.

The published face models come as pickles, which are small programs. One is read in three steps:

1. `_scan` goes over its opcodes and refuses those that no array needs, too many of them, and keys of dicts and sets
   other than texts and small numbers: hashes of these can neither collide on purpose nor recurse.
2. `_Reader`, a `pickle.Unpickler`, finds stand-ins for the few permitted globals: subclasses of `_Described`, which
   remember their arguments and state and do nothing.
3. `_Plain` makes NumPy arrays of these. It counts items and bytes, as a few bytes can name again what is there already.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from selfieavatar.errors import UserError

LARGEST_BYTES = 2 << 30  # of a file
MOST_STEPS = 200_000  # opcodes; each makes up to 216 bytes (an empty set)
_COPIES, _UNPACKED, _SPARE_BYTES = 4, 20, 1 << 20  # arrays and members of an .npz, as multiples of the file; and more
_LONGEST_NAME = 255  # characters of a text in a list, as NumPy gives each text of an array the room of the longest
_NEEDLESS = set("POP POP_MARK DUP INST OBJ NEWOBJ_EX EXT1 EXT2 EXT4 PERSID NEXT_BUFFER READONLY_BUFFER".split())
_KEYS = {"SETITEM": slice(1, 2), "SETITEMS": slice(0, None, 2), "DICT": slice(0, None, 2)}  # of what an opcode takes
_KEYS |= {"ADDITEMS": slice(None), "FROZENSET": slice(None)}
_DTYPE = re.compile(r"[<>=|]?([biufc]\d{1,2}|O[48]?|[SU][1-9]\d{0,4})")
_STORAGES = dict(Double="f8", Float="f4", Half="f2", Long="i8", Int="i4", Short="i2", Char="i1", Byte="u1", Bool="?")


class _Refused(Exception):
    """What is wrong, in words that go on after the name of the file."""


class _Described:
    """Remember what a pickle says of an object: the arguments of its constructor, its state and its items.

    All that an unpickler calls ends in these three methods; on a class itself, BUILD fails for want of an instance.
    """

    __slots__ = ("args", "state", "items", "plain")
    name = ""
    args: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    plain: Any

    def __new__(cls, *args: Any) -> _Described:
        if len(args) > 8:
            raise _Refused(f"calls {cls.name} with {len(args)} arguments")
        self = object.__new__(cls)
        self.args, self.state, self.items, self.plain = args, None, {}, None
        return self

    def __setstate__(self, state: Any) -> None:
        if self.state is not None:
            raise _Refused("changes an object that is already complete")
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value


def _is_key(value: Any) -> bool:
    return isinstance(value, str | bytes) or (type(value) is int and abs(value) < 1 << 31)


def _check_key(allowed: bool) -> None:
    if not allowed:
        raise _Refused("has a key that is neither a text nor a small number")


def _scan(file: io.BytesIO) -> None:
    """Check the opcodes of one pickle, following its stack to know what becomes a key."""
    stack: list[bool] = []  # of each object, whether it may be a key
    marks: list[int] = []
    memo: dict[int, bool] = {}
    frame_end = 0
    steps: Any = pickletools.genops(file)
    for step, (op, arg, position) in enumerate(steps):
        name, takes = op.name, op.stack_before
        if step >= MOST_STEPS or name in _NEEDLESS:
            raise _Refused("has more objects than any model needs" if name not in _NEEDLESS else f"uses {name}")
        if isinstance(arg, int) and arg.bit_length() > 128:  # 80 has the number that marks files of torch
            raise _Refused("has a whole number that no array has")
        # Of an opcode across the end of a frame the unpickler drops a part, and would read others than this loop.
        if position > frame_end > 0 or (name == "FRAME" and position < frame_end):
            raise _Refused("has frames that do not end between opcodes")
        frame_end = position + 9 + arg if name == "FRAME" else frame_end if position < frame_end else 0
        if name == "MARK":
            marks.append(len(stack))
        elif "PUT" in name or name == "MEMOIZE":
            place = len(memo) if arg is None else arg
            if place > step:  # the unpickler's memo has room up to the largest number
                raise _Refused("numbers its objects with gaps")
            memo[place] = stack[-1]
        elif "GET" in name:
            stack.append(memo[arg])
        else:
            marked = pickletools.markobject in takes
            first = marks.pop() if marked else len(stack) - len(takes)
            _check_key(all(stack[first:][_KEYS.get(name, slice(0))]))
            if marked:  # what lies below the mark goes, too
                first -= takes.index(pickletools.markobject)
            stack[first:] = [_is_key(arg)] * len(op.stack_after)


class _Reader(pickle.Unpickler):
    """Unpickle with stand-ins; every global comes from `find_class`, which imports nothing."""

    def find_class(self, module: str, name: str) -> type[_Described]:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)  # names of Python 2
        full = f"{module}.{name}"[:100]
        if full in _CLASSES:
            return _CLASSES[full]
        if module.startswith("chumpy."):
            return _CLASSES["chumpy formula"]
        raise _Refused(f"asks for {full!r}, which no array needs and which could run foreign code")

    def persistent_load(self, pid: Any) -> _Described:
        return _CLASSES["persistent object"](pid)  # refused, but for those of torch's storages


def _described(file: io.BytesIO, encoding: str) -> Any:
    """Load the next pickle of a file, with a `_Described` for each of its objects."""
    start = file.tell()
    _scan(file)
    file.seek(start)
    return _Reader(file, encoding=encoding).load()


class _Plain:
    """Make plain data of what a pickle of `size` bytes describes; records: bytes of torch's storages by key."""

    def __init__(self, size: int, records: Mapping[str, bytes] | None = None) -> None:
        self.items, self.bytes, self.records = MOST_STEPS, _COPIES * size + _SPARE_BYTES, records or {}

    def spend(self, size: int) -> None:
        self.items, self.bytes = self.items - 1, self.bytes - size
        if self.items < 0 or self.bytes < 0:
            raise _Refused("describes data far larger than itself")

    def __call__(self, value: Any, listed: bool = False) -> Any:
        self.spend(0)
        if isinstance(value, _Described):
            if value.plain is None:
                value.plain = _MAKERS[value.name](self, value)
            value = value.plain
            self.spend(len(value) if isinstance(value, bytes) else getattr(value, "nbytes", 0))
        elif isinstance(value, dict):
            _check_key(all(map(_is_key, value)))
            return {key: self(item) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            return type(value)(self(item, True) for item in value)
        elif isinstance(value, type | set | frozenset):
            raise _Refused("holds a class, function or set instead of data")
        if listed and isinstance(value, str | bytes | bytearray) and len(value) > _LONGEST_NAME:
            raise _Refused(f"has a text of {len(value)} characters in a list")
        return value

    def dtype(self, it: Any) -> np.dtype:
        if not isinstance(it, _CLASSES["numpy.dtype"]):
            raise _Refused("describes an array without its type")
        if not _DTYPE.fullmatch(it.args[0]):
            raise _Refused(f"describes an array of the type {it.args[0][:100]!r}")
        if it.state is not None and any(part is not None for part in it.state[2:5]):
            raise _Refused("describes an array of records")
        order: Any = "=" if it.state is None else it.state[1]
        return np.dtype("O" if "O" in it.args[0] else it.args[0]).newbyteorder(order)

    def array(self, it: _Described) -> np.ndarray:
        if it.args[:1] != (_CLASSES["numpy.ndarray"],) or it.state is None:
            raise _Refused("describes an array without its content or of a foreign class")
        shape, described, fortran, data = it.state[-4:]
        dtype = self.dtype(described)
        if not dtype.hasobject:
            return _filled(shape, dtype, self(data), fortran)
        if type(data) is not list or math.prod(shape) != len(data):
            raise _Refused("describes an array of another size than its data")
        array = np.empty(len(data), object)
        for index, item in enumerate(data):
            array[index] = self(item)
        return array.reshape(shape, order="F" if fortran else "C")

    def buffer(self, it: _Described) -> np.ndarray:
        data, dtype, shape, order = it.args
        return _filled(shape, self.dtype(dtype), self(data), order == "F")

    def attributes(self, it: _Described, *keys: str) -> list[np.ndarray]:
        values = [self(it.state[key]) for key in keys if isinstance(it.state, dict) and key in it.state]
        if len(values) < len(keys) or not all(isinstance(value, np.ndarray) for value in values):
            raise _Refused(f"holds a {it.name} without the arrays {', '.join(keys)}")
        return values

    def sparse(self, it: _Described) -> Any:
        from scipy import sparse

        parts = tuple(self.attributes(it, "data", "indices", "indptr"))
        kind = getattr(sparse, it.name.rpartition(".")[2].replace("array", "matrix"))
        matrix = kind(parts, shape=tuple(int(side) for side in it.state["_shape"]))
        matrix.check_format(full_check=True)
        return matrix

    def old_object(self, it: _Described) -> Any:
        """Make what copyreg._reconstructor, of protocols 0 and 1, is to make."""
        described = it.args[0]()
        described.state = it.state
        return self(described)

    def ordered(self, it: _Described) -> dict[Any, Any]:
        pairs = self(it.args[0]) if it.args else []  # of Python 2
        _check_key(all(_is_key(key) for key, _ in pairs))
        return dict(pairs) | self(it.items)

    def select(self, it: _Described) -> np.ndarray:
        source, index = self.attributes(it, "a", "idxs")
        self.spend(index.size * source.itemsize)
        picked = source.ravel()[index]
        return picked.reshape(it.state.get("preferred_shape", picked.shape))

    def storage(self, it: _Described) -> np.ndarray:
        """Read a torch storage in torch's format before 1.6: five pickles, a count, and the numbers' bytes."""
        data = it.args[0]
        self.spend(len(data))
        head = io.BytesIO(data[:4096])
        _, _, _, stored, _ = (_described(head, "ascii") for _ in range(5))
        _, kind, _, _, count, *_ = stored.args[0]
        dtype = np.dtype(_STORAGES[kind.name.removeprefix("torch.").removesuffix("Storage")])
        return _filled((count,), dtype, data[head.tell() + 8 :])

    def record(self, it: _Described) -> np.ndarray:
        """Take a storage from the records of torch's format since 1.6."""
        pid = it.args[0]
        if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage" or pid[2] not in self.records:
            return self.refuse(it)
        _, kind, key, _, count = pid
        dtype = np.dtype(_STORAGES[kind.name.removeprefix("torch.").removesuffix("Storage")])
        return _filled((count,), dtype, self.records[key])

    def tensor(self, it: _Described) -> np.ndarray:
        flat, (offset, size, stride) = self(it.args[0]), it.args[1:4]
        if not isinstance(flat, np.ndarray) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
            raise _Refused("holds a tensor without its content")
        self.spend(math.prod(size) * flat.itemsize)
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if math.prod(size) and (last >= flat.size or math.prod(size) > flat.size):
            raise _Refused(f"describes a tensor of {size}, but holds fewer numbers")
        strides = tuple(step * flat.itemsize for step in stride)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, strides, writeable=False).copy()

    def refuse(self, it: _Described) -> Any:
        raise _Refused(f"calls {it.name}")


def _filled(shape: Any, dtype: np.dtype, data: Any, fortran: Any = False) -> np.ndarray:
    """View a buffer of exactly the right size as an array (shape), in native byte order."""
    if isinstance(data, str):
        data = data.encode("latin1")
    if type(shape) is not tuple or not all(type(side) is int and side >= 0 for side in shape) or dtype.hasobject:
        raise _Refused("describes an array that is none")
    if not isinstance(data, bytes | bytearray) or math.prod(shape) * dtype.itemsize != len(data):
        raise _Refused("describes an array of another size than its data")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


_MAKERS: dict[str, Callable[[_Plain, _Described], Any]] = {
    "numpy.dtype": _Plain.dtype, "copyreg._reconstructor": _Plain.old_object, "builtins.bytes": lambda *_: b"",
    # How Python 3 writes bytes for Python 2; no other encoding is permitted.
    "_codecs.encode": lambda _, it: it.args[0].encode({"latin1": "latin1"}[it.args[1]]),
    "collections.OrderedDict": _Plain.ordered, "chumpy.ch.Ch": lambda plain, it: plain.attributes(it, "x")[0],
    "chumpy.reordering.Select": _Plain.select, "chumpy formula": lambda *_: None,  # none is computed
    "torch._utils._rebuild_tensor_v2": _Plain.tensor, "torch.storage._load_from_bytes": _Plain.storage,
    "persistent object": _Plain.record,
    **{f"numpy.{core}.{name}": make for core in ("core", "_core") for name, make in (
        ("multiarray._reconstruct", _Plain.array), ("numeric._frombuffer", _Plain.buffer),
        # NumPy's own unpickles the bytes of an object: the well-known way round a list of permitted names.
        ("multiarray.scalar", lambda plain, it: _filled((), plain.dtype(it.args[0]), plain(it.args[1]))[()]))},
    **{f"scipy.sparse.{module}.{module[-3:]}_{kind}": _Plain.sparse
       for module in ("csc", "csr", "_csc", "_csr") for kind in ("matrix", "array")},
    # Allowed as arguments, or in the state of an object where nothing reads it.
    **dict.fromkeys(("builtins.object", "builtins.set", "builtins.frozenset", "numpy.ndarray",
                     *(f"torch.{kind}Storage" for kind in _STORAGES)), _Plain.refuse),
}  # fmt: skip
_CLASSES: dict[str, Any] = {name: type(name, (_Described,), {"__slots__": (), "name": name}) for name in _MAKERS}


def load_pickle(path: Path | str, encoding: str = "ASCII") -> Any:
    """Read a pickle file: dicts, lists, numbers and NumPy arrays (sparse matrices stay sparse).

    Args:
        path: file in any protocol of pickle.
        encoding: how strings of Python 2 are read; "latin1" for FLAME.

    Raises:
        UserError: the file is missing, damaged or too large, or asks for anything that is not data.
    """
    return _guarded(Path(path), lambda data: _unpickled(data, encoding))


def load_npy(path: Path | str) -> Any:
    """Read an .npy file; one that wraps a single object (np.save of a dict) gives that object.

    Raises:
        UserError: as `load_pickle`.
    """
    return _guarded(Path(path), _read_npy)


def load_npz(path: Path | str) -> dict[str, Any]:
    """Read all arrays of an .npz file.

    Raises:
        UserError: as `load_pickle`, and for one that unpacks to more than 20 times its size and 1 MiB.
    """
    return _guarded(Path(path), _read_npz)


def load_torch(path: Path | str) -> Any:
    """Read what torch.save wrote since torch 1.6: dicts, lists, texts, numbers, and tensors as writable NumPy arrays.

    Raises:
        UserError: as `load_pickle`, and for records that are compressed, as torch never writes them.
    """
    return _guarded(Path(path), _read_torch)


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
        raise UserError(f"{path} is damaged ({type(error).__name__}: {str(error)[:200]}); download it again") from error


def _unpickled(data: bytes, encoding: str) -> Any:
    return _Plain(len(data))(_described(io.BytesIO(data), encoding))


def _read_npy(data: bytes) -> Any:
    file = io.BytesIO(data)
    header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(file)
    content = data[file.tell() :]
    if not dtype.hasobject:
        return _filled(shape, dtype, content, fortran)
    array = _unpickled(content, "latin1")
    return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array


def _read_npz(data: bytes) -> dict[str, Any]:
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > _UNPACKED * len(data) + _SPARE_BYTES:
            raise _Refused("unpacks to more than any model needs")
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _Refused("is compressed in a way that NumPy does not use")
            with archive.open(member) as file:  # with a size, as `read()` unpacks all before it looks how much is due
                arrays[member.filename.removesuffix(".npy")] = _read_npy(file.read(member.file_size))
    return arrays


def _read_torch(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or len(members) > MOST_STEPS or sum(member.file_size for member in members) > len(data):
            raise _Refused("unpacks to more than it holds")
        records = {member.filename.partition("/")[2]: archive.read(member) for member in members}
    if records.get("byteorder", b"little") != b"little":
        raise _Refused("was written on a big-endian machine")
    described = _described(io.BytesIO(records["data.pkl"]), "ASCII")
    storages = {name.removeprefix("data/"): record for name, record in records.items() if name.startswith("data/")}
    return _Plain(len(data), storages)(described)
