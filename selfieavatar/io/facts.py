"""Say which types the facts of manifests have, so that a damaged or strange file is refused where it is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic takes that of the standard library from Python 3.12 on

Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


@with_config(ConfigDict(strict=True))
class _Facts(TypedDict, total=False):
    """Facts of the manifests of all kinds, as JSON; a name means the same in each. Others are not looked at."""

    block: dict[str, Count]
    count: Count
    crop_px: Annotated[list[Number], Field(min_length=3, max_length=3)]
    expression_count: Count
    faces_per_frame_max: Count
    focal_px: Annotated[Number, Field(gt=0)]
    fps: Annotated[Number, Field(gt=0, le=100_000)] | None
    held_from: Count
    interleaved: list[str]
    labels: dict[str, str]
    landmark_set: str
    left_out: list[tuple[Count, Count, str]]
    light: str
    method: str
    model: str
    pictures: dict[str, str]
    plate: bool
    plate_seen: Number | None
    principal: Annotated[list[Number], Field(min_length=2, max_length=2)]
    reader: str
    size_px: Annotated[int, Field(ge=1, le=1 << 16)]
    source: str
    source_size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]
    static_camera: bool
    subject: str
    test_from: Count
    variant: str


_ADAPTER = TypeAdapter(_Facts)


def misfit(text: bytes) -> str:
    """Say which fact in a JSON object is of another type than it has, and why; empty where none is."""
    try:
        _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"'{'.'.join(map(str, first['loc']))}': {first['msg']}"[:200]
    return ""
