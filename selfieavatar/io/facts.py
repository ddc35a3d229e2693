"""Say which types the facts of manifests have, so that a damaged or strange file is refused where it is read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, create_model

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0)]

# Of the manifests of all kinds; a name means the same in each. Others are not looked at.
_TYPES: dict[str, Any] = {
    "block": dict[str, _Count] | _Count,
    "count": _Count,
    "crop_px": Annotated[list[_Number], Field(min_length=3, max_length=3)],
    "expression_count": _Count,
    "faces_per_frame_max": _Count,
    "focal_px": Annotated[_Number, Field(gt=0)],
    "fps": Annotated[_Number, Field(gt=0, le=100_000)] | None,
    "held_from": _Count,
    "interleaved": list[str],
    "labels": dict[str, str],
    "landmark_set": str,
    "left_out": list[tuple[_Count, _Count, str]],
    "light": str,
    "method": str,
    "model": str,
    "person_chosen": bool,
    "pictures": dict[str, str],
    "plate": bool,
    "plate_seen": _Number | None,
    "principal": Annotated[list[_Number], Field(min_length=2, max_length=2)],
    "reader": str,
    "size_px": Annotated[int, Field(ge=1, le=1 << 16)],
    "source": str,
    "source_size": Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)],
    "static_camera": bool,
    "subject": str,
    "test_from": _Count,
    "variant": str,
}
_FIELDS: dict[str, Any] = {name: (kind, None) for name, kind in _TYPES.items()}  # a default is not checked
_Facts = create_model("_Facts", __config__=ConfigDict(strict=True), **_FIELDS)


def misfit(text: bytes) -> str:
    """Say which fact in a JSON object is of another type than it has, and why; empty where none is."""
    try:
        _Facts.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"'{'.'.join(map(str, first['loc']))}': {first['msg']}"[:200]
    return ""
