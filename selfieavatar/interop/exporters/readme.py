"""Write the README.txt of an export, for users of the other method."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from selfieavatar.interop.exporters.frames import ExportedFrame
from selfieavatar.interop.exporters.transforms import INSTA_EXPRESSIONS, NERFACE_EXPRESSIONS

STYLEAVATAR_FILMED = """\
SPLIT/image/000000.png   1536 px, RGB, 8 bit: the frame, and around it a border of a quarter of its side, repeated
SPLIT/back/000000.png    1536 px, grey, 8 bit: the person's matte for it. WHITE IS THE PERSON, as StyleAvatar's own
                         preprocessing writes it and its training reads it, in spite of the name"""

STYLEAVATAR_FACE = """\
SPLIT/render/000000.png  256 px, RGB, 8 bit: the tracked face as the avatar sees it, black off the face; no border
SPLIT/uv/000000.png      256 px, RGB, 8 bit: red u to the right, green v down, 0 to 255 for 0 to 1; blue 255 on the
                         face; all 0 off it"""

STYLEAVATAR_TRAIN = """
Train on train/ alone: python train.py ... {out}/train
Its published checkpoints know the texture layout of another face model: train from scratch, or long enough to unlearn.
"""

STYLEAVATAR_RENDER = """\
Render: python test.py --render_dir {out}/test/render --uv_dir {out}/test/uv --ckpt ... --save_dir IMAGES
The rendered images (1024 px) show the whole frame. The sizes are its networks'; the frames have {size} px."""

NERFACE_FILMED = """\
images/000000.png       RGB, 8 bit, {size} px
masks/000000.png        grey, 8 bit: the person's matte, white on the person"""

NERFACE = """\
bg/CLIP.png             clean background of a clip, where the camera stands still; 00050.png is the first of them again,
                        under the name that NeRFace reads
index_map.npy           of test frames: the latent code that the evaluation takes, here the first frame's for all
transforms_SPLIT.json   cameras in OpenGL's axes: x right, y up, z backward
  file_path             without ending
  expression            {count} coefficients of {model}, then zeros up to the {least} that NeRFace's networks take
                        (with more coefficients than that, change the number there)
  bbox                  first and last row, first and last column of the face, as shares
  intrinsics            fx, fy, cx, cy as NeRFace's rays want them: cx, cy as shares, half a pixel less than below
near and far            the face is {near:.3g} to {far:.3g} units away from the camera
The published evaluation shows an ablation and fixes pose and expression: set its `ablate` to '' and leave out
ray_directions_ablation."""

INSTA_FILMED = """\
images/000000.png       RGB and, as the fourth channel, the person's matte (255 on the person); 8 bit, {size} px. The
                        colours are those filmed: at soft edges some of the background is in them"""

INSTA = """\
depth/000000.png        grey, 16 bit: distance of the mesh along the camera's axis in 1/1000 unit, 0 off the mesh
flame/exp/000000.txt    {count} coefficients of {model}, then zeros where they are fewer than {least}
canonical.obj           the mesh without expression
transforms_SPLIT.json   cameras in OpenCV's axes, as INSTA reads them: x right, y down, z forward
There is no seg_mask/: nothing here parses faces. INSTA does without, INSTA-pytorch does not."""

MESHES = """\
meshes/000000.obj       the face of each frame in the head's axes, without pose: x to the person's left, y up, z out of
                        the face; {unit}. All have the same triangles
transform_matrix        camera to head, 4 x 4: the head rests, the camera moves. Pinhole, no distortion
cx, cy                  pixels, the centre of the first pixel at 0.5
gaze                    left yaw, left pitch, right yaw, right pitch, radians; yaw > 0 to the image's right,
                        pitch > 0 down"""

IMAVATAR_FILMED = """\
{subject}/{subject}/SPLIT/image/000000.png   RGB, 8 bit, {size} px
{subject}/{subject}/SPLIT/mask/000000.png    grey, 8 bit: the person's matte, white on the person; cut at 1/2 and laid
                        over white by IMAvatar, whose images are on white, too"""

