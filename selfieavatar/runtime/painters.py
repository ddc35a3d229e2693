"""Paint frames from their driving images, by one of the programs that run an avatar's network on a CPU."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.runtime.exported_file import INPUTS, OUTPUTS, Exported


class Painter(Protocol):
    """Paints frames from their driving images (paper eq. 3)."""

    def __call__(self, render: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paint I_R and I_UV (B,3,S,S) float32 in [0,1] -> image (B,3,S,S), alpha (B,1,S,S), float32 in [0,1]."""


class OnnxPainter:
    """Paints by ONNX Runtime on the CPU.

    Args:
        exported: checked files. threads: cores to use.

    Raises:
        UserError: ONNX Runtime is missing, or cannot run the network.
    """

    def __init__(self, exported: Exported, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError("onnxruntime is missing; pip install 'selfieavatar[runtime]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = max(1, threads), 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.load_model_format", "ONNX")  # the form that was checked
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other steps need the cores
        try:
            self._session = onnxruntime.InferenceSession(exported.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a family of classes of its own
            raise UserError(f"ONNX Runtime cannot run {exported.path} ({_first_line(error)})") from error
        self._path, self._size = exported.path, exported.description.size_px

    def __call__(self, render: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paint as `Painter` says."""
        images = checked_images(render, uv, self._size)
        try:
            image, alpha = self._session.run(list(OUTPUTS), dict(zip(INPUTS, images, strict=True)))
        except Exception as error:  # as above; a network that is not what it claims
            raise UserError(f"ONNX Runtime cannot run {self._path} ({_first_line(error)})") from error
        return checked_painting(image, alpha, images[0].shape, str(self._path))


class OpenVinoPainter:
    """Paints by OpenVINO on the CPU, one frame at a time.

    Args:
        exported: checked files. threads: cores to use. precision: of the arithmetic, "float32" or "bfloat16".

    Raises:
        UserError: OpenVINO is missing, or cannot run the network.
    """

    def __init__(self, exported: Exported, threads: int = 1, precision: str = "float32") -> None:
        try:
            import openvino
        except ImportError as error:
            raise UserError("openvino is missing; pip install 'selfieavatar[openvino]'") from error
        names = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}
        hints = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": max(1, threads),
            "INFERENCE_PRECISION_HINT": names[precision],
            "ENABLE_CPU_PINNING": False,  # it would keep the thread that calls, and all that it starts, to one core
        }  # fmt: skip
        self._path, self._size = exported.path, exported.description.size_px
        self._one_at_a_time = threading.Lock()
        core = openvino.Core()
        try:
            model = core.read_model(model=exported.graph, weights=b"")
            model.reshape({name: [1, count, self._size, self._size] for name, count in INPUTS.items()})
            self._request = core.compile_model(model, "CPU", hints).create_infer_request()
        except RuntimeError as error:
            raise UserError(f"OpenVINO cannot run {self._path} ({_first_line(error)})") from error

    def __call__(self, render: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paint as `Painter` says."""
        images = checked_images(render, uv, self._size)
        parts = []
        for one in zip(*images, strict=True):
            with self._one_at_a_time:
                found = self._request.infer({name: image[None] for name, image in zip(INPUTS, one, strict=True)})
                parts.append([np.array(found[name]) for name in OUTPUTS])  # its memory is the next frame's
        image, alpha = (np.concatenate(frames) for frames in zip(*parts, strict=True))
        return checked_painting(image, alpha, images[0].shape, str(self._path))


def checked_images(render: np.ndarray, uv: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return driving images as float32, each frame in one piece.

    Raises:
        ValueError: images of another shape.
    """
    images = [np.ascontiguousarray(image, np.float32) for image in (render, uv)]
    shape = (len(images[0]), 3, size_px, size_px)
    if any(image.shape != shape for image in images) or not shape[0]:
        raise ValueError(f"render and uv must be {('B', *shape[1:])}, not {np.shape(render)} and {np.shape(uv)}")
    return images[0], images[1]


def checked_painting(
    image: np.ndarray, alpha: np.ndarray, shape: tuple[int, ...], path: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network painted; UserError where it is not of the contract's shape."""
    if image.shape != shape or alpha.shape != (shape[0], 1, *shape[2:]):
        raise UserError(f"{path} paints images of another shape than it says; export the avatar again")
    return image, alpha


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
