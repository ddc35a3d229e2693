"""The section `train` of the configuration, in three parts: optimisation, losses, networks. See `sections`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from selfieavatar.settings.sections import Section


class Optimisation(Section):
    """Length, optimiser, precision and bookkeeping of a training."""

    images: int = Field(0, ge=0, le=1000000000)
    """Training ends after this many images (frames seen); 0 sets no bound."""
    minutes: float = Field(120, ge=0)
    """Training ends after this many minutes of stepping, resumed runs included; validations, saves and reports do not
    count. 0 sets no bound."""
    batch: int = Field(8, ge=1)
    """Frames per step, of all GPUs together."""
    seed: int = Field(1, ge=0, le=4294967295)
    """Seed of networks, order of frames and augmentation."""
    start_from: str = ""
    """avatar.pt of somebody else with the same size and networks, from which the training starts, which is better
    after few images (docs/decisions/0021). Its own subject, and variants, start from random networks, as everybody does
    where this is empty. What it has learnt of that person stays in part, so their consent must cover it. A
    relative path begins in the working folder."""
    lr_net: float = Field(0.001, gt=0)
    """Learning rate of the networks; it rises over the first 200 images."""
    lr_maps: float = Field(0.01, gt=0)
    """Learning rate of the free maps (net_free_maps)."""
    lr_disc: float = Field(0.002, gt=0)
    """Learning rate of the discriminator; it does not decay."""
    lr_floor: float = Field(0.0, ge=0, le=1)
    """The decay of the learning rates ends at this share of them."""
    decay_from: float = Field(0.1, ge=0, le=1)
    """Share of the budget after which the learning rates fall linearly; 1 keeps them."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's decay of the mean gradient."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """AdamW's decay of the squared gradient."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay; never applied to biases, noise weights, constants and free maps."""
    clip_norm: float = Field(1.0, gt=0)
    """Largest norm of each generator's gradient."""
    ema_images: int = Field(4000, ge=1, le=1000000000)
    """Half-life of the weight average that becomes the avatar, in images."""
    maps_until: int = Field(30000, ge=0)
    """Images after which the maps of G_fa and G_b are cached and their generators dropped."""
    noise_anew: bool = False
    """Draw the noise in the decoder (net_noise) anew for each batch; false draws it once, as it is when the avatar is
    driven."""
    window_px: float = Field(0, ge=0)
    """Deviation of the sliding-window shift, pixels of the frame; 0 turns it off."""
    move_share: float = Field(0, ge=0, le=1)
    """Share of the images in which the person is shifted, turned and scaled in the image plane over the clean
    background, for drivers who leave the place where the head was filmed; clips whose camera moves have none. 0 turns
    it off."""
    move_shift: float = Field(0.06, ge=0, le=0.5)
    """Deviation of that shift, as a share of the image's side."""
    move_degrees: float = Field(6, ge=0, le=45)
    """Deviation of that rotation, degrees."""
    move_scale: float = Field(0.05, ge=0, le=0.5)
    """Deviation of the logarithm of that scale."""
    torso_from_head: float = Field(0.5, ge=0, le=1)
    """Share of the images that are trained with the torso where the pose of the head tells it to be, as when somebody
    drives the avatar; the others have it where it was tracked."""
    colour_jitter: float = Field(0, ge=0, le=1)
    """Deviation of random gain and offset of the 3DMM rendering, for drivers in other light; 0 turns it off."""
    blur_jitter_px: float = Field(0, ge=0)
    """Largest deviation of a random Gaussian blur of the 3DMM rendering, pixels, for drivers whose texture is coarser;
    0 turns it off."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Arithmetic of the networks. bfloat16 is taken by GPUs, and by CPUs with instructions for it (avx512_bf16,
    amx_bf16, Arm's bf16); others train in float32. Losses, R1 and the averages of weights are float32 anyway."""
    channels_last: bool = True
    """Memory format of images and features: channels last, or channels first."""
    compile: bool = False
    """Compile the networks by torch.compile; needs a C++ compiler. Takes minutes at the start."""
    cache_gb: float = Field(8, ge=0)
    """As many decoded frames are held in memory as fit into this many gigabytes, and into half of the memory that is
    free when the training starts; the others are read for each batch."""
    report_s: float = Field(60, gt=0)
    """Seconds between reports (TensorBoard, stats.jsonl, progress line)."""
    validations: int = Field(24, ge=1, le=2000)
    """Validations with image grid, evenly spread over the budget; each also keeps a state to return to where the
    training diverges."""
    keep_best: bool = True
    """The avatar is the average of weights with the best validation (mean PSNR of image and face, less the mean
    distance of the sharpness of person and face from 1 in dB) since the discriminator joined; false is the last one."""
    save_s: float = Field(120, gt=0)
    """Seconds between saves of the state that a stopped run goes on from."""


