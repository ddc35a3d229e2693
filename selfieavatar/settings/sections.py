"""The sections of the configuration but for `capture`, `train` and `marking`: type, bounds, default, meaning.

The string below a key is its description: `config/config.yaml` and the table of `config/README.md` are written from it
by `python -m tools.config_docs --write`. Sections hold values alone, no behaviour: no stage reruns where a text here
changes.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, field_validator


def plain(value: Any) -> Any:
    """Write 40.0 as 40, so that the other form of a number reruns nothing."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Section(BaseModel):
    """Validated, unchangeable settings of a stage."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _plain(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        found = plain(validate(plain(value)))
        if isinstance(value, bool) and not isinstance(found, bool):  # True equals 1, which a Literal takes
            raise ValueError("should be a number")
        return found


class Demo(Section):
    """Draw the procedural actor of a `demo:<seed>` source as a video of two takes, with its ground truth."""

    size_px: int = Field(320, ge=64, le=2048, multiple_of=2)
    """Side of the square demo video in pixels. Time grows with its square; below about 200 the eyes get too small to be
    tracked well."""
    fps: float = Field(25, ge=5, le=120)
    """Frames per second of the demo video. The motion is defined in seconds, so a higher rate means more frames for the
    same motion."""
    train_frames: int = Field(600, ge=2, le=100000)
    """Frames of the first take, [0, train_frames), meant for training. Fewer make a quicker demo and a poorer
    avatar."""
    test_frames: int = Field(200, ge=0, le=100000)
    """Frames of the second take, [train_frames, train_frames + test_frames), meant for testing: other phrases, another
    path of the head."""
    crf: int = Field(12, ge=0, le=30)
    """Quality of the H.264 coding, 0 (lossless) to 51; 12 is nearly lossless. Higher makes a smaller file with blocks
    in it."""


class Decode(Section):
    """Read a clip, choose one fixed square crop around the head, write the cropped frames."""

    size_px: int = Field(512, ge=32, le=2048)
    """Side of the square frames in pixels. It is the avatar's size: all later stages follow it, time and memory grow
    with its square."""
    crop_scale: float = Field(2.3, ge=1.2, le=6)
    """Side of the crop in face heights (hairline to chin). Larger shows more of the shoulders and makes the face
    coarser; the crop never grows beyond the image's shorter side unless the head's motion demands it."""
    sample_count: int = Field(48, ge=4, le=1000)
    """Number of frames in which the face is looked for to choose the crop, spread evenly over all clips of the subject
    that are cut from the same source. More is slower and follows rare motion better."""
    face_confidence: float = Field(0.5, gt=0, le=1)
    """Least confidence of the face detector, 0 to 1. Lower finds darker and more turned faces, and more faces that are
    none."""
    folder_fps: float = Field(25, gt=0)
    """Frames per second of a source that is a folder of images; videos carry their own."""


class Landmarks(Section):
    """Facial landmarks of every frame, from the source at a working size of its own."""

    detector: Literal["mediapipe", "face_alignment"] = "mediapipe"
    """mediapipe finds 478 points with irises and brings its weights along; face_alignment finds 68 flat points and
    wants the assets face_alignment_2d and face_alignment_sfd."""
    size_px: int = Field(512, ge=128, le=2048)
    """Side of the crop that the detector sees, px. Under 256 the points become coarse; over 512 only the time grows.
    Coordinates are stored in pixels of the frame whatever this says."""
    min_confidence: float = Field(0.5, ge=0.05, le=0.95)
    """Confidence from 0 to 1 under which MediaPipe drops a face; higher values mark more frames as without a face."""


class Matting(Section):
    """Soft alpha of the person in every frame, and a clean image of the background where the camera is static.

    Alpha is 1 on the person.
    """

    method: Literal["mediapipe", "rvm", "given", "alpha"] = "mediapipe"
    """Where alpha comes from. mediapipe: the embedded segmenter with edge-aware refinement, nothing to download. rvm:
    Robust Video Matting (recurrent, better on loose hair and hands); its weights are GPL-3.0 and a download of the
    user's (asset rvm_mobilenetv3_fp32), never bundled. given: masks that a data set brings (see masks). alpha: the
    footage's own alpha channel (PNG, ProRes 4444, WebM), which is otherwise not used but to lay it over white."""
    masks: str = Field("mask", pattern=r"^[^/\\]+$")
    """Method given: name of the folder of masks that lies beside each clip's source (video or image folder), a star
    standing for the source's name. White is the person; masks of an image folder have the names of its images, of a
    video the order."""
    size_px: int = Field(512, ge=64, le=2048)
    """Side of the image that is matted, in pixels; alpha is then shrunk by area to decode.size_px. Larger keeps finer
    hair and costs time in proportion to the area."""
    quality: Literal["none", "guided", "closed_form"] = "guided"
    """Refinement of the segmenter's mask (method mediapipe). none: the mask itself, blocky at the edge. guided: guided
    filter and local colour line, about 15 ms a frame at 512 px. closed_form: Levin's closed-form matting from pymatting
    in the unknown band, seconds a frame at 512 px."""
    band_px: float = Field(8, ge=1, le=64)
    """Half width of the band around the mask's edge in which the edge may move, in pixels of a 512 px image. Wider
    repairs coarser masks and risks nibbling at clothes of the background's colour."""
    hair_px: float = Field(28, ge=1, le=128)
    """How far outside the mask loose hair is looked for, in pixels of a 512 px image. Only where the colours of person
    and background differ by much more than they scatter."""
    temporal: float = Field(0.8, ge=0, lt=1)
    """Weight of the past alpha where the image stands still, 0 to 1 (method mediapipe). Higher flickers less; moving
    edges are not delayed, since the weight is 0 where the image changes. 0 switches it off."""
    plate: Literal["off", "auto", "on"] = "auto"
    """Clean background plate (temporal median of the uncovered background), written as plate.png. auto: where decode
    found that the camera is static. on: always. off: never."""
    plate_samples: int = Field(40, ge=2, le=64)
    """Most frames that the plate is made of, spread over the clip; memory is size_px squared times 4 bytes for each."""
    plate_correction: bool = False
    """Use the plate as the known background colour when alpha is refined (method mediapipe, quality guided): sharper
    edges before a textured wall when the person moves about. Off by default: of somebody who sits still the wall close
    to the head is never seen, and long hair that hardly moves can get into the plate and turn transparent."""
    rvm_downsample_ratio: float = Field(0, ge=0, le=1)
    """Method rvm: the network's backbone sees the image shrunk by this share. 0 chooses 512 / size_px, at most 1."""


