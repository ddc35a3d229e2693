"""Pickles of untrusted files: arrays come through, everything that could run is refused, and nothing is run."""

import collections
import io
import os
import pickle
import struct
import subprocess
import sys
import time
import types
import zipfile

import numpy as np
import pytest
from scipy import sparse

from selfieavatar.errors import UserError
from selfieavatar.io.pickles import MOST_STEPS, load_npy, load_npz, load_pickle

DATA = {
    "points": np.arange(12, dtype=np.float64).reshape(4, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "names": np.array(["jaw", "brow"]), "flags": np.array([True, False]), "empty": np.zeros((0, 3), np.float32),
    "bytes": np.array([b"a", b"bc"]), "objects": np.array([np.arange(2), "x"], dtype=object),
    "number": np.float32(1.5), "whole": np.int64(-7), "list": [1, 2.5, "three", None, b"\xff", (1, (2,))],
    "nested": {"deep": [{"a": np.arange(3)}]}, "ordered": collections.OrderedDict(a=1, b=2), "big": 1 << 80, 7: b"",
    "native complex": np.array([1 + 2j]),
}  # fmt: skip


class Calls:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def same(a, b):
    if isinstance(a, dict):  # an OrderedDict is read as a dict
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        if a.dtype == object:
            return a.shape == b.shape and all(map(same, a.ravel(), b.ravel()))
        return type(b) is np.ndarray and a.dtype == b.dtype.newbyteorder(a.dtype.byteorder) and np.array_equal(a, b)
    return a == b and type(a) is type(b)


def written(path, value, protocol=2):
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_reads_as_pickle_itself_reads_it(tmp_path, protocol):
    path = written(tmp_path / "a.pkl", DATA, protocol)
    assert same(pickle.loads(path.read_bytes()), load_pickle(path))


@pytest.mark.parametrize("form", ["csc_matrix", "csr_matrix", "csc_array", "csr_array"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_sparse_matrices(tmp_path, form, protocol):
    dense = np.diag([1.0, 0.0, 3.0])[:, :2]
    read = load_pickle(written(tmp_path / "a.pkl", {"j": getattr(sparse, form)(dense)}, protocol))["j"]
    np.testing.assert_array_equal(read.toarray(), dense)


def test_strings_of_python_2(tmp_path):
    path = written(tmp_path / "a.pkl", b"\x80\x02}U\x03keyU\x02\xe4bs.")
    assert load_pickle(path, "latin1") == {"key": "\u00e4b"}
    with pytest.raises(UserError, match="damaged"):
        load_pickle(path)


def test_old_names_of_python_2(tmp_path):
    matrix = (
        b"\x80\x02ccopy_reg\n_reconstructor\n(cscipy.sparse.csc\ncsc_matrix\nc__builtin__\nobject\nNtR}("
        b"X\x06\x00\x00\x00_shapeK\x02K\x02\x86X\x04\x00\x00\x00data%sX\x07\x00\x00\x00indices%s"
        b"X\x06\x00\x00\x00indptr%sub."
    )
    parts = tuple(pickle.dumps(np.array(values), 2)[2:-1] for values in ([5.0], [1], [0, 0, 1]))
    read = load_pickle(written(tmp_path / "a.pkl", matrix % parts))
    np.testing.assert_array_equal(read.toarray(), [[0, 0], [0, 5.0]])
    with pytest.raises(UserError, match="csc_matrix without the arrays data"):
        load_pickle(written(tmp_path / "b.pkl", matrix.replace(b"data", b"date") % parts))
    pairs = b"ccollections\nOrderedDict\n((lp0\n(lp1\nS'a'\naI1\naatR."  # as Python 2 writes it
    assert load_pickle(written(tmp_path / "c.pkl", pairs)) == {"a": 1}


def chumpy_modules(monkeypatch):
    """Classes that pickle under chumpy's names."""
    made = {}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy.ch", "subtract")):
        holder = sys.modules.get(module) or types.ModuleType(module)
        monkeypatch.setitem(sys.modules, module, holder)
        made[name] = type(name, (), {"__module__": module})
        setattr(holder, name, made[name])
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return made


@pytest.mark.parametrize("protocol", [0, 2])
def test_chumpy_arrays_are_read_without_chumpy_and_its_formulas_are_not_computed(tmp_path, monkeypatch, protocol):
    made = chumpy_modules(monkeypatch)
    whole, part, formula = made["Ch"](), made["Select"](), made["subtract"]()
    whole.x, whole._parents, whole.dirty_vars = np.arange(6.0).reshape(2, 3), [], set()
    part.a, part.idxs, part.preferred_shape = whole, np.array([5, 0]), (2, 1)
    formula.a = formula.b = whole
    path = written(tmp_path / "a.pkl", {"v": whole, "s": part, "f": formula}, protocol)
    monkeypatch.undo()
    read = load_pickle(path, "latin1")
    assert same(read, {"v": np.arange(6.0).reshape(2, 3), "s": np.array([[5.0], [0.0]]), "f": None})


def test_tensors_in_an_npy(tmp_path):
    torch = pytest.importorskip("torch")
    whole = torch.arange(24, dtype=torch.int64).reshape(2, 3, 4)
    data = {"whole": whole, "part": whole[1, :, ::2].t(), "float": torch.ones(2, 2)}
    np.save(tmp_path / "a.npy", data, allow_pickle=True)
    read = load_npy(tmp_path / "a.npy")
    assert all(np.array_equal(read[key], data[key].numpy()) for key in data)


@pytest.mark.parametrize(
    "value",
    [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3, 2)), np.array(4, "f4"), DATA["objects"], DATA],
    ids=["plain", "fortran", "number", "objects", "dict"],
)
def test_npy(tmp_path, value):
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    expected = np.load(tmp_path / "a.npy", allow_pickle=True)
    assert same(expected.item() if value is DATA else expected, load_npy(tmp_path / "a.npy"))


def test_a_shared_array_stays_one(tmp_path):
    pair = [np.arange(4)] * 2
    read = load_pickle(written(tmp_path / "a.pkl", [pair, pair, (pair,)]))
    assert read[0][0] is read[0][1] is read[1][0] is read[2][0][0]


DTYPE = np.dtype("O")
MARK = "import os; os.mkdir('ran')"


def _object_scalar(payload):
    return Calls(np.core.multiarray.scalar, DTYPE, pickle.dumps(payload))


def _evil():
    """Name -> object whose unpickling would run something, or make something that is no data."""
    system = Calls(os.mkdir, "ran")
    reconstruct = np.core.multiarray._reconstruct
    return {
        "os.system": Calls(os.system, "mkdir ran"),
        "posix": Calls(os.mkdir, "ran"),
        "eval": Calls(eval, MARK),
        "exec": Calls(exec, MARK),
        "subprocess": Calls(subprocess.check_call, ["mkdir", "ran"]),
        "getattr": Calls(getattr, Calls(getattr, int, "__subclasses__"), "__call__"),
        "import": Calls(__import__, "os"),
        "nested": {"v": [np.zeros(2), ({"x": system},)]},
        "in an object array": np.array([1, system], dtype=object),
        "as a state": Calls(reconstruct, np.ndarray, (0,), b"b", state=(1, (1,), DTYPE, False, [system])),
        "scalar of objects": _object_scalar(system),
        "scalar within arrays": np.array([_object_scalar(system)], dtype=object),
        "matrix subclass": Calls(reconstruct, np.matrix, (0,), b"b", state=(1, (0,), np.dtype("f8"), False, b"")),
        "memmap subclass": Calls(reconstruct, np.memmap, (0,), b"b"),
        "any class": Calls(reconstruct, subprocess.Popen, (0,), b"b"),
        "np.load": Calls(np.load, "other.npy", None, True),
        "fromfile": Calls(np.fromfile, "/etc/passwd"),
        "numpy runs": Calls(np.testing.rundocs),
        "pickle in pickle": Calls(pickle.loads, pickle.dumps(system)),
        "ndarray": Calls(np.ndarray, (1 << 40,)),
        "bytearray": Calls(bytearray, 1 << 40),
        "range": Calls(list, range(1 << 40)),
        "function": {"f": np.core.multiarray._reconstruct},
        "class": [np.ndarray],
        "codec": Calls(__import__("_codecs").encode, "x", "rot13"),
        "hex codec": Calls(__import__("_codecs").decode, b"x", "zlib"),
        "records": np.zeros(2, [("a", "f4"), ("b", "O")]),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", _evil())
def test_evil_pickles_run_nothing(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "evil.pkl", _evil()[name], protocol)
    with pytest.raises(UserError, match="evil.pkl"):
        load_pickle(path)
    np.save(tmp_path / "evil.npy", _evil()[name], allow_pickle=True)
    with pytest.raises(UserError, match="evil.npy"):
        load_npy(tmp_path / "evil.npy")
    assert not (tmp_path / "ran").exists()


def test_the_error_names_file_and_function(tmp_path):
    path = written(tmp_path / "evil.pkl", Calls(os.system, "mkdir ran"))
    with pytest.raises(UserError, match=r"evil.pkl asks for 'posix.system'.*nothing was run"):
        load_pickle(path)


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"


def _array_pickle(shape, data, dtype="f8"):
    state = (1, shape, np.dtype(dtype), False, data)
    return pickle.dumps(Calls(np.core.multiarray._reconstruct, np.ndarray, (0,), b"b", state=state), 4)


def _again(first: bytes, again: bytes, times: int = 20_000) -> bytes:
    """A list of what `again` makes of what `first` put into the memo under 0, many times."""
    return b"\x80\x02" + first + b"q\x000](" + again * times + b"e."


def _swapped(times):
    buffer, make = b"\0" * 100_000, np.core.multiarray._reconstruct
    state = (1, (12_500,), np.dtype(">f8"), False, buffer)
    return [Calls(make, np.ndarray, (0,), b"b", state=state) for _ in range(times)]


def _frame(size: int) -> bytes:
    return b"\x95" + struct.pack("<Q", size)


def _nested(value, times):
    """A list of 10 ** times values written out, in a few bytes."""
    for _ in range(times):
        value = [value] * 10
    return value


_TEXT = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
SAME_HASH = [n * sys.hash_info.modulus for n in range(1000)]
HOSTILE = {
    "memo then build on a function": RECONSTRUCT + b"q\x00}X\x05\x00\x00\x00evilsK\x01sb.",
    "slots of a function": RECONSTRUCT + b"N}X\x08\x00\x00\x00__code__K\x01s\x86b.",
    "new object of a function": RECONSTRUCT + b")\x81.",
    "call what a memo holds": b"K\x05q\x000h\x00)R.",
    "attribute chain": b"\x8c\x0bnumpy.core.\x8c\x18multiarray.sys.modules.os\x93.",
    "dotted name": b"\x8c\x05numpy\x8c\x12ndarray.__class__.x\x93.",
    "extension": b"\x82\x01.",
    "persistent": b"Pabc\n.",
    "inst": b"(S'mkdir ran'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'mkdir ran'\no.",
    "copyreg": b"ccopyreg\n__newobj__\n(csubprocess\nPopen\nS'x'\ntR.",
    "append to a function": RECONSTRUCT + b"K\x01a.",
    "set item of a function": RECONSTRUCT + b"K\x01K\x02s.",
    "build twice": RECONSTRUCT + b"cnumpy\nndarray\n\x85RK\x01bK\x02b.",
    "array without state": RECONSTRUCT + b"cnumpy\nndarray\n\x85R.",
    "array in itself": RECONSTRUCT + b"cnumpy\nndarray\n\x85Rq\x00(K\x01)h\x00\x89h\x00tb.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "no stop": b"\x80\x04K\x01",
    "empty stack": b"\x80\x02.",
    "nothing but a stop": b".",
    "long as a text": b"L" + b"9" * 5000 + b"L\n.",
    "deep": b"(" * 30000 + b"t" * 30000 + b".",
    "deep data": b")" + b"\x85" * 150_000 + b".",
    "deep key": b"}(" + b")" + b"\x85" * 150_000 + b"K\x01u.",
    "deep key of a memo": b"})" + b"\x85" * 150_000 + b"q\x000h\x00K\x01s.",
    "deep item of a set": b"\x8f(" + b")" + b"\x85" * 150_000 + b"\x90.",
    "deep calls": b"c_codecs\nencode\nq\x00" + b"h\x00" * 60_000 + b")" + b"\x85R" * 60_000 + b".",
    "keys of one hash": pickle.dumps(dict.fromkeys(SAME_HASH)),
    "items of one hash": pickle.dumps([frozenset(SAME_HASH)], 4),
    "pairs of one hash": pickle.dumps(Calls(collections.OrderedDict, [(key, 0) for key in SAME_HASH])),
    "list in itself": b"]q\x00h\x00a.",
    "crossing frame": b"\x80\x04" + _frame(3) + b"K\x01\x8c\x05hello\x86.",
    "nested frame": b"\x80\x04" + _frame(20) + _frame(3) + b"K\x01." + b"K\x01" * 10,
    "large shape": _array_pickle((1 << 40,), b"\0" * 16),
    "negative": _array_pickle((-1, -2), b"\0" * 16),
    "overflow": _array_pickle((1 << 62, 8), b""),
    "objects": _array_pickle((1 << 40,), [1, 2], "O"),
    "wide text": _array_pickle((2,), b"\0" * 8, "U99999"),
    "memo": b"\x80\x02K\x01r" + struct.pack("<I", 0xFFFFFFFF) + b".",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 45) + b"ab.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 45) + b"ab.",
    "frame": b"\x80\x04" + _frame(1 << 45) + b"K\x01.",
    "long": b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFFF) + b"ab.",
    "empty sets": b"\x80\x04(" + b"\x8f" * 2_000_000 + b"l.",
    "as many as allowed": b"\x80\x04(" + b"\x8f" * (MOST_STEPS - 4) + b"l.",
    "marks": b"\x80\x04" + b"(" * 2_000_000 + b".",
    "memo of everything": b"\x80\x04N" + b"\x94" * 2_000_000 + b".",
    "numbers": b"\x80\x02(" + b"G" + b"\0" * 8 + (b"G" + b"?" * 8) * 1_000_000 + b"l.",
    "the same text encoded again": _again(_TEXT, b"c_codecs\nencode\nh\x00\x85R"),
    "the same arguments again": _again(b"(" + b"K\x01" * 40_000 + b"t", b"ccollections\nOrderedDict\nh\x00R"),
    "lists of lists": pickle.dumps({"v": _nested(0.5, 12)}, 2),
    "one long text among short ones": pickle.dumps([*"ab" * 50_000, "c" * 100_000], 2),
    "the same array again": pickle.dumps([np.zeros(100_000)] * 1000, 2),
    "the same buffer in another byte order": pickle.dumps(_swapped(500)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_handmade_pickles_are_refused_in_bounded_time_and_memory(tmp_path, monkeypatch, name):
    resource = pytest.importorskip("resource")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "evil.pkl", HOSTILE[name])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match="evil.pkl"):
        load_pickle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10  # KiB
    assert time.process_time() - start < 20
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_tensor_larger_than_its_file_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    stored = torch.arange(4.0)
    for size, stride, offset in (((1 << 40,), (0,), 0), ((5,), (1,), 0), ((2,), (1,), 3), ((2,), (-1,), 0)):
        call = Calls(torch._utils._rebuild_tensor_v2, stored.storage(), offset, size, stride, False, {})
        with pytest.raises(UserError, match="tensor"):
            load_pickle(written(tmp_path / "a.pkl", {"t": call}))


