"""The avatar at run time: what evaluate, reenact, export and live share. Loads avatar.pt, paints frames, drives
poses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.core.errors import UserError
from stages.nets.avatar_networks import build_generator
from stages.nets.sizes import network_settings

if TYPE_CHECKING:
    from stages.graphics.renderer import Renderer

FORMAT = 1
NEEDED = ("size_px", "settings", "g_style", "maps", "identity", "expression_range", "weights")


class Avatar:
    """One person's avatar on a device. Thread-safe as long as nobody moves it.

    size_px: side of the pictures. identity: arrays of identity.npz by name. weights: where the backbones of the losses
    came from. settings: the train section it was made with. training: images and minutes that it took.
    """

    def __init__(self, content: dict[str, Any], device: torch.device | str, precision: str = "float32") -> None:
        self.device = torch.device(device)
        self.size_px = int(content["size_px"])
        self.subject: str = content.get("subject", "")
        self.settings: dict[str, Any] = content["settings"]
        self.weights: dict[str, str] = content["weights"]
        self.training = {name: content.get(name) for name in ("images", "minutes")}
        self.identity = {k: v.numpy() if isinstance(v, Tensor) else np.array(v) for k, v in content["identity"].items()}
        self.expression_range = {k: v.numpy() for k, v in content["expression_range"].items()}
        self._maps = {
            region: {name: value.to(self.device, memory_format=torch.channels_last) for name, value in maps.items()}
            for region, maps in content["maps"].items()
        }
        self._network = build_generator(network_settings(self.settings), self.size_px)
        self._network.load_state_dict(content["g_style"])
        self._network.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self._network.fold(getattr(torch, precision))
        self._renderer: Renderer | None = None

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu", precision: str = "float32") -> Avatar:
        """Reads avatar.pt; nothing in the file is executed.

        Args:
            precision: of the convolutions, "float32" or "bfloat16"; the latter is several times faster on processors
                that have it (AMX, AVX512-BF16, GPUs), and slightly coarser (benchmarks/results/networks.md).

        Raises:
            UserError: missing, damaged, not an avatar, or of another format.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"the avatar {path} is missing; train it first (snakemake {path})")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # depending on the damage, torch raises a dozen different ones
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{path} is not a readable avatar ({first}); train it again or fetch the file again"
            ) from error
        if not isinstance(content, dict) or "format" not in content:
            raise UserError(f"{path} is not an avatar of this project; give an avatar.pt that the train stage wrote")
        if content["format"] != FORMAT:
            raise UserError(
                f"{path} has format {content['format']}, this version reads format {FORMAT}; train it again"
            )
        missing = [name for name in NEEDED if name not in content]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; train the avatar again")
        try:
            return cls(content, device, precision)
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path} does not fit together ({first}); train the avatar again") from error

    @torch.inference_mode()
    def paint(self, render: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        """Paints frames from their driving pictures (paper eq. 3).

        Args:
            render: I_R (B,3,S,S) in [0,1]. uv: I_UV (B,3,S,S) in [0,1], channel 2 is 1 on the face.

        Returns:
            image (B,3,S,S) and alpha (B,1,S,S), both in [0,1]; alpha is 1 on the person.

        Raises:
            ValueError: pictures of another shape.
        """
        shape = (render.shape[0], 3, self.size_px, self.size_px)
        if tuple(render.shape) != shape or tuple(uv.shape) != shape:
            raise ValueError(f"render and uv must be {shape}, not {tuple(render.shape)} and {tuple(uv.shape)}")
        render = render.to(self.device, memory_format=torch.channels_last)
        uv = uv.to(self.device, memory_format=torch.channels_last)
        picture, background = self._network(self._maps["face"], self._maps["back"], render, uv)
        alpha = F.interpolate((1 - background.float()) / 2, size=self.size_px, mode="bilinear", align_corners=False)
        return (picture.float() / 2 + 0.5).clamp(0, 1), alpha.clamp(0, 1)

    def drive(
        self, rotation: np.ndarray, translation: np.ndarray, expression: np.ndarray, gaze: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor]:
        """Paints frames from coefficients of this avatar's own model.

        Args:
            rotation: axis-angle (B,3) rad. translation: (B,3) cm. expression: (B,E). gaze: (B,4) rad, None looks ahead.

        Returns:
            as `paint`.
        """
        if self._renderer is None:
            from stages.graphics.renderer import Renderer

            self._renderer = Renderer(self.identity, self.size_px)
        pictures = self._renderer.render_batch(
            np.atleast_2d(rotation),
            np.atleast_2d(translation),
            np.atleast_2d(expression),
            None if gaze is None else np.atleast_2d(gaze),
        )
        render = torch.from_numpy(pictures.picture).permute(0, 3, 1, 2).float() / 255
        uv = torch.from_numpy(pictures.uv.astype(np.int32)).permute(0, 3, 1, 2).float() / 65535
        return self.paint(render, uv)
