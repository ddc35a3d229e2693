"""Compute all detail losses of one generator step, eq. 4, and their weighted sum, eq. 7."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from selfieavatar.losses.cosine import CosineLoss
from selfieavatar.losses.id_mrf import IDMRFLoss
from selfieavatar.losses.l1 import l1_loss
from selfieavatar.losses.mask import cell_target, mask_loss
from selfieavatar.networks.backbones import load_backbone
from selfieavatar.networks.face_chip import CHIP_PX, face_chips, face_squares
from selfieavatar.settings.train_section import Losses

TERMS = ("mask", "mrf", "l1", "cos", "gan")
# Name and weights, for `load_backbone`, of the networks of the cosine term that have weights of their own.
COSINE_NETWORKS = {"vggface2": ("resnet50", "vggface2"), "dlib_face": ("dlib_face", "packaged")}

# Cells per side of the grid from which the centre of a crop is drawn.
_CENTRE_CELLS = 16


class DetailLoss:
    """The terms mask, mrf, l1 and cos of eq. 4 for one batch.

    A backbone is loaded only where its term has a weight. shared: the mean over the processes that share each batch, if
    any.
    """

    def __init__(
        self, settings: Losses, device: torch.device | str, shared: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.device, self.shared = torch.device(device), shared
        self.weights = {name: float(getattr(settings, f"weight_{name}")) for name in TERMS}
        self.every = {"mrf": settings.mrf_every, "cos": settings.cos_every}
        self.crop_px = settings.mrf_crop_px
        self.mask_target = settings.mask_target
        self.seed = settings.backbone_seed
        self.backbone_labels: dict[str, str] = {}
        self._mrf: IDMRFLoss | None = None
        self._cos: CosineLoss | None = None
        self._cos_sees_chips = False
        source = settings.backbone_weights
        if self.weights["mrf"] > 0:
            vgg = load_backbone("vgg19", source, self.seed).to(self.device)
            self._mrf = IDMRFLoss(vgg, max_positions=settings.mrf_positions)
            self.backbone_labels["vgg19"] = vgg.label
        if self.weights["cos"] > 0:
            name, weights = COSINE_NETWORKS.get(settings.cos_network, (settings.cos_network, source))
            network = load_backbone(name, weights, self.seed).to(self.device)
            self._cos_sees_chips = name == "dlib_face"
            size_px = CHIP_PX if self._cos_sees_chips else settings.cos_size_px
            self._cos = CosineLoss(network, settings.cos_layers, size_px)
            self.backbone_labels[name] = network.label

    def __call__(
        self,
        image: Tensor,
        mask_fg: Tensor,
        target: Tensor,
        alpha: Tensor,
        validity: Tensor | None = None,
        step: int = 0,
        face: Tensor | None = None,
        detail: bool = True,
    ) -> dict[str, Tensor]:
        """Compute the terms that have a weight and are due at ``step`` (at step 0 all are), without their weights.

        image, target: (B,3,H,W) RGB in [0,1]. mask_fg: (B,1,h,w) predicted foreground I_FM in [0,1]. alpha: (B,1,H,W)
        matte, 1 on the person. validity: (B,1,H,W), 0 where the target is unknown, or None. face: (B,1,H,W), above 0 on
        the face, which the cosine term on dlib's network needs. mrf and cos are due every ``mrf_every`` and
        ``cos_every`` steps; the trainer makes up for it. Random choices depend on the seed and ``step`` alone.
        detail: False leaves both out, until they join.
        """
        terms: dict[str, Tensor] = {}
        if self.weights["mask"] > 0:
            terms["mask"] = mask_loss(mask_fg, alpha, self.mask_target, validity, self.shared)
        if self.weights["l1"] > 0:
            terms["l1"] = l1_loss(image, target, validity, self.shared)
        mrf = self._mrf if detail and step % self.every["mrf"] == 0 else None
        cos = self._cos if detail and step % self.every["cos"] == 0 else None
        if mrf is None and cos is None:
            return terms
        # Where nothing is known, the truth of the network losses is the image itself: no difference, no gradient.
        known = image if validity is None else torch.where(validity > 0.5, image, target)
        if mrf is not None:
            terms["mrf"] = self._mrf_term(mrf, known, mask_fg, target, alpha, step)
        if cos is not None:
            terms["cos"] = self._cos_term(cos, known, target, face)
        return terms

    def weighted_sums(self, terms: Mapping[str, Tensor]) -> dict[int, Tensor]:
        """Sum the terms by eq. 7 ("gan", the generator's adversarial loss, may be among them): {interval: scalar}.

        A term that is computed only every k steps has to count k times, for the same expected gradient as of computing
        it always. Whoever limits gradients must do so before: the k-fold gradient would be cut, the usual one is not.
        """
        unknown = sorted(set(terms) - set(TERMS))
        if unknown:
            raise ValueError(f"no weight for the terms {unknown}; known are {list(TERMS)}")
        sums: dict[int, Tensor] = {}
        for name, value in terms.items():
            every = self.every.get(name, 1)
            sums[every] = sums.get(every, torch.zeros((), device=self.device)) + self.weights[name] * value
        return sums

    def _cos_term(self, loss: CosineLoss, image: Tensor, target: Tensor, face: Tensor | None) -> Tensor:
        """Compute the cosine loss of the whole images or, where its network knows faces only, of the faces."""
        if not self._cos_sees_chips:
            return loss(image, target)
        if face is None:
            raise ValueError("the cosine loss on dlib's network needs to know where the face is")
        squares = face_squares(face)
        if not len(squares):
            return 0 * image.sum()  # with a gradient, so that all GPUs do the same steps
        return loss(face_chips(image.float(), squares), face_chips(target.float(), squares))

    def _mrf_term(
        self, loss: IDMRFLoss, image: Tensor, mask_fg: Tensor, target: Tensor, alpha: Tensor, step: int
    ) -> Tensor:
        """Compute eq. 6 on a random square of the masked foregrounds.

        Both masks have the cells of the prediction and are enlarged alike: else their edges would differ where the
        prediction is right, too.
        """
        masks = torch.cat([mask_fg, cell_target(alpha, mask_fg.shape[-2:], self.mask_target)])
        predicted, truth = F.interpolate(masks, size=image.shape[-2:], mode="bilinear").chunk(2)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        corners = crop_corners(alpha, self.crop_px, generator)
        return loss(
            crop(predicted * image, corners, self.crop_px), crop(truth * target, corners, self.crop_px), generator
        )


def crop_corners(alpha: Tensor, size_px: int, generator: torch.Generator) -> Tensor | None:
    """Draw top-left corners (B,2) int64 (row, column) of squares centred somewhere on the person.

    None where size_px takes whole images.

    alpha: (B,1,H,W). Centres are drawn in proportion to alpha on a coarse grid, jittered within the cell, and the
    square is then pushed inside the image. An image without a person draws uniformly.
    """
    height, width = alpha.shape[-2:]
    if size_px == 0 or size_px >= min(height, width):
        return None
    density = F.adaptive_avg_pool2d(alpha, _CENTRE_CELLS).flatten(1).detach().float().cpu() + 1e-6
    cell = torch.multinomial(density, 1, generator=generator).squeeze(1)
    jitter = torch.rand(len(cell), 2, generator=generator)
    place = (torch.stack([cell // _CENTRE_CELLS, cell % _CENTRE_CELLS], dim=1) + jitter) / _CENTRE_CELLS
    extent = torch.tensor([height, width])
    corners = (place * extent - size_px / 2).round().long()
    return corners.clamp(min=torch.zeros(2, dtype=torch.long), max=extent - size_px)


def crop(image: Tensor, corners: Tensor | None, size_px: int) -> Tensor:
    """Crop (B,C,H,W) at each image's own corner: (B,C,size_px,size_px); whole images where corners is None."""
    if corners is None:
        return image
    cut = [
        item[:, row : row + size_px, column : column + size_px]
        for item, (row, column) in zip(image, corners.tolist(), strict=True)
    ]
    return torch.stack(cut)
