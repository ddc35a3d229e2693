"""The virtual camera of an optional package, and what is said where package or camera are absent."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.live.virtual_camera import FPS, LEAST_PX, VirtualCamera


class Camera:
    device = "/dev/video9"

    def __init__(self, width, height, fps):
        self.made, self.sent, self.closed = (width, height, fps), [], False

    def send(self, image):
        self.sent.append(image)

    def close(self):
        self.closed = True


def test_images_are_sent_large_enough(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
    camera = VirtualCamera(128)
    camera.send(np.full((128, 128, 3), 7, np.uint8))
    inner = camera._camera
    assert inner.made == (LEAST_PX, LEAST_PX, FPS) and inner.sent[0].shape == (LEAST_PX, LEAST_PX, 3)
    assert (inner.sent[0] == 7).all()
    camera.close()
    assert inner.closed


def test_what_is_absent_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UserError, match="pip install"):
        VirtualCamera(128)

    def none(*size):
        raise RuntimeError("'v4l2loopback' backend: No /dev/video* found")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=none))
    with pytest.raises(UserError, match="modprobe v4l2loopback"):
        VirtualCamera(128)
