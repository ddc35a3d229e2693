"""Quantise an exported network to eight bits, with ranges measured on driving images."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from selfieavatar.runtime.exported_file import INPUTS


def quantize(source: Path, path: Path, images: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write the network of `source` with its convolutions in int8 (QDQ form, a scale for each channel of a kernel).

    What it composes, samples and colours by stays float32. images: I_R and I_UV (B,3,S,S) to measure ranges on.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """The images, one batch after the other."""

        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """Return the next batch by the names of the network's inputs; None after the last."""
            pair = next(self._left, None)
            if pair is None:
                return None
            return {name: np.ascontiguousarray(values) for name, values in zip(INPUTS, pair, strict=True)}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises, through the root logger, what has been decided
    try:
        quantize_static(
            source, path, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    finally:
        root.setLevel(level)
