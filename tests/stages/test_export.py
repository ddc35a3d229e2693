"""The stage on a tiny avatar: what is written paints what torch paints, and is described; what is refused."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from selfieavatar.avatar import Avatar
from selfieavatar.errors import UserError
from selfieavatar.export.graph import export_graph
from selfieavatar.export.parity import range_motions
from selfieavatar.io.files import content_hash
from selfieavatar.io.manifest import write_manifest
from selfieavatar.runtime.choice import fastest_avatar
from selfieavatar.runtime.exported_avatar import RUNNERS, ExportedAvatar
from selfieavatar.runtime.exported_file import read_exported
from stages import export
from tests.export.makers import SIZE, content
from tests.fitting import makers

FRAMES = 8


def write_fit(path, expressions=4):
    rotation, translation, expression = makers.movement(FRAMES)
    good = np.arange(FRAMES) != 3
    columns = {"frame": np.arange(FRAMES), "fitted": good, "rotation": rotation, "translation": translation,
               "expression": expression[:, :expressions], "gaze": np.zeros((FRAMES, 4)),
               "light": np.zeros((FRAMES, 27)), "torso": np.full((FRAMES, 2), np.nan),
               "landmark_error": np.zeros(FRAMES), "quality": np.array(["ok"] * FRAMES, object)}  # fmt: skip
    columns["rotation"][~good] = np.nan
    write_manifest(path, "fit", columns, {"size_px": SIZE})


def run(folder, *extra):
    arguments = ["--avatar", str(folder / "avatar.pt"), "--out", str(folder / "avatar.onnx"), "--threads", "1", *extra]
    args = export.build_parser().parse_args(arguments)
    export.run(args)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    everything = {"face_bases": 3, "noise": True, "torso": True, "hair": True}  # that networks may have
    torch.save(content(**everything), folder / "avatar.pt")
    (folder / "talk").mkdir()
    write_fit(folder / "talk/fit.parquet")
    run(folder, "--fit", str(folder / "talk/fit.parquet"))
    return folder


def motions(avatar):
    return list(range_motions(avatar, 3).values())


@pytest.mark.slow
@pytest.mark.parametrize("runner", RUNNERS)
def test_it_paints_what_torch_paints(made, runner):
    pytest.importorskip(runner)
    avatar, exported = Avatar.load(made / "avatar.pt"), ExportedAvatar.load(made / "avatar.onnx", runner=runner)
    wanted = [part.numpy() for part in avatar.drive(*motions(avatar))]
    for found, part in zip(exported.drive(*motions(exported)), wanted, strict=True):
        assert found.shape == part.shape and np.ptp(part) > 0.1
        np.testing.assert_allclose(found, part, atol=1e-4)


@pytest.mark.slow
def test_float16_is_close_and_smaller(made):
    half = ExportedAvatar.load(made / "avatar.onnx", precision="float16")
    whole = ExportedAvatar.load(made / "avatar.onnx")
    for found, part in zip(half.drive(*motions(half)), whole.drive(*motions(whole)), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, part, atol=2e-2)
    kinds = {
        tensor.data_type for tensor in onnx.load(made / "avatar.fp16.onnx").graph.initializer if len(tensor.dims) == 4
    }
    assert onnx.TensorProto.FLOAT16 in kinds


@pytest.mark.slow
def test_the_description_tells_what_was_exported(made):
    told = json.loads((made / "avatar.onnx.json").read_text())
    assert (told["subject"], told["consent"], told["size_px"], told["opset"]) == ("anna", "self", SIZE, 18)
    assert told["avatar"]["hash"] == content_hash(made / "avatar.pt")
    assert [(end["name"], end["shape"]) for end in told["inputs"] + told["outputs"]] == [
        ("render", ["B", 3, SIZE, SIZE]), ("uv", ["B", 3, SIZE, SIZE]), ("image", ["B", 3, SIZE, SIZE]),
        ("alpha", ["B", 1, SIZE, SIZE]),
    ]  # fmt: skip
    parity = told["parity"]
    assert parity["float32"]["frames"] == FRAMES - 1 and parity["driven_by"] == ["talk"]
    assert parity["float32"]["image_mean_abs"] < 1e-5 < parity["float16"]["image_mean_abs"] < 1e-2
    int8 = parity["int8"]["image_psnr_db"]
    assert (told["files"]["int8"] is None) == (int8 < 40) == (not (made / "avatar.int8.onnx").exists())
    assert bool(told["notes"]) == (int8 < 40)
    graph = onnx.load(made / "avatar.onnx")
    assert [(imported.domain, imported.version) for imported in graph.opset_import] == [("", told["opset"])]
    identity = read_exported(made / "avatar.onnx").identity
    assert identity.texture_weight is None


@pytest.mark.slow
def test_the_fastest_is_chosen_among_torch_and_the_export(made):
    chosen = fastest_avatar(made / "avatar.pt", trial_s=0.1)
    assert {"torch float32", "torch bfloat16", "ONNX Runtime float32"} <= set(chosen.times_ms)
    assert chosen.times_ms[chosen.name] == min(chosen.times_ms.values())


@pytest.mark.slow
def test_the_baseline_is_exported(tmp_path):
    avatar = Avatar(content(generator="unet"), "cpu")
    export_graph(avatar, tmp_path / "graph.onnx")
    onnx.checker.check_model(tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    render, uv = avatar.draw(*motions(avatar))
    found = session.run(None, {"render": np.ascontiguousarray(render), "uv": np.ascontiguousarray(uv)})
    for one, other in zip(found, avatar.paint(torch.from_numpy(render), torch.from_numpy(uv)), strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-4)


def test_a_clip_of_another_person_is_refused(tmp_path):
    torch.save(content(), tmp_path / "avatar.pt")
    write_fit(tmp_path / "fit.parquet", expressions=2)
    with pytest.raises(UserError, match=r"fit.parquet is not of the avatar's person"):
        run(tmp_path, "--fit", str(tmp_path / "fit.parquet"))
    assert not list(tmp_path.glob("avatar.onnx*"))


def test_an_avatar_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        run(tmp_path)
    shutil.copy(__file__, tmp_path / "avatar.pt")
    with pytest.raises(UserError, match="not a readable avatar"):
        run(tmp_path)
