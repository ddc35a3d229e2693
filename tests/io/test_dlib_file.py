"""Networks saved by dlib: read as its own format says, refused in one sentence where they are damaged or hostile."""

import time

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io import dlib_file
from selfieavatar.io.dlib_file import read_dlib_layers


def whole(value):
    size = max((abs(value).bit_length() + 7) // 8, 1)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def text(value):
    return whole(len(value)) + value.encode()


def real(mantissa, exponent):
    return whole(mantissa) + whole(exponent)


def shape(*sides, version=1):
    return b"".join(map(whole, (version, *sides)))


def tensor(values):
    return shape(len(values), 1, 1, 1, version=2) + np.asarray(values, "<f4").tobytes()


REST = b"110" + 3 * shape(0, 0, 0, 0, version=2)  # what follows a layer's own fields
LOSS = whole(1) + text("loss_metric_2") + real(5, -7) + real(5, -3)
INPUT = text("input_rgb_image_sized") + 3 * real(245, -1) + whole(150) + whole(150)
HEAD = LOSS + whole(2) + whole(1) + whole(3) + INPUT
RATES = 4 * real(1, 0)


def convolution(values=range(4), sides=(1, 3, 1, 1), name="con_4"):
    form = b"".join(map(whole, (1, 1, 1, 2, 2, 0, 0)))
    return text(name) + tensor([*values]) + form + shape(*sides) + shape(1, 1, 1, 1) + RATES + REST


SMALL = HEAD + convolution() + whole(1) + text("relu_") + REST


@pytest.fixture
def read(tmp_path):
    def of(data):
        (tmp_path / "network.dat").write_bytes(data)
        return read_dlib_layers(tmp_path / "network.dat")

    return of


def test_layers_come_in_their_order_with_their_fields(read):
    conv, relu = read(SMALL)
    assert conv.name == "con_4" and relu == ("relu_", ())
    assert conv.fields[0].tolist() == [0, 1, 2, 3] and conv.fields[1:9] == (1, 1, 1, 2, 2, 0, 0, (1, 3, 1, 1))
    assert conv.fields[9:] == ((1, 1, 1, 1), 1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends too early"),
        (SMALL[:-1], "ends too early"),
        (b"PK\x03\x04" + bytes(50), "something else where a whole number"),
        (b"\x09" + bytes(20), "something else where a whole number"),
        (b"\x00" + bytes(20), "something else where a whole number"),
        (whole(1) + text("loss_mmod_"), "not a network that was trained with the metric loss"),
        (whole(1) + whole(2**63), "a name of 9223372036854775808 characters"),
        (whole(1) + whole(-3) + bytes(9), "a name of -3 characters"),
        (whole(1) + text("loss_metric_2") + real(1, 2**40), "not finite"),
        (LOSS + text("input_rgb_image_pyramid"), "RGB images of one size"),
        (HEAD + text("dropout_") + REST, "an unknown kind, 'dropout_'"),
        (HEAD + convolution(sides=(1, -3, 1, 1)), "a negative side"),
        (HEAD + convolution([1, np.nan, 2, 3]), "a weight that is not finite"),
        (HEAD + text("con_4") + shape(1, 1, 1, 1, version=7), "a tensor of another version"),
        (HEAD + text("con_4") + shape(2**62, 2**62, 2**62, 2**62, version=2), "ends too early"),
        (HEAD + text("con_4") + shape(2**31, 1, 1, 1, version=2) + bytes(64), "ends too early"),
        (SMALL + b"trailing", "something else where a whole number"),
        (SMALL[: -len(REST)] + b"xyz" + REST[3:], "something else where a flag"),
    ],
)
def test_damaged_and_hostile_files_are_refused_in_one_sentence(read, data, why):
    with pytest.raises(UserError, match=f"network.dat cannot be read as a network of dlib: it .*{why}"):
        read(data)


def test_every_cut_of_a_file_is_refused(read):
    # A file may well end after a whole layer: what is missing then is for the network to find.
    whole_layers = (len(HEAD), len(HEAD + convolution() + whole(1)))
    for end in set(range(len(SMALL))) - set(whole_layers):
        with pytest.raises(UserError):
            read(SMALL[:end])


def test_time_is_bounded_by_the_size(read, monkeypatch):
    start = time.perf_counter()
    with pytest.raises(UserError, match="more than 1000 layers"):
        read(SMALL + 100_000 * (text("relu_") + REST))
    with pytest.raises(UserError, match="a name of -1 characters"):
        read(LOSS + 3_000_000 * whole(2) + text("nothing"))
    assert time.perf_counter() - start < 5
    monkeypatch.setattr(dlib_file, "LARGEST_BYTES", 100)
    with pytest.raises(UserError, match="is larger than"):
        read(SMALL)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.dat: No such file"):
        read_dlib_layers(tmp_path / "none.dat")