class Fit(Section):
    """The morphable model of the subject, and its pose, expression and gaze in every frame."""

    model: Literal["facemesh", "ict", "flame", "faceverse", "bfm"] = "facemesh"
    """Morphable model. facemesh is a personal linear model on MediaPipe's mesh, learnt from the subject's own clips;
    the others are published and need `model_path`."""
    model_path: str = ""
    """File or folder of a published model (docs/models.md); facemesh needs none."""
    coefficients: str = Field("", pattern=r"^[^/\\]*$")
    """Take identity, expression and pose from coefficients that were fitted elsewhere, instead of fitting: the name of
    a file that lies beside each clip's source (video or image folder), a star standing for the source's name. Needs
    `model` flame (IMAvatar's flame_params.json) or faceverse (v3's vectors, a .npy or a folder of one for each image)
    and `model_path`; nothing is smoothed, and images that the file lacks are lost (docs/models.md). Empty fits."""
    components: int = Field(32, ge=1, le=64)
    """Most expression components. Fewer are used when a subject has few frames; more follow finer movement, and
    noise."""
    registration: bool = True
    """Align the skin of all frames with the subject's own texture and correct the landmarks by it, for the model
    facemesh. Steadier and nearer to the truth than the detector alone, and sharper skin; takes some 10 ms a frame."""
    focal_ratio: float = Field(2.5, ge=0.5, le=20)
    """Focal length over the side of the crop. 2.5 is a camera about 1.1 m away at the default crop; a phone held close
    wants about 1.5. Only the strength of perspective depends on it; the landmarks of a clip do not tell it
    (docs/decisions)."""
    focal: Literal["fixed", "estimate"] = "fixed"
    """fixed keeps `focal_ratio`; estimate takes it for a first guess and fits it together with the identity of a
    published model."""
    texture_px: int = Field(256, ge=32, le=2048)
    """Side of the subject's unwrapped texture, texels; it colours the rendered face."""
    photometric: Literal["auto", "off", "light", "full"] = "light"
    """What is fitted to the images themselves. light: albedo texture and light, on a few dozen frames, in seconds.
    full: after that pose, expression, texture and light together through the rasteriser, made for an NVIDIA GPU with
    nvdiffrast and slow without. auto: full there, else light. off: the texture keeps the light it was filmed in."""
    landmark_noise: float = Field(0.006, gt=0, le=0.1)
    """Expected error of a landmark over the distance of the outer eye corners. Larger values trust the prior and the
    neighbouring frames more."""
    prior: float = Field(0.03, ge=0)
    """Weight of the expression prior; larger values keep expressions nearer to neutral."""
    temporal: float = Field(0.05, ge=0)
    """Weight of the differences between neighbouring frames in the fit; 0 fits every frame for itself."""
    smooth_pose_s: float = Field(0.08, ge=0, le=1)
    """Width (standard deviation) of the smoothing of rotation and translation, s; 0 turns it off. No lag at any
    width."""
    smooth_expression_s: float = Field(0.05, ge=0, le=1)
    """Width (standard deviation) of the smoothing of the expression, s; blinks keep their height. 0 turns it off."""
    smooth_gaze_s: float = Field(0.06, ge=0, le=1)
    """Width (standard deviation) of the smoothing of the gaze, s; 0 turns it off."""
    longest_gap_s: float = Field(0.2, ge=0, le=2)
    """Gaps without a face up to this long, s, are bridged by interpolation and marked; longer ones are lost."""
    hair: bool = True
    """Learn the sphere on which hair and ears lie, from the outline of the head: off the face, I_UV then holds
    coordinates on it, which turn with the head."""
    torso: bool = True
    """Follow the shift of the torso, which the face does not tell: I_UV then holds coordinates of the torso below the
    head. Where somebody drives the avatar, it lies where the pose of the head tells."""
    max_error: float = Field(0.06, gt=0)
    """Median reprojection error, over the distance of the outer eye corners, above which a frame counts as lost: the
    detector saw something that is not this face."""


