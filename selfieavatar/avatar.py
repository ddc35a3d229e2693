"""The avatar at run time: what evaluate, reenact, export and live share.

`load` reads avatar.pt, `pose` draws the driving images of a pose, `paint` paints the person from them, `drive` does
both, and `retarget` carries another person's motion over to this one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from selfieavatar.errors import UserError
from selfieavatar.identity import Identity
from selfieavatar.io.avatar_file import read_avatar
from selfieavatar.io.files import content_hash
from selfieavatar.networks.avatar_content import NEEDED, consent_of, networks_of, refuse_misfits, regions_of
from selfieavatar.networks.avatar_networks import OFF_FACE, build_generator
from selfieavatar.networks.face_bases import bases_of, has_bases
from selfieavatar.networks.painting import Painting
from selfieavatar.rendering.raster import RasterBackend
from selfieavatar.retargeting.posable import Posable

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16")


class _Unfilled(TorchFunctionMode):
    """Leave new tensors of the device "meta" unfilled: to fill what has no memory, torch imports sympy, for seconds."""

    _FILL = ("normal_", "uniform_", "fill_", "zero_", "kaiming_uniform_")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass over what fills, and call everything else."""
        if func is torch.randn:
            return torch.empty(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in self._FILL:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def compile_folded(network: nn.Module, device: torch.device) -> None:
    """Have a folded network compiled at its next call."""
    if device.type == "cpu":  # without freezing, kernels are laid out anew at each frame
        network.compile(dynamic=False, options={"freezing": True, "cpp_wrapper": True})
    else:
        network.compile(dynamic=False, mode="reduce-overhead")  # CUDA graphs


class Avatar(Posable):
    """One person's avatar on a device. Thread-safe as long as nobody moves it.

    Attributes, besides those of `Posable`:
        weights: where the backbones of the losses came from. consent: basis on which the person was made into an
        avatar, as the sheet states it, and that of the avatar it started from; empty in files from before. digest:
        content hash of avatar.pt, empty where there is no file. settings: of its networks. training: images and minutes
        that it took. mask_trained: whether any loss taught it the mask. painting: the network that `paint` runs.
    """

    def __init__(
        self, content: dict[str, Any], device: torch.device | str, precision: str = "float32",
        backend: RasterBackend | None = None,
    ) -> None:  # fmt: skip
        """Build the avatar from the content of avatar.pt; arguments as of `load`."""
        self.device = torch.device(device)
        self.subject: str = content.get("subject", "")
        self.consent = consent_of(content)
        self.digest = ""
        self.settings = networks_of(content)
        self.weights: dict[str, str] = content["weights"]
        self.training = {name: content.get(name) for name in ("images", "minutes")}
        self.mask_trained = any(content["settings"].get(name, 1) for name in ("weight_mask", "weight_mrf"))
        identity = Identity.from_arrays(
            {k: np.array(v) if isinstance(v, str) else v.numpy() for k, v in content["identity"].items()}
        )
        super().__init__(identity, int(content["size_px"]), backend)
        self.expression_range = {k: v.numpy() for k, v in content["expression_range"].items()}
        maps = {
            region: {name: content["maps"][region][name].to(self.device, memory_format=torch.channels_last)
                     for name in ("feature", "skip")}
            for region in regions_of(self.settings)
        }  # fmt: skip
        with torch.device("meta"), _Unfilled():  # memory for what is in the file, not for what its settings claim
            network = build_generator(self.settings, self.size_px)
        network.load_state_dict(content["g_style"], assign=True)
        network.to(self.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        network.fold(getattr(torch, precision))
        off_face = {region: maps[region] for region in OFF_FACE if region in maps}
        bases = bases_of(content["maps"]["bases"], self.device) if has_bases(self.settings) else None
        atlas, back = network.atlas(maps.get("face", {}), off_face, bases), maps.get("back", {})
        if back:
            back["feature"] = back["feature"].to(getattr(torch, precision))
        self.painting = Painting(network, atlas, back, self.size_px)

    @classmethod
    def load(
        cls, path: Path | str, device: torch.device | str = "cpu", precision: str = "float32", compile: bool = False,
        backend: RasterBackend | None = None,
    ) -> Avatar:  # fmt: skip
        """Read avatar.pt; nothing in the file is executed.

        Args:
            path: of the file. device: for the networks.
            precision: of the convolutions, "float32" or "bfloat16"; the latter is several times faster on CPUs
                that have it (AMX, AVX512-BF16, GPUs), and slightly coarser (benchmarks/results/networks.md).
            compile: compiles the network for this machine, which takes a minute or so here and again at the first
                frame of each other batch size, up to eight of them; then frames come faster. Needs a C++ compiler on a
                CPU, Triton on a GPU.
            backend: rasteriser that `pose` draws with, see `rendering.raster.backend_for`; None draws on the CPU.

        Raises:
            UserError: missing, damaged, not an avatar, of another format, or not for this device; or it cannot be
                compiled here.
        """
        if precision not in PRECISIONS:
            raise UserError(f"there is no precision '{precision}'; use {' or '.join(PRECISIONS)}")
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise UserError("no CUDA GPU is found here; load the avatar with device='cpu'")
        content = read_avatar(Path(path))
        missing = [name for name in NEEDED if name not in content]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; train the avatar again")
        try:
            refuse_misfits(content)
            avatar = cls(content, device, precision, backend)
            avatar.digest = content_hash(Path(path))
            ends = {name: avatar.expression_range[name].shape for name in ("low", "high")}
            if any(shape != (avatar.model.expression_count,) for shape in ends.values()):
                raise ValueError("expression_range is not of its model")
        except (UserError, LookupError, RuntimeError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path} does not fit together ({first}); train the avatar again") from error
        if compile:
            avatar._compile()
        return avatar

    def _compile(self) -> None:
        """Compile the network, and paint a black frame to see that it can be done."""
        log.info("compiling the avatar's networks for this machine; a minute or so, longer where it is busy")
        compile_folded(self.painting.network, self.device)
        black = torch.zeros(1, 3, self.size_px, self.size_px)
        try:
            self.paint(black, black)
        except RuntimeError as error:
            raise UserError(
                f"the network cannot be compiled on {self.device} ({str(error).splitlines()[0]}); install a C++ "
                "compiler (on a GPU Triton), or load the avatar without compile=True"
            ) from error

    @torch.inference_mode()
    def paint(self, render: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
        """Paint frames from their driving images (paper eq. 3).

        Args:
            render: I_R (B,3,S,S) in [0,1]. uv: I_UV (B,3,S,S) in [0,1], channel 2 is 1 on the face, else 0.

        Returns:
            image (B,3,S,S) and alpha (B,1,S,S), both in [0,1]; alpha is 1 on the person.

        Raises:
            ValueError: images of another shape.
        """
        shape = (render.shape[0], 3, self.size_px, self.size_px)
        if tuple(render.shape) != shape or tuple(uv.shape) != shape:
            raise ValueError(f"render and uv must be {shape}, not {tuple(render.shape)} and {tuple(uv.shape)}")
        render = render.to(self.device, memory_format=torch.channels_last)
        uv = uv.to(self.device, memory_format=torch.channels_last)
        return self.painting(render, uv)

    def pose(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw the driving images of frames: arguments as of `draw`, as tensors I_R and I_UV (B,3,S,S) for `paint`."""
        render, uv = self.draw(rotation, translation, expression, gaze, light, torso)
        return torch.from_numpy(render), torch.from_numpy(uv)

    def drive(
        self,
        rotation: np.ndarray,
        translation: np.ndarray,
        expression: np.ndarray,
        gaze: np.ndarray | None = None,
        light: np.ndarray | None = None,
        torso: np.ndarray | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Paint frames from coefficients of this avatar's own model: arguments as of `pose`, returns as of `paint`."""
        return self.paint(*self.pose(rotation, translation, expression, gaze, light, torso))
