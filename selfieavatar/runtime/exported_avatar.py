"""An exported avatar at run time, without torch: the same calls as `selfieavatar.Avatar`, in NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from selfieavatar.errors import UserError
from selfieavatar.retargeting.posable import Posable
from selfieavatar.runtime.exported_file import Exported, read_exported
from selfieavatar.runtime.painters import OnnxPainter, OpenVinoPainter, Painter

RUNNERS = ("onnxruntime", "openvino")


class ExportedAvatar(Posable):
    """One person's avatar, read from avatar.onnx and what lies beside it; thread-safe.

    Attributes, besides those of `Posable`:
        subject: name. consent: on what basis the avatar was made, if it says. digest: content hash of the avatar.pt
        that was exported. paint: the painter; another one may be put in its place.
    """

    paint: Painter

    def __init__(self, exported: Exported, paint: Painter) -> None:
        super().__init__(exported.identity, exported.description.size_px)
        self.subject, self.consent = exported.description.subject, exported.description.consent or ""
        self.digest = exported.description.avatar.hash
        self.paint = paint

    @classmethod
    def load(
        cls, path: Path | str, threads: int = 1, runner: str = "onnxruntime", precision: str = "float32"
    ) -> ExportedAvatar:
        """Read avatar.onnx with avatar.onnx.json and avatar.onnx.npz.

        Args:
            path: of avatar.onnx. threads: cores that painting takes. runner: one of `RUNNERS`.
            precision: of the file, "float32", "float16" or "int8".

        Raises:
            UserError: a file is missing, damaged or of another export, or the runner is not installed.
        """
        if runner not in RUNNERS:
            raise UserError(f"there is no runner '{runner}'; use {' or '.join(RUNNERS)}")
        exported = read_exported(Path(path), precision)
        return cls(exported, {"onnxruntime": OnnxPainter, "openvino": OpenVinoPainter}[runner](exported, threads))

    pose = Posable.draw

    def drive(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Paint frames from coefficients of this avatar's own model: arguments as of `draw`, returns as of `paint`."""
        return self.paint(*self.draw(rotation, translation, expression, gaze, light, torso))
