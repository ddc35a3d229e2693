"""Hide 32 fixed bits in the colours of an image, and look for them (docs/decisions/0019).

The method is dwtDctSvd of the package invisible-watermark: in the blocks of the Haar transform's low band of U, the
largest singular value is moved to the quarter of a step that stands for the block's bit. The package's own decoder
reads what is hidden here. Its loop over blocks takes more than twice as long as all at once, and truncation to whole
colours costs bits. The bits say "synthetic, by this program", not who.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import cv2
import numpy as np

BITS = np.unpackbits(np.frombuffer(b"\x5a\x1f\xe2\x93", np.uint8))  # as many ones as zeros, in no pattern
BLOCK = 8  # of the low band: 16 px
LEAST_PX = 128  # shorter side: below, there are fewer than two blocks for a bit
MOST_PX = 4096  # longer side that is looked at
MOST_WRONG = 2  # bits; an image without the mark passes once in eight million tries
_STEPS = ((256, 60.0), (LEAST_PX, 72.0))  # the shorter side from which a step is used: small images need a larger


def step_of(height: int, width: int) -> float | None:
    """Choose the step of the singular values for an image's size; None where it is too small."""
    return next((step for least, step in _STEPS if min(height, width) >= least), None)


def _largest(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the largest singular value (R, C) of blocks (R, C, N, N), with its vectors, by power iteration.

    U lies about 128, so that the mean of a block outweighs all else in it, and four steps suffice.
    """
    right = np.ones((*blocks.shape[:2], 1, BLOCK), blocks.dtype)
    for _ in range(4):
        left = blocks @ right.swapaxes(2, 3)
        right = (left / np.linalg.norm(left, axis=2, keepdims=True)).swapaxes(2, 3) @ blocks
        size = np.linalg.norm(right, axis=3, keepdims=True)
        right = right / size
    return size[..., 0, 0], blocks @ right.swapaxes(2, 3) / size, right


@cache
def _method() -> type:
    from imwatermark.dwtDctSvd import EmbedDwtDctSvd  # imports torch

    class Batched(EmbedDwtDctSvd):
        """The package's method with all blocks at once. Its DCT is left out: singular values do not change by it."""

        def _blocks(self, frame: np.ndarray) -> np.ndarray:
            rows, columns = (side // BLOCK for side in frame.shape)
            return frame[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3)

        def encode_frame(self, frame: np.ndarray, scale: float) -> None:
            blocks = self._blocks(frame)
            largest, left, right = _largest(blocks)
            bits = np.resize(self._watermarks, largest.shape)
            wanted = (largest // scale + 0.25 + 0.5 * bits) * scale
            blocks = blocks + (wanted - largest)[..., None, None] * left * right
            rows, columns = (count * BLOCK for count in largest.shape)
            frame[:rows, :columns] = blocks.transpose(0, 2, 1, 3).reshape(rows, columns)

        def decode_frame(self, frame: np.ndarray, scale: float, scores: list[list[Any]]) -> list[list[Any]]:
            largest = _largest(self._blocks(frame))[0].ravel()
            for number, score in enumerate((largest % scale > 0.5 * scale).tolist()):
                scores[number % len(scores)].append(score)
            return scores

        def encode(self, bgr: np.ndarray) -> np.ndarray:
            import pywt

            yuv = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV).astype(np.float32)
            even = tuple(slice(side // 4 * 4) for side in bgr.shape[:2])
            low, details = pywt.dwt2(yuv[..., 1][even], "haar")
            self.encode_frame(low, self._scales[1])
            yuv[..., 1][even] = pywt.idwt2((low, details), "haar")
            return cv2.cvtColor(yuv.round().clip(0, 255).astype(np.uint8), cv2.COLOR_YUV2BGR)

    return Batched


def hide(image: np.ndarray) -> np.ndarray:
    """Hide the bits in an image (H, W, 3) or (H, W, 4) uint8 RGB(A); one that is too small is returned as it is."""
    step = step_of(*image.shape[:2])
    if step is None:
        return image
    marked = image.copy()
    method = _method()(BITS, wmLen=len(BITS), scales=[0, step, 0], block=BLOCK)
    marked[..., :3] = method.encode(np.ascontiguousarray(image[..., 2::-1]))[..., ::-1]
    return marked


def found_in(images: Iterable[np.ndarray]) -> bool | None:
    """Look for the bits in images (H, W, 3) uint8 RGB of one size, which vote; also as if they were halved.

    Returns:
        Whether they are found; None where the images are too small or too large to look.
    """
    votes: dict[tuple[int, float], np.ndarray] = {}
    looked = False
    for image in images:
        for times in (1, 2):
            height, width = (side * times for side in image.shape[:2])
            if min(height, width) < LEAST_PX or max(height, width) > MOST_PX:
                continue
            shown = image if times == 1 else cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            for step in {step for _, step in _STEPS}:
                method = _method()([], wmLen=len(BITS), scales=[0, step, 0], block=BLOCK)
                read = method.decode(np.ascontiguousarray(shown[..., ::-1])).astype(int)
                votes[times, step] = votes.get((times, step), np.zeros(len(BITS), int)) + 2 * read - 1
                looked = True
    if not looked:
        return None
    return any(int(((vote > 0) != BITS).sum()) <= MOST_WRONG for vote in votes.values())