IMAVATAR = """\
{subject}/{subject}/SPLIT/flame_params.json  FLAME's coefficients and the camera, as its preprocessing writes them
imavatar.conf           settings of the data; copy it to IMAvatar's code/confs/, whose own it includes

The mesh of the 100 shape and 50 expression coefficients that IMAvatar takes lies {usual:.2f} px from the tracked one
(95 % of its vertices; in the worst frame {worst:.2f} px).
The rotation of the head is the root joint's: leave deformer_network.ghostbone on. Neck 0, jaw and eyes as tracked.
The path of this folder must not contain the word `image`, by which IMAvatar finds the masks.
There is no semantic/: nothing here parses faces. imavatar.conf does without (loss.gt_w_seg off, and with it
loss.lbs_weight and loss.flame_distance_weight 0, which need it). For the supervised training let IMAvatar's
preprocessing (face-parsing.PyTorch) write semantic/ beside each image/, and include IMavatar_supervised.conf."""

IMAVATAR_TRAIN = """
Train: python scripts/exp_runner.py --conf confs/imavatar.conf"""

IMAVATAR_RENDER = """\
Render: python scripts/exp_runner.py --conf confs/imavatar.conf --is_eval{only}
Images: eval/test/epoch_N/rgb in its folder of experiments"""

BLACK = """\
images/000000.png       BLACK, {size} px: {method} opens an image for each frame and renders from none"""

BACK = """\
frames.tsv maps each number of the images here to clip, frame (its number in that clip) and split.
When the method has rendered the {tests} test frames, in the folder of the project that wrote this:

    python -m tools.handover collect {subject}{driver} --method NAME --from IMAGES --frames {out}/frames.tsv

Images are found by the number in their names; add --by order where the method numbers them itself.
"""

TEXTS = {
    "styleavatar": [STYLEAVATAR_FILMED, STYLEAVATAR_FACE, STYLEAVATAR_TRAIN + STYLEAVATAR_RENDER],
    "nerface": [NERFACE_FILMED, NERFACE, MESHES],
    "insta": [INSTA_FILMED, INSTA, MESHES],
    "imavatar": [IMAVATAR_FILMED, IMAVATAR, IMAVATAR_TRAIN, IMAVATAR_RENDER],
}
DRIVEN = {
    "styleavatar": [STYLEAVATAR_FACE, "There is no image/ and no back/: its test program reads neither.\n",
                    STYLEAVATAR_RENDER],
    "nerface": [BLACK, NERFACE, MESHES],
    "insta": [BLACK, INSTA, MESHES],
    "imavatar": [IMAVATAR, "\nThere is no image/ and no mask/: --only_json does without.", IMAVATAR_RENDER],
}  # fmt: skip
LEAST = {"nerface": NERFACE_EXPRESSIONS, "insta": INSTA_EXPRESSIONS}


def readme(
    method: str, frames: Sequence[ExportedFrame], left_out: Mapping[str, int], out: Path, facts: Mapping[str, object],
    driver: str = "",
) -> str:  # fmt: skip
    """Write the text for a method, a key of TEXTS; `out` is the folder, `facts` fill in its content."""
    subject, count = frames[0].subject, Counter(frame.split for frame in frames)
    listed = ", ".join(f"{number} {split}" for split, number in count.items())
    place = shlex.quote(str(out))
    what = f"The frames that {driver} asks of subject '{subject}'" if driver else f"The tracked frames of '{subject}'"
    rule = (
        "Pose, expression and gaze are the driver's, face and camera the subject's. There is no truth: nobody has\n"
        "filmed these frames. Train on another handover (--split train)."
        if driver
        else "Train on `train` alone, select a model by `val`, measure on `test`."
    )
    common = {"out": place, "subject": subject, "method": method, "least": LEAST.get(method)}
    common["only"] = " --only_json" if driver else ""
    body = "\n".join((DRIVEN if driver else TEXTS)[method]).format(**common, **facts)
    back = BACK.format(subject=subject, tests=count["test"], out=place, driver=f" --driver {driver}" if driver else "")
    return f"{what}, for {method}.\n\nFrames: {listed}. Left out: {reasons(left_out)}.\n{rule}\n\n{body}\n\n" + (
        back if count["test"] else "The test frames are exported by --split test.\n"
    )


def reasons(left_out: Mapping[str, int]) -> str:
    """List reasons as `3 duplicate, 1 blurred`, the most frequent first; `none`."""
    most = sorted(left_out.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason}" for reason, count in most) or "none"
