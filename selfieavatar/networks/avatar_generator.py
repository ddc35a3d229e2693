"""Define G_style (paper eq. 3): feature maps, I_R and I_UV -> foreground mask I_FM and avatar image I_A.

Three parts, after the published StyleAvatar structure: an encoder of the 3DMM rendering that gives base features, the
fusion
    X = X_base * (1 - m) + X_back * m + X_warp      (features, Haar skip and noise alike; m is the background mask)
with the face maps sampled through I_UV, and a U-Net whose decoder is StyleGAN-like and works in Haar space. One
definition for all sizes; the level of the fused features (`feature_px`) and all widths come from the configuration.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfieavatar.networks.blocks import Conv, ConvBlock, Mapping, StyledConv, ToRGB, fold, haar_down, positional_code
from selfieavatar.networks.driving_inputs import driving_inputs, input_channels
from selfieavatar.networks.face_bases import Bases, ExpressionCode, sample_bases
from selfieavatar.networks.haar import haar, inverse_haar
from selfieavatar.networks.resample import coarser_noise, downsample2, local_mean
from selfieavatar.networks.sampling import sample, sample_window
from selfieavatar.networks.sizes import fused_channels, width_at
from selfieavatar.settings.train_section import Networks

Maps = dict[str, Tensor]  # {"feature": (1,C,M,M), "skip": (1,12,M,M)}


class Atlas(NamedTuple):
    """Maps of the face and of the regions beside it, side by side: n of them, M px each."""

    feature: Tensor  # (1, C, M, n M)
    colour: Tensor  # RGB (1, 3, 2 M, 2 n M); (1, 12, M, n M) in Haar space where the network looks it up so
    beside: tuple[str, ...] = ()  # names of the maps right of the face's, in their order
    bases: Bases | None = None  # what the maps of the face follow the expression with


def map_channels(settings: Networks) -> dict[str, int]:
    """Count the channels of the face map (sampled `warp_scale` times finer, folded by Haar) and the background map."""
    fused = fused_channels(settings)
    return {"face": fused // settings.net_warp_scale**2, "back": fused}


class RenderEncoder(nn.Module):
    """The 3DMM encoder: I_R in Haar space -> base feature, skip and noise at feature_px.

    By config it sees I_UV and coordinates, too.
    """

    def __init__(self, settings: Networks, size_px: int) -> None:
        super().__init__()
        equalized, latent = settings.net_equalized, settings.net_latent
        top, feature_px, bottom = settings.net_render_px // 2, settings.net_feature_px, settings.net_render_bottom_px
        base, limit = settings.net_render_channel_base, settings.net_render_channel_max
        merge = settings.net_merge_kernel
        self.inputs, self.render_px, self.feature_px = settings.net_render_inputs, settings.net_render_px, feature_px
        channels = 4 * input_channels(self.inputs)
        self.shrinks = nn.ModuleList()
        width = width_at(top, base, limit)
        self.from_rgb = Conv(channels, width, kernel=1, equalized=equalized)
        px, self.levels = top, {top: width}
        while px > bottom:
            px //= 2
            out = width_at(px, base, limit)
            self.shrinks.append(ConvBlock(width, out, equalized=equalized))
            self.levels[px] = width = out
        self.bottom = Conv(width, width, equalized=equalized)
        self.ups, self.combs, self.convs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        while px < feature_px:
            px *= 2
            out = width_at(px, base, limit)
            skip = self.levels.get(px, 0) if px <= settings.net_render_skip_px else 0
            self.ups.append(StyledConv(width, out, latent, up=True, equalized=equalized))
            self.combs.append(Conv(out + skip, out, merge, equalized=equalized) if skip else nn.Identity())
            self.convs.append(StyledConv(out, out, latent, equalized=equalized))
            width = out
        self.feature = StyledConv(width, fused_channels(settings), latent, active=False, equalized=equalized)
        self.to_rgb = ToRGB(fused_channels(settings), latent, equalized=equalized)

    def squeeze(self, render: Tensor, uv: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Encode render, uv (B,3,S,S) in [0,1] -> bottom features (B,C,b,b), those of each level by their side."""
        x = self.from_rgb(haar(driving_inputs(self.inputs, render, uv, self.render_px)))
        kept = {x.shape[-1]: x}
        for shrink in self.shrinks:
            x = shrink(x)
            kept[x.shape[-1]] = x
        return self.bottom(x), kept

    def forward(self, render: Tensor, uv: Tensor, style: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode render, uv (B,3,S,S) in [0,1] -> feature (B,C,f,f), Haar skip (B,12,f,f), bottom features."""
        bottom, kept = self.squeeze(render, uv)
        x = bottom
        for up, comb, conv in zip(self.ups, self.combs, self.convs, strict=True):
            x = up(x, style)
            x = comb(torch.cat([x, kept[x.shape[-1]]], 1)) if isinstance(comb, Conv) else x
            x = conv(x, style)
        feature = self.feature(x, style)
        return feature, self.to_rgb.conv(feature, style), bottom  # in Haar space: it is composed at feature_px


class ImageUNet(nn.Module):
    """U-Net from fused features and skip at feature_px to RGB at S.

    Encoder to `bottom_px`, StyleGAN-like decoder up to S/2, Haar out.
    """

    def __init__(self, settings: Networks, size_px: int) -> None:
        super().__init__()
        equalized, latent, bottom = settings.net_equalized, settings.net_latent, settings.net_bottom_px
        base, limit, merge = settings.net_channel_base, settings.net_channel_max, settings.net_merge_kernel
        self.feature_px, self.top = settings.net_feature_px, size_px // 2
        self.shrinks = nn.ModuleList()
        px, width = self.feature_px, fused_channels(settings)
        self.levels = {px: width}
        while px > bottom:
            px //= 2
            # the first step narrows (it conditions, the Haar skip joins after it), as in the published network
            out = (
                width_at(2 * px, base, limit) // 2
                if px == self.feature_px // 2 and settings.net_narrow_condition
                else width_at(px, base, limit)
            )
            self.shrinks.append(ConvBlock(width, out, equalized=equalized))
            if px == self.feature_px // 2:
                self.from_rgb = Conv(12, out, kernel=1, equalized=equalized)
            self.levels[px] = width = out
        self.bottom = Conv(width, width_at(bottom, base, limit), equalized=equalized)
        width = width_at(bottom, base, limit)
        self.ups, self.combs, self.convs, self.to_rgb = (nn.ModuleList() for _ in range(4))
        while px < self.top:
            px *= 2
            out = width_at(px, base, limit)
            skip = self.levels.get(px, 0) if px <= settings.net_skip_px else 0
            self.ups.append(StyledConv(width, out, latent, up=True, equalized=equalized))
            self.combs.append(Conv(out + skip, out, merge, equalized=equalized) if skip else nn.Identity())
            self.convs.append(StyledConv(out, out, latent, equalized=equalized))
            self.to_rgb.append(ToRGB(out, latent, equalized=equalized))
            width = out

    def forward(self, feature: Tensor, skip: Tensor, noises: dict[int, Tensor], style: Tensor) -> tuple[Tensor, Tensor]:
        """Decode to the image (B,3,S,S) and the features (B,C',S/2,S/2) that it was read from.

        feature (B,C,f,f), skip (B,12,f,f), noises {px: (B,1,px,px)}, style (B or 1,L).
        """
        x, kept = feature, {feature.shape[-1]: feature}
        for level, shrink in enumerate(self.shrinks):
            x = shrink(x)
            if level == 0:
                x = x + self.from_rgb(haar_down(skip))
            kept[x.shape[-1]] = x
        x = self.bottom(x)
        image: Tensor | None = None
        for up, comb, conv, to_rgb in zip(self.ups, self.combs, self.convs, self.to_rgb, strict=True):
            x = up(x, style)
            x = comb(torch.cat([x, kept[x.shape[-1]]], 1)) if isinstance(comb, Conv) else x
            x = conv(x, style, noises.get(x.shape[-1]))
            image = to_rgb(x, style, image)
        assert image is not None  # there is one level at least
        return image, x


class Refinement(nn.Module):
    """Two light convolutions at full size, added to the image; off in the published structure.

    In Haar space four neighbours are painted by one position, and edges that move come out as dots where the network is
    small. Features are unfolded to full size, so each pixel sees both sides of its block; and it sees I_R, whose lips
    and lids stand where they are to be painted.
    """

    def __init__(self, cin: int, channels: int, *, equalized: bool) -> None:
        super().__init__()
        self.spread = Conv(cin, 4 * channels, kernel=1, equalized=equalized)
        self.first = Conv(channels + 6, channels, equalized=equalized)
        self.second = Conv(channels, 3, active=False, equalized=equalized)
        nn.init.zeros_(self.second.weight)

    def forward(self, feature: Tensor, image: Tensor, render: Tensor) -> Tensor:
        """Refine: feature (B,C,S/2,S/2), image (B,3,S,S), render (B,3,S,S) in [0,1] -> (B,3,S,S)."""
        x = F.pixel_shuffle(self.spread(feature), 2)
        return image + self.second(self.first(torch.cat([x, image.to(x.dtype), (2 * render - 1).to(x.dtype)], 1)))


class AvatarGenerator(nn.Module):
    """G_style: one network per frame at test time; the maps of G_fa and G_b come from the cache."""

    latent: Tensor

    def __init__(self, settings: Networks, size_px: int) -> None:
        super().__init__()
        self.settings, self.size_px, self.feature_px = settings, size_px, settings.net_feature_px
        self.mapping = Mapping(settings.net_latent, settings.net_mapping_layers)
        self.encoder = RenderEncoder(settings, size_px)
        self.mask = Conv(2 * fused_channels(settings), 1, active=False, equalized=settings.net_equalized)
        self.unet = ImageUNet(settings, size_px)
        self.refine: Refinement | None = None
        if settings.net_refine_channels:
            last = width_at(size_px // 2, settings.net_channel_base, settings.net_channel_max)
            self.refine = Refinement(last, settings.net_refine_channels, equalized=settings.net_equalized)
        self.noise_anew = False
        self.register_buffer("latent", torch.randn(1, settings.net_latent))
        if settings.net_noise:
            # drawn once, at the finest decoder level: what a level adds then belongs to the place, or to the skin.
            # With noise_anew, training draws others for each batch.
            for name in ("base", "face", "back"):
                self.register_buffer(f"noise_{name}", torch.randn(1, 1, size_px // 2, size_px // 2))
        bottom = self.encoder.bottom.weight.shape[0]  # last: all else starts as it does without
        self.code = ExpressionCode(bottom, settings.net_face_bases) if settings.net_face_bases else None

    def forward(
        self,
        atlas: Atlas,
        back: Maps,
        render: Tensor,
        uv: Tensor,
        time: Tensor | None = None,
        shift_px: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Paint frames.

        Args:
            atlas: the maps of G_fa, and of hair and torso if the network has them (texture space), from `atlas`.
            back: maps of G_b (image space).
            render, uv: I_R and I_UV, (B,3,S,S) in [0,1]; uv channel 2 is 1 on the face. Where it is 0 and v is not, uv
                holds coordinates of hair (v below one half) or torso.
            time: position in the training material (B,), share in [0,1]; None is the fixed code of test time (0.5).
            shift_px: displacement of the sliding window (B,2), x and y in pixels; None is the centred window.

        Returns:
            image (B,3,S,S) in about [-1,1], linear and not clamped, and the background mask (B,1,f,f) in [-1,1], 1 on
            background.
        """
        style = self._style(time)
        grid, inside = self._grid(uv)
        (feature_base, skip_base, bottom), behind, out_mask = self._sides(back, render, uv, style, shift_px)
        feature_back, skip_back = behind
        m = self._background_share(out_mask)
        added = self._added(atlas, bottom, grid, inside)
        places = self._places(atlas, uv, grid, inside, m)
        feature_warp, skip_warp = self._warp(atlas, *places, added, feature_base.dtype)
        feature = torch.lerp(feature_base, feature_back, m.to(feature_base.dtype)) + feature_warp
        skip = skip_base + m * (skip_back - skip_base) + skip_warp
        image, last = self.unet(feature, skip, self._noises(grid, inside, m), style)
        if self.settings.net_skip_to_output and 2 * skip.shape[-1] == image.shape[-1]:
            image = image + inverse_haar(skip)
        return (self.refine(last, image, render) if self.refine is not None else image), out_mask

    def coverage(self, atlas: Atlas, uv: Tensor, alpha: Tensor) -> Tensor:
        """Sum the weights with which each texel of the atlas' colours is looked up in frames: (1,1,h,w).

        uv as of `forward`; alpha (B,1,S,S) takes the place of the network's own mask.
        """
        background = 1 - 2 * F.adaptive_avg_pool2d(alpha, self.feature_px)
        places, weight = self._places(atlas, uv, *self._grid(uv), self._background_share(background))
        texels = torch.ones_like(atlas.colour[:, :1], requires_grad=True)
        with torch.enable_grad():
            seen = (sample(texels, places, self.settings.net_warp_mode, weight)).sum()
        return torch.autograd.grad(seen, texels)[0]

    def atlas(self, face: Maps, off_face: dict[str, Maps] | None = None, bases: Bases | None = None) -> Atlas:
        """Lay the maps of `face` and of `off_face` by name ("hair", "torso") out as `forward` looks them up.

        bases: of the face's maps. They are the same for all frames: at test time this is done once.
        """
        off_face = off_face or {}
        all_maps = face, *off_face.values()
        feature, skip = (torch.cat([maps[key] for maps in all_maps], 3) for key in ("feature", "skip"))
        # finer sampling takes RGB: wavelet bands do not turn with the face
        colour = skip if self.settings.net_warp_scale == 1 else inverse_haar(skip)
        return Atlas(feature, colour, tuple(off_face), bases)

    def fold(self, dtype: torch.dtype = torch.float32) -> None:
        """Fix the network for test time (see `blocks.fold`); images, masks and coordinates stay float32."""
        with torch.no_grad():
            fold(self, self._style(None), dtype)

    def _sides(
        self, back: Maps, render: Tensor, uv: Tensor, style: Tensor, shift_px: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
        """Compute what the encoder gives, feature and skip of the background, and its mask (B,1,f,f) in [-1,1]."""
        feature, skip, bottom = self.encoder(render, uv, style)
        behind, skip_behind = sample_window(back["feature"], back["skip"], shift_px, self.size_px, render.shape[0])
        behind = behind.to(feature.dtype)  # once: maps are kept in float32
        mask = torch.tanh(self.mask(torch.cat([feature, behind.detach()], 1)).float())
        return (feature, skip, bottom), (behind, skip_behind), mask

    def _background_share(self, out_mask: Tensor) -> Tensor:
        """Compute m, the share of the background in the composition.

        Without gradient: the mask learns from L_mask and L_mrf alone.
        """
        return self.settings.net_mask_share * (1.1 * out_mask.detach()).clamp(-1, 1) / 2 + 0.5

    def _style(self, time: Tensor | None) -> Tensor:
        """Compute the style (B or 1, L): of the time code where there is one, else one for all frames."""
        if not self.settings.net_time_code:
            return self.mapping(self.latent)
        if time is None:
            time = torch.full((1,), 0.5, device=self.latent.device)
        return self.mapping(positional_code(time, self.settings.net_latent))

    def _grid(self, uv: Tensor) -> tuple[Tensor, Tensor]:
        """Convert I_UV to a sampling grid (B,w,w,2) in [-1,1] and a face mask (B,1,w,w) at the warp resolution."""
        side = self.feature_px * self.settings.net_warp_scale
        if uv.shape[-1] != side:
            uv = F.interpolate(uv, size=side, mode="nearest")
        inside = (uv[:, 2:3] > 0.5).to(uv.dtype)
        if self.settings.net_soft_edge:  # fades over the border pixels, or the silhouette of the face shows as stairs
            inside = inside * local_mean(inside, 3)
        if self.settings.net_erode_uv:  # drops the border pixel, where a smoothed u, v would be a mixture with black
            inside = -F.max_pool2d(-inside, 3, stride=1, padding=1)
        return (2 * uv[:, :2] - 1).permute(0, 2, 3, 1), inside

    def _places(self, atlas: Atlas, uv: Tensor, grid: Tensor, inside: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        """Find where all maps of the atlas are looked up, and with what weight: (B,w,w,2) and (B,1,w,w).

        Hair and torso are where uv says so (see `rendering.offface_uv`), weighted by how little of m (B,1,f,f)
        is background, and faded where there are no coordinates beyond: their border is seen on a background that the
        mask leaves a part of them.
        """
        if not atlas.beside:
            return grid, inside
        side, edge = grid.shape[1], 1 - 0.5 / self.settings.net_map_px  # half a texel of the colours from the next map
        u, v, flag = F.interpolate(uv, size=side, mode="nearest").split(1, dim=1)
        foreground = 1 - F.interpolate(m, size=side)
        known = ((flag > 0.5) | (v > 0)).to(v.dtype)
        fade = (2 * local_mean(known, side // 16 | 1) - 1).clamp_min(0)
        number, down, shown = torch.zeros_like(v), grid[..., 1][:, None], inside
        for place, name in enumerate(atlas.beside, 1):
            here = (flag <= 0.5) & ((v >= 0.5) if name == "torso" else (v > 0) & (v < 0.5))
            number = number + place * here
            down = torch.where(here, 4 * v - (3 if name == "torso" else 1), down)
            shown = shown + here * foreground * fade
        across = ((2 * u - 1).clamp(-edge, edge) + 1 + 2 * number) / (1 + len(atlas.beside)) - 1
        return torch.cat([across, down], 1).permute(0, 2, 3, 1), shown

    def _added(self, atlas: Atlas, bottom: Tensor, grid: Tensor, inside: Tensor) -> tuple[Tensor, Tensor] | None:
        """Sample what the expression adds to features and colours, at grid (B,w,w,2) times inside (B,1,w,w)."""
        if self.code is None or atlas.bases is None:
            return None
        return sample_bases(atlas.bases, self.code(bottom), grid, inside, self.settings.net_warp_mode)

    def _warp(
        self, atlas: Atlas, grid: Tensor, weight: Tensor, added: tuple[Tensor, Tensor] | None = None,
        depth: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Sample the atlas at grid (B,w,w,2), times weight (B,1,w,w): feature of a type, Haar skip, at feature_px."""
        mode, scale = self.settings.net_warp_mode, self.settings.net_warp_scale
        feature, colour = (sample(maps, grid, mode, weight) for maps in (atlas.feature, atlas.colour))
        if added is not None:
            feature, colour = feature + added[0], colour + added[1]
        if scale == 1:  # published form: wavelet coefficients sampled as they are
            return feature.to(depth), colour
        for _ in range(int(math.log2(scale)) - 1):
            colour = downsample2(colour)
        for _ in range(int(math.log2(scale))):
            feature = haar(feature)  # before it is rounded: neighbours differ by little
        return feature.to(depth), haar(colour)

    def _noises(self, grid: Tensor, inside: Tensor, m: Tensor) -> dict[int, Tensor]:
        """Compose noise per decoder level from feature_px on as the features are, so that it sticks to the skin."""
        if not self.settings.net_noise:
            return {}
        noises, px = {}, self.feature_px
        fields = [self.get_buffer(f"noise_{name}") for name in ("base", "face", "back")]
        if self.training and self.noise_anew:
            fields = [torch.randn_like(field) for field in fields]
        while px <= self.size_px // 2:
            base, face, back = (coarser_noise(field, px) for field in fields)
            here = F.interpolate(m, size=px)
            grid_px = F.interpolate(grid.permute(0, 3, 1, 2), size=px).permute(0, 2, 3, 1)
            warp = sample(face, grid_px, "nearest", F.interpolate(inside, size=px))
            noises[px] = base * (1 - here) + back * here + warp
            px *= 2
        return noises