def test_a_storage_that_would_run_something_is_refused(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save(Calls(os.mkdir, "ran"), buffer)
    call = Calls(torch.storage._load_from_bytes, buffer.getvalue())
    with pytest.raises(UserError):
        load_pickle(written(tmp_path / "a.pkl", {"t": call}))
    assert not (tmp_path / "ran").exists()


def test_npy_header_that_promises_too_much(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(data.replace(b"(3,), }" + b" " * 12, b"(9999999999999,), }"))
    assert (tmp_path / "b.npy").read_bytes() != data
    (tmp_path / "c.npy").write_bytes(data[:-1])
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY" + data[6:8] + struct.pack("<H", 60000))
    (tmp_path / "e.npy").write_bytes(b"no numpy at all")
    for name in "bcde":
        with pytest.raises(UserError, match=f"{name}.npy"):
            load_npy(tmp_path / f"{name}.npy")


def test_npz_members_are_read_as_data(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", points=DATA["points"], objects=DATA["objects"])
    assert same(load_npz(tmp_path / "a.npz"), {"points": DATA["points"], "objects": DATA["objects"]})
    np.savez(tmp_path / "evil.npz", v=np.array([Calls(os.mkdir, "ran")], dtype=object))
    with pytest.raises(UserError, match="posix.mkdir"):
        load_npz(tmp_path / "evil.npz")
    with zipfile.ZipFile(tmp_path / "bzip2.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("v.npy", b"\0" * 100)  # there is no way to unpack only a part of it
    with pytest.raises(UserError, match="compressed in a way"):
        load_npz(tmp_path / "bzip2.npz")


@pytest.mark.parametrize("told", [None, 1024])
def test_npz_that_unpacks_to_a_multiple_of_its_size_is_refused(tmp_path, told):
    resource = pytest.importorskip("resource")
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("v.npy", "w") as member:
        for _ in range(200):
            member.write(b"\0" * (1 << 20))
    if told:  # a size that is not the real one, in the table of contents
        data = path.read_bytes()
        place = data.rindex(b"PK\x01\x02") + 24
        path.write_bytes(data[:place] + struct.pack("<I", told) + data[place + 4 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="bomb.npz"):
        load_npz(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_missing_empty_truncated_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="missing"):
        load_pickle(tmp_path / "none.pkl")
    with pytest.raises(UserError, match="0 bytes"):
        load_pickle(written(tmp_path / "empty.pkl", b""))
    data = pickle.dumps(DATA, 4)
    for length in np.linspace(1, len(data) - 1, 40).astype(int):
        with pytest.raises(UserError, match="cut.pkl"):
            load_pickle(written(tmp_path / "cut.pkl", data[:length]))
    rng, data, refused = np.random.default_rng(0), np.frombuffer(pickle.dumps(DATA, 2), np.uint8), 0
    for _ in range(300):
        changed = data.copy()
        changed[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        try:
            load_pickle(written(tmp_path / "a.pkl", changed.tobytes()))
        except UserError:
            refused += 1
    assert refused > 100
