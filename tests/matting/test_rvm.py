"""Test the recurrent network by a stand-in with the same inputs and outputs and a predictable state."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from selfieavatar.errors import UserError
from selfieavatar.matting.rvm import RecurrentMatting


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Build a network: pha = mean over channels of src times the ratio, plus r1; state n grows by 0.1 n."""
    tensor = helper.make_tensor_value_info
    names = [("src", [1, 3, None, None]), *((f"r{n}i", [1, 1, 1, 1]) for n in range(1, 5)), ("downsample_ratio", [1])]
    inputs = [tensor(name, TensorProto.FLOAT, shape) for name, shape in names]
    outputs = [tensor("fgr", TensorProto.FLOAT, None), tensor("pha", TensorProto.FLOAT, None)]
    outputs += [tensor(f"r{n}o", TensorProto.FLOAT, None) for n in range(1, 5)]
    constants = [helper.make_tensor("axis", TensorProto.INT64, [1], [1])]
    nodes = [
        helper.make_node("Identity", ["src"], ["fgr"]),
        helper.make_node("ReduceMean", ["src", "axis"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "downsample_ratio"], ["scaled"]),
        helper.make_node("Add", ["scaled", "r1i"], ["pha"]),
    ]
    for n in range(1, 5):
        constants.append(helper.make_tensor(f"step{n}", TensorProto.FLOAT, [1, 1, 1, 1], [0.1 * n]))
        nodes.append(helper.make_node("Add", [f"r{n}i", f"step{n}"], [f"r{n}o"]))
    graph = helper.make_graph(nodes, "stand_in", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path_factory.mktemp("rvm") / "rvm.onnx"
    onnx.save(model, path)
    return path


def test_state_is_carried_and_reset(stand_in):
    network = RecurrentMatting(stand_in, downsample_ratio=1.0)
    black = np.zeros((8, 6, 3), np.uint8)
    found = [float(network(black)[0, 0]) for _ in range(3)]
    assert found == pytest.approx([0.0, 0.1, 0.2], abs=1e-6)
    network.reset()
    assert float(network(black)[0, 0]) == 0.0
    assert float(RecurrentMatting(stand_in)(black)[0, 0]) == 0.0


def test_image_goes_in_as_rgb_planes_in_unit_range(stand_in):
    image = np.zeros((4, 5, 3), np.uint8)
    image[1, 2] = (255, 51, 0)
    alpha = RecurrentMatting(stand_in, downsample_ratio=0.5)(image)
    assert alpha.shape == (4, 5) and alpha.dtype == np.float32
    assert alpha[1, 2] == pytest.approx(0.5 * (1.0 + 0.2) / 3, abs=1e-6) and alpha[0, 0] == 0.0


def test_automatic_ratio_brings_the_longer_side_to_512(stand_in):
    white = np.full((1024, 4, 3), 255, np.uint8)
    assert RecurrentMatting(stand_in)(white)[0, 0] == pytest.approx(0.5, abs=1e-6)


def test_alpha_stays_in_range(stand_in):
    network = RecurrentMatting(stand_in, downsample_ratio=1.0)
    for _ in range(15):
        alpha = network(np.full((4, 4, 3), 200, np.uint8))
    assert alpha.max() == 1.0


def test_another_network_is_refused(tmp_path):
    tensor = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "other", [tensor], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="has no"):
        RecurrentMatting(tmp_path / "other.onnx")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot|can load"):
        RecurrentMatting(tmp_path / "broken.onnx")