class Losses(Section):
    """Losses of a training (paper eq. 4 to 7)."""

    weight_l1: float = Field(1.0, ge=0)
    """Weight of L1 on the whole image (lambda_1)."""
    weight_mask: float = Field(3.0, ge=0)
    """Weight of the foreground mask (lambda_mask)."""
    weight_mrf: float = Field(0.05, ge=0)
    """Weight of ID-MRF on the foreground (lambda_mrf)."""
    weight_cos: float = Field(1.0, ge=0)
    """Weight of the cosine distance of features (lambda_cos)."""
    weight_gan: float = Field(1.0, ge=0)
    """Weight of the adversarial loss (lambda_g); 0 trains without a discriminator."""
    weight_disc: float = Field(1.0, gt=0)
    """Weight of the discriminator's own loss against its R1 penalty (lambda_d)."""
    gan_from: float = Field(0.0, ge=0, le=1)
    """Share of the budget after which the discriminator takes part."""
    gan_region: Literal["whole", "around_face"] = "whole"
    """Where the adversarial loss moves the image: whole (published), or around_face, which leaves the face to the other
    losses."""
    r1_gamma: float = Field(5.0, ge=0)
    """Weight of the R1 penalty of the discriminator (gamma)."""
    r1_every: int = Field(16, ge=1)
    """Steps between R1 penalties; weighted up by as much."""
    collapse_below: float = Field(0.05, ge=0)
    """Collapse: where the discriminator's mean loss over 200 steps is below this, training returns to a state from
    before, and the discriminator's rate is halved."""
    mask_target: Literal["binary", "soft"] = "binary"
    """The matte that the mask is trained to, cut at one half or as it is."""
    detail_from: float = Field(0, ge=0, le=1)
    """Share of the budget after which ID-MRF and the cosine distance take part."""
    mrf_every: int = Field(1, ge=1)
    """Steps between ID-MRF terms; weighted up by as much."""
    mrf_crop_px: int = Field(256, ge=0)
    """Side of the random square on the person that ID-MRF sees, at least 8; 0 is the whole image."""
    mrf_positions: int = Field(4096, ge=0)
    """Most positions of a feature map that ID-MRF compares (drawn at random); 0 takes all. Bounds the memory."""
    cos_every: int = Field(1, ge=1)
    """Steps between cosine terms; weighted up by as much."""
    cos_network: Literal["resnet50", "vggface2", "dlib_face"] = "resnet50"
    """Network of the cosine term. resnet50 has backbone_weights and sees the whole image. vggface2 is VGGFace2's
    ResNet50, as the paper cites it, if you have its file: resources/assets/resnet50_ft_weight.pkl. dlib_face is dlib's
    face recognition network, which a package brings, and sees the face alone."""
    cos_size_px: int = Field(224, ge=32)
    """Side to which images are scaled for ResNet50; dlib_face always sees 150 px."""
    cos_layers: Literal["pooled", "multiscale"] = "pooled"
    """Features of the cosine term: those of the last layer (averaged; of dlib_face the descriptor), or of every
    stage."""
    backbone_weights: Literal["imagenet", "packaged", "random"] = "imagenet"
    """Weights of VGG19 and ResNet50. imagenet: the published ones are fetched as assets. packaged: VGG19's come with a
    package (8 bits each); it has no ResNet50, so choose another cos_network. random: seeded, weaker."""
    backbone_seed: int = Field(1, ge=0, le=4294967295)
    """Seed of random backbone weights and of the random squares of ID-MRF."""


