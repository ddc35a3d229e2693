"""Read plain arrays of an .npz file that is not trusted: nothing is unpickled, and sizes are known before memory is."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.lib import format as npy


def read_npz(path: Path, names: Collection[str], most_bytes: int) -> dict[str, np.ndarray]:
    """Read the arrays of these names that the file holds.

    Args:
        path: file as np.savez or np.savez_compressed wrote it. names: others are passed over, unread.
        most_bytes: of all read arrays together, unpacked.

    Raises:
        ValueError, OSError, zipfile.BadZipFile and others: damaged, too large, or other things than plain arrays.
    """
    arrays: dict[str, np.ndarray] = {}
    left = most_bytes
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name not in names or name in arrays:
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is compressed in a way that NumPy does not use")
            with archive.open(member) as file:
                version = npy.read_magic(file)
                header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, fortran, dtype = header(file)
                size = math.prod(shape) * dtype.itemsize
                if dtype.hasobject or min(shape, default=0) < 0:
                    raise ValueError(f"{name} is no plain array")
                if size > left:
                    raise ValueError(f"its arrays have more than {most_bytes >> 20} MB")
                left -= size
                data = file.read(size)  # with a size, as `read()` unpacks all there is
                if len(data) != size or file.read(1):
                    raise ValueError(f"{name} holds other numbers than it says")
            values = np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")
            arrays[name] = values.astype(dtype.newbyteorder("="), copy=False)
    return arrays
