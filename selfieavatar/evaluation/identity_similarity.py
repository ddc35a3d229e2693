"""Compute identity similarity: how alike two faces are to a network that tells people apart.

Cosine of the features of VGGFace2's ResNet50 (Cao et al. 2018) where the user has its file, else of the descriptors of
dlib's network (King 2017), which a package brings; 1 for equal images. These are two measures: `label` says which.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from selfieavatar.networks.backbones import load_backbone
from selfieavatar.networks.face_chip import face_chips, face_squares
from selfieavatar.settings.assets import given_file
from selfieavatar.video.window import cut_window

REGION = "face"
SIZE_PX = 224  # of VGGFace2's images
_WIDER = 1.3  # of the longer side of the face's box, as VGGFace2's own images are cut out
# Name and weights of each network, and the length of its features.
_NETWORKS = {"vggface2": ("resnet50", "vggface2", 2048), "dlib_face": ("dlib_face", "packaged", 128)}


class FaceFeatures:
    """Extractor of features of faces in images, on a device. `label`: "vggface2" or "dlib_face"."""

    def __init__(self, device: torch.device | str) -> None:
        """Load the weights; UserError with what to do where the file or the package is missing or another."""
        self.label = "vggface2" if given_file("resnet50_vggface2").is_file() else "dlib_face"
        name, weights, self.length = _NETWORKS[self.label]
        self.net, self.device = load_backbone(name, weights).to(device), device

    @torch.no_grad()
    def __call__(self, images: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Extract (N,length) float64 of unit length, NaN without a face.

        images (N,S,S,3) in [0,1], faces (N,S,S) bool. The product of two rows is the similarity of their faces.
        """
        features, known = np.full((len(images), self.length), np.nan), np.flatnonzero(faces.any(axis=(1, 2)))
        if len(known):
            # One by one: of another batch, the last digits would be others.
            inputs = self._inputs(images[known], faces[known]).split(1)
            last = torch.cat([[*self.net(face).values()][-1] for face in inputs])
            found = last.mean(dim=(2, 3)).double().cpu().numpy()
            features[known] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return features

    def _inputs(self, images: np.ndarray, faces: np.ndarray) -> Tensor:
        """Cut the faces out as the network wants them."""
        if self.label == "vggface2":
            cut = np.stack([_face(image, face) for image, face in zip(images, faces, strict=True)])
            return torch.from_numpy(cut).to(self.device).permute(0, 3, 1, 2).float() / 255
        squares = face_squares(torch.from_numpy(faces[:, None]).to(self.device))
        return face_chips(torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float(), squares)


def mean_face(features: np.ndarray) -> np.ndarray:
    """Average features (N,L) to one person's, (L,) of unit length; NaN where none is known."""
    total = features[np.isfinite(features).all(axis=1)].sum(axis=0)
    return total / np.linalg.norm(total) if total.any() else np.full_like(total, np.nan)


def _face(image: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Cut the square around a face as VGGFace2's network wants it: (224, 224, 3) uint8."""
    rows, columns = np.nonzero(face)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    side = _WIDER * float((high - low).max())
    x0, y0 = (low + high) / 2 - side / 2
    return cut_window(np.round(image * 255).astype(np.uint8), (x0, y0, side), SIZE_PX)
