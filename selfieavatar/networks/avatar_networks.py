"""Join all generators of one avatar: G_fa, G_b and G_style, and how a batch goes through them (paper eq. 1 to 3)."""

from __future__ import annotations

from torch import Tensor, nn

from selfieavatar.networks.avatar_generator import Atlas, AvatarGenerator, map_channels
from selfieavatar.networks.face_bases import FaceBases, has_bases
from selfieavatar.networks.feature_generator import MapBank, NoMap
from selfieavatar.networks.plain_unet import PlainUNet
from selfieavatar.settings.train_section import Networks

OFF_FACE = ("torso", "hair")  # what has a map like the face's beside it


def build_generator(settings: Networks, size_px: int) -> AvatarGenerator | PlainUNet:
    """Build the network that paints frames: G_style, or the baseline that `net_generator` names."""
    kinds: dict[str, type[AvatarGenerator | PlainUNet]] = {"style": AvatarGenerator, "unet": PlainUNet}
    return kinds[settings.net_generator](settings, size_px)


class AvatarNetworks(nn.Module):
    """G_fa (`face`), G_b (`back`), G_style (`style`, or the baseline in its place, which has no maps).

    Maps of `torso` and `hair`, which are not in the paper, stand beside them, and `bases` of the face's, if it has any.
    """

    def __init__(self, settings: Networks, size_px: int) -> None:
        super().__init__()
        channels, plain = map_channels(settings), settings.net_generator == "unet"
        self.face = NoMap() if plain else MapBank(settings.net_map_px, channels["face"], settings)
        self.back = NoMap() if plain else MapBank(settings.net_feature_px, channels["back"], settings)
        for name in OFF_FACE:
            with_map = getattr(settings, f"net_{name}") and not plain
            setattr(self, name, MapBank(settings.net_map_px, channels["face"], settings) if with_map else NoMap())
        self.style = build_generator(settings, size_px)
        self.bases = FaceBases(settings) if has_bases(settings) else None

    def forward(
        self, render: Tensor, uv: Tensor, time: Tensor | None = None, shift_px: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Paint as `AvatarGenerator.forward`: image (B,3,S,S) in about [-1,1], background mask (B,1,f,f) in [-1,1]."""
        return self.style(self.atlas(), self.back(), render, uv, time, shift_px)

    def atlas(self) -> Atlas | None:
        """Lay out the maps of the face and, as far as the network has them, of `OFF_FACE`."""
        off_face = {name: maps for name in OFF_FACE if (maps := getattr(self, name)())}
        return self.style.atlas(self.face(), off_face, self.bases() if self.bases is not None else None)

    def freeze_maps(self) -> None:
        """Cache what G_fa and G_b give; from here on only their free residuals (if any) are trained."""
        for name in ("face", "back", *OFF_FACE):
            getattr(self, name).freeze()

    @property
    def maps_frozen(self) -> bool:
        """Whether G_fa and G_b are cached."""
        return self.face.generator is None