class Render(Section):
    """Images of the fitted face that drive the avatar, I_R (shaded) and I_UV (texture coordinates)."""

    backend: Literal["auto", "cpu", "nvdiffrast"] = "auto"
    """Rasteriser. cpu is exact and fast enough for any mesh here; nvdiffrast needs its package and an NVIDIA GPU and
    stops the run where either is missing; auto takes nvdiffrast when a GPU was granted and the package is installed,
    else cpu, and says in the log which."""
    supersample: int = Field(2, ge=1, le=4)
    """Samples per pixel along each axis of I_R. More gives smoother outlines and lids, and takes time with the square;
    1 is not antialiased. I_UV is never antialiased."""
    light: Literal["mean", "fitted", "fixed"] = "mean"
    """Light of I_R. mean: the mean light of the train frames for all frames, as for a driver, of whom the avatar takes
    no light. fitted: the light that the fit found in each frame, slowly varying within a take. fixed: one soft light
    from the front for all frames, whatever the light of the clip."""


class Overlay(Section):
    """Draw landmarks, mesh and mask over the frames, to judge the tracking by eye."""

    size_px: int = Field(384, ge=64, le=2048)
    """Least side of each of the four panels of the overlay video in pixels: smaller frames are enlarged to it, larger
    ones stay as they are."""
    sheet_frames: int = Field(12, ge=1, le=200)
    """Number of frames in contact.png, spread evenly over the clip."""
    cell_px: int = Field(192, ge=32, le=1024)
    """Side of each image in contact.png, in pixels."""
    crf: float = Field(20, ge=0, le=51)
    """Quality of overlay.mp4 as x264's constant rate factor: lower is better and larger, 18 looks like the original."""


class Samples(Section):
    """Choice of the frames that train, validate and measure the avatar."""

    holdout: float = Field(0.2, ge=0.01, le=0.9)
    """Share of the frames (the last ones) held out to measure on where a subject has no test clip."""
    gap_s: float = Field(1.0, ge=0)
    """Seconds of frames before the held-out ones that belong to neither side, so that neighbours do not leak; at each
    clip's own rate, a pause of the recording not counted."""
    validation: float = Field(0.02, ge=0, le=0.5)
    """Share of the training frames kept for validation while training, spread evenly; 0 keeps none."""
    rarity: float = Field(0.5, ge=0, le=1)
    """How much rare poses and expressions are drawn more often; 0 draws all frames alike, 1 in proportion to rarity."""
    closed_lids: float = Field(0.1, ge=0, le=0.5)
    """Share of the frames drawn whose lids are closed, where there are fewer, as far as none of them is drawn more than
    five times as often as before: a blink lasts a fifth of a second. 0 draws them as they come."""
    blur_share: float = Field(0.25, ge=0, le=1)
    """Training frames whose sharpness is below this share of their clip's median are left out as blurred; 0 keeps
    all."""
    use_bridged: bool = False
    """Train on frames whose fit was bridged from their neighbours."""
    min_coverage: float = Field(0.01, ge=0, le=1)
    """Frames whose matte covers less than this share of the image are left out as empty."""
    min_frames: int = Field(20, ge=2)
    """Fewer usable training frames than this end the run with a message."""


