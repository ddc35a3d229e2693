"""What is read from a stranger's export: whole files of one export, and a plain network of the contract."""

import re
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from selfieavatar.errors import UserError
from selfieavatar.runtime.exported_file import FileFacts, description_path, identity_path, read_exported
from tests.runtime.makers import SIZE, graph, write_export


def refusal(path, precision="float32"):
    """Return the one sentence in which an export is refused."""
    with pytest.raises(UserError) as error:
        read_exported(path, precision)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_export_is_read(tmp_path):
    found = read_exported(write_export(tmp_path))
    assert found.description.subject == "anna" and found.description.consent == "self"
    assert found.graph == (tmp_path / "avatar.onnx").read_bytes()
    assert found.identity.model.expression_count == 4


@pytest.mark.parametrize("name", ["avatar.onnx", "avatar.onnx.json", "avatar.onnx.npz"])
def test_a_missing_file_is_named(tmp_path, name):
    path = write_export(tmp_path)
    (tmp_path / name).unlink()
    assert f"{name} is missing" in refusal(path)


@pytest.mark.parametrize("name", ["avatar.onnx", "avatar.onnx.npz"])
@pytest.mark.parametrize("damage", [lambda c: c[:-7], lambda c: c[:50] + b"?" + c[51:], lambda c: c + b"more"])
def test_damage_is_found_by_the_hash(tmp_path, name, damage):
    path = write_export(tmp_path)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    assert re.search("damaged, or not the file", refusal(path))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format": 2}', '{"size_px": NaN}', "null", "[" * 100_000, "1" * 10_000]
)
def test_a_damaged_description_is_said(tmp_path, text):
    path = write_export(tmp_path)
    description_path(path).write_text(text)
    assert re.search("does not describe an exported avatar", refusal(path))


def test_giant_files_are_not_read(tmp_path):
    path = write_export(tmp_path)
    with description_path(path).open("wb") as file:
        file.truncate(1 << 21)
    assert re.search("larger than 1 MB", refusal(path))
    path = write_export(tmp_path)
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    assert re.search("larger than 1024 MB", refusal(path))


def test_an_identity_that_unpacks_to_much_is_refused(tmp_path):
    path = write_export(tmp_path)
    with zipfile.ZipFile(identity_path(path), "w") as archive, archive.open("template.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 26, 3)})
    assert re.search("its arrays have more than 256 MB", refusal(write_with_identity(path)))


def test_an_identity_that_holds_objects_is_refused(tmp_path):
    path = write_export(tmp_path)
    np.savez(identity_path(path), template=np.array([{"code": 1}], dtype=object))
    assert re.search("not a readable identity", refusal(write_with_identity(path)))


def write_with_identity(path):
    """Describe the identity that lies there now."""
    kept = identity_path(path).read_bytes()
    facts = FileFacts.of(identity_path(path))
    write_export(path.parent, identity=facts.model_dump())
    identity_path(path).write_bytes(kept)
    return path


def test_a_precision_that_was_not_written_is_said(tmp_path):
    notes = ["int8: not written, since 31.0 dB to float32 are under 40"]
    path = write_export(tmp_path, notes=notes, files={"int8": None})
    assert re.search("int8", refusal(path, r"has no int8 network \(int8: not written, since 31.0 dB"))


def external():
    """A network whose weight is the content of a file of the reader's."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return graph(initializers=[tensor])


def branching():
    inner = helper.make_graph([helper.make_node("Identity", ["render"], ["x"])], "g", [], [])
    return graph([helper.make_node("If", ["uv"], ["image"], then_branch=inner, else_branch=inner)])


def with_function():
    model = graph()
    model.functions.append(helper.make_function("", "F", ["a"], ["b"], [], [helper.make_opsetid("", 18)]))
    return model


HOSTILE = {
    "takes data from other files": external,
    "operators of 'com.evil'": lambda: graph([helper.make_node("Own", ["uv"], ["image"], domain="com.evil")]),
    "operators of 'com.microsoft'": lambda: graph(domain="com.microsoft"),
    "functions, branches or loops": branching,
    "holds functions": with_function,
    "render is not float32 of": lambda: graph(side=2 * SIZE),
}


@pytest.mark.parametrize("said", HOSTILE)
def test_networks_of_another_form_are_refused(tmp_path, said):
    assert re.search(said, refusal(write_export(tmp_path, HOSTILE[said]())))


def test_a_constant_in_a_node_may_not_lie_elsewhere(tmp_path):
    tensor = numpy_helper.from_array(np.zeros(1, np.float32))
    tensor.data_location = TensorProto.EXTERNAL
    node = helper.make_node("Constant", [], ["image"], value=tensor)
    assert re.search("takes data from other files", refusal(write_export(tmp_path, graph([node]))))


def test_other_outputs_are_named(tmp_path):
    model = graph()
    model.graph.output[0].name = "painting"
    assert re.search("it has alpha, painting instead of image, alpha", refusal(write_export(tmp_path, model)))


@pytest.mark.parametrize("content", [b"\xff" * 100, b"\x00", b"PK\x03\x04" * 10])
def test_what_is_no_network_is_refused(tmp_path, content):
    class Model:
        SerializeToString = staticmethod(lambda: content)  # noqa: N815 - as onnx calls it

    assert re.search("is not (a readable ONNX file|an exported avatar)", refusal(write_export(tmp_path, Model)))
