"""The section `capture` of the configuration: what footage must have to suffice (see `sections`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from selfieavatar.settings.sections import Section

Limits = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)]


class Capture(Section):
    """Whether the footage suffices, before hours of training: limits as [good, thin].

    A measure at least as good as the first is good, as the second thin, worse is missing.
    """

    advised_yaw: float = Field(30, ge=5, le=80)
    """Degrees to either side that the head should turn; the advised directions are the ellipse of this and
    advised_pitch."""
    advised_pitch: float = Field(15, ge=5, le=60)
    """Degrees up and down that the head should turn."""
    softness: float = Field(0.7, gt=0)
    """Softness of the face's sharpest edges (deviation of a Gaussian beyond what the pixels blur, % of the face's
    height) above which a frame counts as blurred. A sharp phone video has 0.1 to 0.4, visibly soft ones from 0.7."""
    minutes: Limits = [0.75, 0.25]
    """Usable time, minutes."""
    face_scale: Limits = [1, 0.6]
    """Pixels of the video for each pixel of the training images (decode.size_px), along the face. Below 1 the images
    are enlarged and hold no more detail."""
    blurred: Limits = [10, 30]
    """Frames with a blurred face, %."""
    exposure: Limits = [1, 5]
    """Pixels of the face that are plain white or black, %."""
    light_drift: Limits = [10, 25]
    """Range of the face's brightness from second to second, %."""
    light_flicker: Limits = [1, 3]
    """Deviation of the face's brightness from frame to frame, %."""
    light_sides: Limits = [20, 45]
    """Difference of the brightness of both sides of the face, %."""
    camera: Limits = [0.4, 2]
    """Movement of the background, % of the image's side."""
    cut: Limits = [1, 10]
    """Frames in which the border cuts the face, %."""
    lost: Limits = [2, 10]
    """Frames without a face or a fit, or with a doubtful one, % of those that decode does not leave out."""
    frame_rate: Limits = [20, 12]
    """Different images in a second."""
    faces: Limits = [1, 3]
    """Most faces in view at once."""
    yaw: Limits = [15, 8]
    """Degrees that the head is turned to the lesser side."""
    pitch: Limits = [10, 5]
    """Degrees that the head is raised or lowered, the lesser of both."""
    roll: Limits = [6, 3]
    """Degrees that the head is tilted to the lesser side."""
    poses: Limits = [55, 25]
    """Advised directions of the head that were seen, %."""
    mouth_open: Limits = [25, 15]
    """Widest opening of the lips, % of the distance of the outer eye corners."""
    mouth_closed: Limits = [3, 6]
    """Narrowest opening of the lips, % of the distance of the outer eye corners."""
    lip_shapes: Limits = [15, 8]
    """Different shapes of the lips."""
    teeth: Limits = [2, 0.4]
    """Seconds with teeth in view."""
    blinks: Limits = [5, 1]
    """Blinks."""
    closed: Limits = [1, 0.2]
    """Seconds with closed eyes."""
    gaze_yaw: Limits = [25, 12]
    """Degrees from looking left to looking right."""
    gaze_pitch: Limits = [12, 6]
    """Degrees from looking up to looking down."""
    brows: Limits = [8, 4]
    """Range of the brows' height, % of the distance of the outer eye corners."""
