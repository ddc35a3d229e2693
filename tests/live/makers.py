"""An avatar that paints how far its head is turned, and a driver that turns it by the brightness of the image."""

import time
from types import SimpleNamespace

import cv2
import numpy as np
import torch

from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.live.live_driver import Tracked
from selfieavatar.live.session import HEADER
from selfieavatar.morphable.landmark_sets import landmark_set
from selfieavatar.retargeting.retarget import Motion
from tests.fitting import makers

SIZE = 16


class Painted:
    """An avatar of the made-up person that remembers what it was asked for; its grey is 0.5 + the head's yaw."""

    subject, consent, digest, size_px = "anna", "self", "0123456789abcdef", SIZE

    def __init__(self, reach=True, alpha=1.0):
        pose = np.array([0, 0, 0, 0, 0, 90], np.float32)
        wide = np.array([0.5, 0.8, 0.4, 9, 9, 20], np.float32)
        self.identity = makers.identity(pose_range=PoseRange(pose, -wide, wide) if reach else None)
        self.model, self.camera = self.identity.model, self.identity.camera
        self.landmark_set, self.alpha = landmark_set("mediapipe478"), alpha

    def pose(self, rotation, translation, expression, gaze):
        self.asked = SimpleNamespace(rotation=rotation, translation=translation, expression=expression, gaze=gaze)
        return torch.full((1, 3, SIZE, SIZE), 0.5 + float(rotation[0, 1])), torch.zeros(1, 3, SIZE, SIZE)

    def paint(self, render, uv):
        return render.clamp(0, 1), torch.full((1, 1, SIZE, SIZE), self.alpha)


class NoMarks:
    """Stands for a Marker, and remembers the files that it sealed."""

    def __init__(self):
        self.sealed = []

    def paint(self, image):
        return image.copy()

    def seal(self, path):
        self.sealed.append((path, path.is_file()))


class Brightness:
    """Stands for a LiveDriver: grey 0.5 is ahead; each image takes `pause_s`."""

    is_person = False

    def __init__(self, pause_s=0.0):
        self.pause_s, self.seen, self.calibrations = pause_s, [], 0

    def track(self, image, time_s):
        time.sleep(self.pause_s)
        self.seen.append((float(image.mean() / 255), time_s))
        rotation = np.array([[0, self.seen[-1][0] - 0.5, 0]])
        return Tracked(Motion(rotation, np.array([[0, 0, 90.0]]), np.zeros((1, 4)), np.zeros((1, 4))), "following")

    def recalibrate(self):
        self.calibrations += 1


def grey_jpeg(grey, size=(24, 32)):
    return cv2.imencode(".jpg", np.full((*size, 3), round(255 * grey), np.uint8))[1].tobytes()


def frame_message(grey, number=1, taken_ms=None):
    return HEADER.pack(0, number, 40.0 * number if taken_ms is None else taken_ms) + grey_jpeg(grey)
