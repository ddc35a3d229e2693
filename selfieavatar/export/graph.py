"""Make the ONNX graph of what `Avatar.paint` does with the driving images: constant maps, folded convolutions."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from selfieavatar.avatar import Avatar
from selfieavatar.errors import UserError
from selfieavatar.runtime.exported_file import INPUTS, OPSET, OUTPUTS


def export_graph(avatar: Avatar, path: Path) -> None:
    """Write the graph of an avatar on the CPU; its batch axis is free, and all it needs is in the one file.

    Raises:
        UserError: the packages that write ONNX are missing.
    """
    side = avatar.size_px
    example = (
        torch.zeros(2, 3, side, side),
        torch.zeros(2, 3, side, side),
    )  # two: a batch of one would be taken as fixed
    batch = torch.export.Dim("batch", max=256)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):  # progress that says nothing to who runs the stage
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                avatar.painting.eval(), example, path, dynamo=True, external_data=False, opset_version=OPSET,
                input_names=list(INPUTS), output_names=list(OUTPUTS), dynamic_shapes=({0: batch}, {0: batch}),
                verbose=False,
            )  # fmt: skip
    except ImportError as error:
        raise UserError(
            f"writing ONNX needs onnx and onnxscript ({error}); pip install 'selfieavatar[workflow]'"
        ) from error
