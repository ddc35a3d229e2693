"""Declare the Parquet manifests: column, type, unit and meaning. Other people's scripts rely on them."""

from __future__ import annotations

import pyarrow as pa

from selfieavatar.io.paths import STAGES


def _field(name: str, kind: pa.DataType, doc: str, unit: str = "", shape: str = "") -> pa.Field:
    metadata = {"doc": doc} | ({"unit": unit} if unit else {}) | ({"shape": shape} if shape else {})
    return pa.field(name, kind, nullable=False, metadata=metadata)


def _vector(size: int = -1) -> pa.DataType:
    """Declare a list of float32 in each row, of fixed size or of one size for the whole manifest."""
    return pa.list_(pa.float32(), size)


FRAME = _field("frame", pa.int32(), "number within the clip, counted from 0; the name of its images")

SCHEMAS: dict[str, pa.Schema] = {
    "decode": pa.schema(
        [
            FRAME,
            _field("time_s", pa.float64(), "time stamp in the source", "s"),
            _field("source_frame", pa.int32(), "frame number in the source"),
            _field("face", pa.bool_(), "a face was found"),
            _field("face_box_px", _vector(4), "x0, y0, x1, y1; NaN without a face", "px of the frame", "4"),
            _field("duplicate", pa.bool_(), "shows the same image as the frame before"),
            _field("sharpness", pa.float32(), "variance of the Laplacian over the face at a fixed scale"),
            _field("picture_hash", pa.string(), "content hash of frames/<frame>.png"),
        ]
    ),
    "landmarks": pa.schema(
        [
            FRAME,
            _field("found", pa.bool_(), "the landmarks were found in this frame"),
            _field("points_px", _vector(), "x, y of each landmark; NaN when not found", "px of the frame", "count*2"),
            _field("depth", _vector(), "relative z, nearer is smaller; 0 for flat sets", "px of the frame", "count"),
            _field("confidence", pa.float32(), "of the detection, 0 to 1"),
        ]
    ),
    "matting": pa.schema(
        [
            FRAME,
            _field("alpha_hash", pa.string(), "content hash of alpha/<frame>.png"),
            _field("coverage", pa.float32(), "mean of alpha, 0 to 1"),
            _field("flicker", pa.float32(), "mean change of alpha where the image did not change, 0 to 1"),
        ]
    ),
    "fit": pa.schema(
        [
            FRAME,
            _field("fitted", pa.bool_(), "the coefficients can be used"),
            _field("rotation", _vector(3), "axis-angle, camera from model", "rad", "3"),
            _field("translation", _vector(3), "camera from model", "cm", "3"),
            _field("expression", _vector(), "coefficients of the identity's expression basis", "", "expressions"),
            _field("gaze", _vector(4), "left yaw, left pitch, right yaw, right pitch", "rad", "4"),
            _field("light", _vector(27), "spherical harmonics of the light, 9 bands of R, G, B; NaN if lost", "", "27"),
            _field(
                "torso",
                _vector(2),
                "shift of the torso, x and y, from the subject's reference, share of the side; NaN if not found",
                "",
                "2",
            ),
            _field("landmark_error", pa.float32(), "median distance over that of the outer eye corners; NaN if lost"),
            _field("quality", pa.string(), "ok, bridged (interpolated over a short gap) or lost"),
        ]
    ),
    "render": pa.schema(
        [
            FRAME,
            _field("render_hash", pa.string(), "content hash of render/<frame>.png; empty when the fit is lost"),
            _field("uv_hash", pa.string(), "content hash of uv/<frame>.png; empty when the fit is lost"),
            _field("face_share", pa.float32(), "share of the pixels that the face covers"),
        ]
    ),
    "samples": pa.schema(
        [
            _field("clip", pa.string(), "name of the clip"),
            FRAME,
            _field("split", pa.string(), "train, val or test"),
            _field("weight", pa.float32(), "of the frame in training"),
            _field("used", pa.bool_(), "takes part in its split"),
            _field("reason", pa.string(), "why it is left out; empty when used"),
        ]
    ),
    "self": pa.schema(
        [
            _field("clip", pa.string(), "name of the clip"),
            FRAME,
            *(
                _field(f"{name}_{region}", pa.float32(), f"{doc} over the {region} region; NaN where it is empty", unit)
                for name, doc, unit in (
                    ("psnr_db", "peak signal-to-noise ratio, at most 100", "dB"),
                    ("ssim", "structural similarity, 11 x 11 Gaussian window", ""),
                    ("ssim_uniform7", "structural similarity, 7 x 7 flat window", ""),
                    ("sharpness", "mean gradient over the truth's", ""),
                    ("lpips", "perceptual distance, unknown without its weights,", ""),
                    ("effnet_distance", "perceptual distance by EfficientNet-Lite0", ""),
                )
                for region in ("full", "person", "face", "mouth", "eyes")
            ),
            *(
                _field(name, pa.float32(), f"{doc}; NaN where not known", unit)
                for name, doc, unit in (
                    ("identity_similarity", "cosine of the face's features to those of the true face", ""),
                    ("akd", "distance of the landmarks tracked in both images, in eye distances", ""),
                    ("aed", "difference of the expression tracked in both, in standard deviations", ""),
                    ("apd_deg", "angle between the head poses tracked in both", "deg"),
                    ("jitter", "second difference of the landmarks tracked before, here and after", ""),
                    ("jitter_truth", "the same of the true images", ""),
                    ("lids", "opening of the lids tracked in the avatar, in eye distances", ""),
                    ("lids_truth", "the same of the true images", ""),
                    ("lips", "opening of the lips tracked in the avatar, in eye distances", ""),
                    ("lips_truth", "the same of the true images", ""),
                    ("difference_error", "error of the change since the frame before", ""),
                    ("difference_error_face", "the same over the face", ""),
                    ("flicker_static", "change since the frame before where the truth stands still", ""),
                    ("flicker_static_truth", "the truth's own change there", ""),
                    ("mask_mae", "mean absolute error of alpha against the matte", ""),
                    ("mask_iou", "intersection over union of both masks, cut at one half", ""),
                )
            ),
        ]
    ),
    "reenact": pa.schema(
        [
            FRAME,
            _field("driven", pa.bool_(), "the avatar followed this frame of the driver; if not, the rest is NaN"),
            _field("rotation", _vector(3), "axis-angle used, camera from model", "rad", "3"),
            _field("translation", _vector(3), "used, camera from model", "cm", "3"),
            _field("expression", _vector(), "coefficients used, of the avatar's expression basis", "", "expressions"),
            _field("gaze", _vector(4), "used: left yaw, left pitch, right yaw, right pitch", "rad", "4"),
            _field(
                "aed",
                pa.float32(),
                "mean distance of the expression tracked in the image from the one used, in "
                "standard deviations; NaN where the tracker found no face",
            ),
            _field("apd_deg", pa.float32(), "angle between the pose tracked in the image and the one used", "deg"),
            _field(
                "identity_similarity",
                pa.float32(),
                "cosine of the painted face's features to those of the avatar's person as filmed; NaN where not known",
            ),
        ]
    ),
    "table": pa.schema(
        [
            _field("subject", pa.string(), "name of the subject"),
            _field("dataset", pa.string(), "data set that the subject is measured on"),
            _field("method", pa.string(), "ours, or the name of a variant, of a baseline or of somebody else's method"),
            _field("kind", pa.string(), "ours, tracked (ours, with the tracked torso), variant, baseline or external"),
            _field("split", pa.string(), "self: all test frames; self/emotion=angry: those of clips with that label"),
            _field("region", pa.string(), "full, person, face, mouth or eyes"),
            _field("metric", pa.string(), "name of the metric, as in metrics.json"),
            _field("value", pa.float64(), "the metric; NaN where it cannot be had"),
            _field("low", pa.float64(), "lower end of its 95 % interval; NaN without one"),
            _field("high", pa.float64(), "upper end of its 95 % interval; NaN without one"),
            _field("frames", pa.int32(), "number of frames with the region; 0 where nothing was measured"),
            _field("size_px", pa.int32(), "side of the measured images; 0 where nothing was measured", "px"),
            _field("reason", pa.string(), "why the metric is missing, or what to bear in mind about it; else empty"),
        ]
    ),
    "summary": pa.schema(
        [
            _field("subject", pa.string(), "name of the subject"),
            _field("state", pa.string(), "of all its jobs together: failed, running, waiting, done or not asked"),
            _field("failed_stage", pa.string(), "the first stage that has failed; empty where none has"),
            _field("failed_of", pa.string(), "its clip, variant or driver; empty for a stage of the whole subject"),
            _field("reason", pa.string(), "why it has failed, one sentence of its log"),
            _field("log", pa.string(), "path of that log, seen from the folder of the results"),
            _field("remarks", pa.string(), "worse than a copied frame, poor footage, what else has failed; or empty"),
            _field("clips", pa.int32(), "rows of the subject in the sheet"),
            *(
                _field(f"frames_{split}", pa.float32(), f"frames {doc}; NaN as long as they are not chosen")
                for split, doc in (
                    ("train", "trained on"),
                    ("val", "validated on"),
                    ("test", "measured on"),
                    ("left_out", "left out"),
                )
            ),
            *(
                _field(f"{name}_{region}", pa.float32(), f"{doc} over the {region} region; NaN if not measured", unit)
                for region in ("full", "face")
                for name, doc, unit in (
                    ("psnr_db", "peak signal-to-noise ratio of metrics.json", "dB"),
                    ("ssim", "structural similarity of metrics.json", ""),
                )
            ),
            *(
                _field(f"bytes_{kind}", pa.int64(), f"disk taken by {doc}", "bytes")
                for kind, doc in (
                    ("pictures", "frames, alpha, render and uv of the clips"),
                    ("training", "what trainings keep: states, finished avatars, curves"),
                    ("avatar", "avatar.pt, of variants too"),
                    ("videos", "videos and the avatar's own images"),
                    ("other", "everything else"),
                )
            ),
            *(
                field
                for stage in STAGES
                for field in (
                    _field(f"state_{stage}", pa.string(), f"of all jobs of {stage} together, as in `state`"),
                    _field(f"minutes_{stage}", pa.float32(), f"time that {stage} took; NaN where not known", "min"),
                )
            ),
        ]
    ),
}