class Networks(Section):
    """Networks of an avatar (paper eq. 1 to 3): all that its file needs to be painted from."""

    net_generator: Literal["style", "unet"] = "style"
    """style is G_style of the paper. unet is a plain U-Net on the rendering, without maps, of 0.6 to 0.9 times the
    parameters: a baseline (variant unet)."""
    net_feature_px: int = 128
    """Side of the fused feature maps and of the map of G_b, in image space; a power of two."""
    net_map_px: int = 128
    """Side of the map of G_fa, in texture space; a power of two, at least 8."""
    net_warp_scale: Literal[1, 2, 4] = 2
    """The face map is sampled this many times finer than net_feature_px and folded by Haar; 1 is the published form."""
    net_warp_mode: Literal["nearest", "bilinear"] = "bilinear"
    """How the face map is sampled through the UV image."""
    net_erode_uv: bool = False
    """Drop the border pixel of the UV image's face."""
    net_soft_edge: bool = True
    """Fade the sampled face map over the border pixels of the face, against stairs at its silhouette."""
    net_mask_share: float = Field(0.5, ge=0, le=1)
    """How far the mask decides what is seen of G_b and what of rendering, hair and torso: 1 is all or nothing, as in
    the paper; at 0.5 a quarter of each stays where the other rules, and the decoder decides the rest; 0 mixes both
    alike everywhere."""
    net_free_maps: bool = True
    """Add a free learned map to what G_fa and G_b give; false is the paper's form."""
    net_face_bases: int = Field(0, ge=0, le=64)
    """The maps of the face follow the expression: to each frame's, this many learned bases are added, weighted by a
    code of its rendering; not in the paper. 0 is the published form."""
    net_bases_channels: int = Field(8, ge=1, le=256)
    """Channels of the bases of the face's features, which are mixed to those of the map; their colours have three."""
    net_bases_px: int = Field(0, ge=0)
    """Side of the bases of the face's features, a power of two up to net_map_px; 0 is net_map_px. Colours have twice
    net_map_px, as those of the map."""
    net_torso: bool = True
    """A learned map of the torso, like that of the face, sampled where fit.torso tells the torso to be; not in the
    paper. false is the published form."""
    net_hair: bool = True
    """A learned map of hair and ears, like that of the face, sampled where fit.hair tells them to be; not in the paper.
    false is the published form."""
    net_map_noise: bool = False
    """Noise in G_fa and G_b (epsilon of eq. 1 and 2)."""
    net_noise: bool = True
    """Noise in the decoder, which sticks to the skin."""
    net_time_code: bool = False
    """Style of each training frame from its position in time, a fixed one at test."""
    net_latent: int = Field(64, ge=4, le=1024)
    """Length of the latents and styles; even with net_time_code."""
    net_mapping_layers: int = Field(4, ge=1, le=16)
    """Layers from latent to style."""
    net_channel_base: int = Field(16384, ge=64)
    """Channels of the image U-Net at r px are this over r."""
    net_channel_max: int = Field(256, ge=8)
    """Most channels of the image U-Net."""
    net_bottom_px: int = 8
    """Side of the coarsest level of the image U-Net."""
    net_skip_px: int = 128
    """Levels up to this side have skip connections in the image U-Net."""
    net_merge_kernel: Literal[1, 3] = 3
    """Side of the convolutions that merge a skip connection with the decoder, in both U-Nets; 3 is the published form,
    1 takes a ninth of their arithmetic."""
    net_narrow_condition: bool = False
    """Halve the channels of the first encoder step, as published."""
    net_skip_to_output: bool = True
    """Add the fused Haar skip to the output where the sizes agree (net_feature_px is half the image)."""
    net_refine_channels: int = Field(16, ge=0)
    """Channels of two convolutions at full size after the decoder, against dotted edges; 0 is the published form."""
    net_map_channel_base: int = Field(8192, ge=64)
    """Channels of G_fa and G_b at r px are this over r."""
    net_map_channel_max: int = Field(256, ge=8)
    """Most channels of G_fa and G_b."""
    net_render_inputs: list[Literal["render", "uv", "coordinates"]] = Field(
        ["render", "uv", "coordinates"], min_length=1
    )
    """What the 3DMM encoder sees."""
    net_render_px: int = 256
    """Side of the rendering that the 3DMM encoder sees."""
    net_render_bottom_px: int = 16
    """Side of the coarsest level of the 3DMM encoder."""
    net_render_skip_px: int = 128
    """Levels up to this side have skip connections in the 3DMM encoder."""
    net_render_channel_base: int = Field(8192, ge=64)
    """Channels of the 3DMM encoder at r px are this over r."""
    net_render_channel_max: int = Field(128, ge=8)
    """Most channels of the 3DMM encoder."""
    net_disc_patch_px: int = Field(0, ge=0)
    """The discriminator judges overlapping patches, a grid of this many a side, which teaches where images are few: a
    power of two from 4 to a quarter of decode.size_px; 0 judges the whole (published)."""
    net_disc_detail_gain: float = Field(1.0, gt=0)
    """Gain of the fine bands of the images that the discriminator sees; 1 is the published form."""
    net_disc_channel_base: int = Field(16384, ge=64)
    """Channels of the discriminator at r px are this over r."""
    net_disc_channel_max: int = Field(256, ge=8)
    """Most channels of the discriminator."""
    net_equalized: bool = False
    """Equalised learning rate of the convolutions."""

    @field_validator("net_render_inputs")
    @classmethod
    def _different(cls, inputs: list[str]) -> list[str]:
        if len(set(inputs)) < len(inputs):
            raise ValueError("Inputs should differ from one another")
        return inputs


class Train(Networks, Losses, Optimisation):
    """Networks, losses and optimisation of the avatar (paper section III). Defaults are for 512 px on one GPU."""
