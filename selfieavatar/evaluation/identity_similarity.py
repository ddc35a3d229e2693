"""Compute identity similarity: how alike two faces are to a network that tells people apart.

Cosine of the pooled features of VGGFace2's ResNet50 (Cao et al. 2018), 1 for equal images. Its weights are the user's
own file; with any others the metric would be something else under the same name, so there is none.
"""

from __future__ import annotations

import numpy as np
import torch

from selfieavatar.networks.backbones import load_backbone
from selfieavatar.video.window import cut_window

LABEL = "vggface2"
REGION = "face"
SIZE_PX = 224
_WIDER = 1.3  # of the longer side of the face's box, as VGGFace2's own images are cut out


class FaceFeatures:
    """Extractor of features of faces in images, on a device."""

    def __init__(self, device: torch.device | str) -> None:
        """Load the user's weights; UserError with what to do where the file is missing or another."""
        self.net, self.device = load_backbone("resnet50", LABEL).to(device), device

    @torch.no_grad()
    def __call__(self, images: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Extract (N,2048) float64 of unit length, NaN without a face; images (N,S,S,3) in [0,1], faces (N,S,S) bool.

        The product of two rows is the similarity of their faces.
        """
        features, known = np.full((len(images), 2048), np.nan), np.flatnonzero(faces.any(axis=(1, 2)))
        if len(known):
            cut = np.stack([_face(images[row], faces[row]) for row in known])
            inputs = torch.from_numpy(cut).to(self.device).permute(0, 3, 1, 2).float() / 255
            pooled = self.net(inputs)["layer4"].mean(dim=(2, 3)).double().cpu().numpy()
            features[known] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return features


def mean_face(features: np.ndarray) -> np.ndarray:
    """Average features (N,2048) to one person's, (2048,) of unit length; NaN where none is known."""
    total = features[np.isfinite(features).all(axis=1)].sum(axis=0)
    return total / np.linalg.norm(total) if total.any() else np.full_like(total, np.nan)


def _face(image: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Cut the square around a face as the network wants it: (224, 224, 3) uint8."""
    rows, columns = np.nonzero(face)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    side = _WIDER * float((high - low).max())
    x0, y0 = (low + high) / 2 - side / 2
    return cut_window(np.round(image * 255).astype(np.uint8), (x0, y0, side), SIZE_PX)