class Evaluate(Section):
    """Self-reenactment on test frames, measured; metrics, per-frame table, images and side-by-side video."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the avatar. bfloat16 is faster on CPUs and GPUs that have it, and by under 2 of 255 coarser
    (benchmarks/results/networks.md)."""
    batch_size: int = Field(8, ge=1)
    """Frames painted and scored at once. Larger is faster on a GPU; memory grows with it. Figures do not depend on
    it."""
    tracked_torso: bool = True
    """Also measure the avatar with the torso where it was tracked in the truth, which no driver tells. The headline
    metrics are of driving by the face alone, in any case."""
    baselines: bool = True
    """Also measure what an avatar must beat, the mean training frame and the training frame with the nearest
    landmarks."""
    mean_frames: int = Field(1000, ge=1)
    """Most training frames, evenly spaced, that the mean training frame is made of."""
    network_metrics: bool = True
    """Measure EfficientNet distance and identity similarity, whose networks packages bring, and LPIPS and FID where
    their weights are in resources/assets; where not, they are null and a note says why. false leaves them out (null,
    with a note)."""
    retrack_px: int = Field(512, ge=0, le=2048)
    """Side to which smaller images are enlarged to track the avatar's and the true ones again, for AKD, AED, APD and
    jitter; about 20 ms a frame. 0 leaves them out."""
    speed_frames: int = Field(30, ge=1)
    """Frames painted one by one, after a warm-up, to measure the speed in frames/s (their median time)."""
    video_tile_px: int = Field(256, ge=64)
    """Least side in px of each of the five tiles of self.mp4; smaller frames are enlarged by a whole number."""
    video_crf: int = Field(18, ge=0, le=51)
    """Quality of self.mp4 as x264's constant rate factor; 0 is lossless, each 6 more about halves the file."""


class Reenact(Section):
    """The avatar of one person follows a clip of another.

    Asked for by name: results/demo/reenact/guest--talk.mp4.
    """

    pose: Literal["relative", "absolute"] = "relative"
    """Whose place the head takes. relative: the avatar moves from its own usual pose as the driver moves from theirs.
    absolute: the avatar is held exactly as the driver is."""
    gain: float = Field(1.0, ge=0, le=3)
    """Factor on the driver's expression after it is scaled to the avatar's proportions; below 1 is calmer."""
    overshoot: float = Field(1.0, ge=0, le=3)
    """How far each component of the expression may go beyond what the avatar has seen, as a share of half the seen
    range. Larger follows a lively driver further, into faces that the avatar can only guess. Lids and lips always
    close."""
    pose_overshoot: float = Field(0.3, ge=0, le=3)
    """The same for rotation and translation of the head."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the avatar. bfloat16 is faster on CPUs and GPUs that have it, and by under 2 of 255 coarser
    (benchmarks/results/networks.md)."""
    batch_size: int = Field(8, ge=1)
    """Frames painted at once. Larger is faster on a GPU; memory grows with it."""
    retrack_px: int = Field(512, ge=0, le=2048)
    """Side to which smaller images of the avatar are enlarged to be tracked again, for AED and APD; 0 leaves both
    out."""
    video_tile_px: int = Field(384, ge=64)
    """Least side in px of both tiles of the video; smaller frames are enlarged."""
    video_crf: int = Field(18, ge=0, le=51)
    """Quality of the video as x264's constant rate factor; 0 is lossless, each 6 more about halves the file."""


class Paper(Section):
    """The paper's Table I and Fig. 2 and 3 of one subject.

    Asked for by name: results/demo/paper.html.
    """

    variants: list[str] = ["no_cos", "no_mrf", "no_detail", "styleavatar", "l1_only", "unet"]
    """Ablations and baselines (config/variants) beside the avatar. Each is trained as long as the avatar itself."""
    both_budgets: bool = True
    """Train each of them a second time: on as many images as the avatar saw, where `train.minutes` ends the training,
    else for as many minutes. A cheaper objective sees more images in the same minutes. About doubles the time."""
    frames: int = Field(4, ge=1, le=12)
    """Test frames in Fig. 2, those that differ most in pose and expression; Fig. 3 shows half of them."""
    drivers: int = Field(4, ge=0, le=64)
    """Most clips of others in Fig. 2 that drive the avatar: one of each other subject of the sheet, then a second."""
    image_px: int = Field(192, ge=32, le=1024)
    """Side of an image in the page, px. Images are scaled to it."""


class Storage(Section):
    """What stays on the disk.

    Holds for a whole run: in config.yaml or --configfile, not in a preset or variant.
    """

    keep_pictures: bool = True
    """Whether the numbered images of each clip (frames, alpha, render and uv, most of a long or large subject's disk)
    stay. false: each folder is removed as soon as no job of the same call needs it any more; manifests, videos, contact
    sheets and the avatar's own images (self) stay, and a second call runs nothing. The price: whatever needs the images
    later (another setting of train or evaluate, a variant, this clip as a driver) tracks the clip again first, so ask
    for all that you want in one call. On a failed subject they stay until it is fixed. docs/batches.md."""
