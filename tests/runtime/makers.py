"""An export without a training: a graph made by hand that passes I_R on as the image, and the face of I_UV as alpha."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from selfieavatar.geometry.camera import Camera
from selfieavatar.geometry.reference_pose import PoseRange
from selfieavatar.io.files import write_json
from selfieavatar.runtime.exported_file import Description, FileFacts, description_path, identity_path
from tests.fitting import makers

SIZE = 32


def graph(nodes=None, initializers=None, side=SIZE, domain=""):
    """The network; nodes: instead of its own."""
    ends = [("render", 3), ("uv", 3), ("image", 3), ("alpha", 1)]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, side, side])
        for name, channels in ends
    ]
    bounds = [numpy_helper.from_array(np.array([end]), name) for name, end in (("from", 2), ("to", 3), ("axis", 1))]
    own = [
        helper.make_node("Identity", ["render"], ["image"]),
        helper.make_node("Slice", ["uv", "from", "to", "axis"], ["alpha"]),
    ]
    made = helper.make_graph(nodes or own, "avatar", values[:2], values[2:], initializers or bounds)
    imports = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(made, opset_imports=imports, ir_version=10)


def identity():
    """Who is shown: the made-up person, held as movement has it."""
    rotation, translation, _ = makers.movement(80)
    return makers.identity(None, Camera.default(SIZE), pose_range=PoseRange.of(rotation, translation))


def write_export(folder, model=None, **changes):
    """Write avatar.onnx and what belongs beside it; changes: of the description."""
    path = folder / "avatar.onnx"
    path.write_bytes((model or graph()).SerializeToString())
    identity().save(identity_path(path))
    facts = FileFacts.of(path)
    avatar = FileFacts(file="avatar.pt", bytes=1, hash="0" * 16)
    description = {
        "format": 1, "subject": "anna", "consent": "self", "size_px": SIZE, "opset": 18, "avatar": avatar.model_dump(),
        "identity": FileFacts.of(identity_path(path)).model_dump(), "files": {"float32": facts.model_dump()},
        "inputs": [], "outputs": [], "conventions": [], "parity": {},
    }  # fmt: skip
    Description.model_validate(description)  # what is changed below may be wrong on purpose
    write_json(description_path(path), description | changes)
    return path
