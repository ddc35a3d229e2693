"""Show the avatar as a camera to other programs, by the optional package pyvirtualcam."""

from __future__ import annotations

import logging
import threading
from typing import Any

import cv2
import numpy as np

from selfieavatar.errors import UserError

log = logging.getLogger(__name__)

LEAST_PX, FPS = 512, 30  # programs that take a camera's images expect about the size of one


class VirtualCamera:
    """A camera of the system that shows the images of `send`. Thread-safe.

    Args:
        size_px: side of the images.

    Raises:
        UserError: pyvirtualcam is not installed, or the system has no virtual camera.
    """

    def __init__(self, size_px: int) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise UserError("--virtual-camera needs a package that is not there: pip install pyvirtualcam") from error
        self._side, self._lock = max(size_px, LEAST_PX), threading.Lock()
        try:
            self._camera: Any = pyvirtualcam.Camera(self._side, self._side, FPS)
        except RuntimeError as error:
            raise UserError(
                f"no virtual camera is found ({str(error).splitlines()[0]}); on Linux: modprobe v4l2loopback, on macOS "
                "and Windows: install OBS and start its virtual camera once"
            ) from error
        log.info("the avatar is shown as the camera %s", self._camera.device)

    def send(self, image: np.ndarray) -> None:
        """Show an image (S, S, 3) uint8 RGB."""
        big = cv2.resize(image, (self._side, self._side), interpolation=cv2.INTER_CUBIC)
        with self._lock:
            self._camera.send(big)

    def close(self) -> None:
        """Give the camera back."""
        with self._lock:
            self._camera.close()
