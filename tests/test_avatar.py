"""The avatar at run time: it paints what the trained networks paint, drives from coefficients, refuses other files."""

import re
import resource
import shutil

import numpy as np
import pytest
import torch

from selfieavatar.avatar import Avatar
from selfieavatar.errors import UserError
from selfieavatar.identity import Identity
from selfieavatar.io.files import content_hash
from selfieavatar.networks.avatar_content import YOUNGER_KEYS
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.training.code_range import measure_code_range
from selfieavatar.training.dataset import FrameStore, make_batch
from selfieavatar.training.loop import Frames, train
from stages import train as stage
from tests.conftest import ROOT
from tests.training.makers import SIZE, settings, write_clip, write_identity


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("avatar")
    write_clip(folder / "a", 12)
    frames = Frames(FrameStore([(folder / "a", k) for k in range(12)], SIZE, 10**9, 1), np.ones(12), [])
    trainer = train(settings(images=40), SIZE, frames, folder / "run", "cpu")
    identity = Identity.load(write_identity(folder / "identity.npz"))
    torch.save(stage.avatar_file(trainer, trainer.averaged_weights(), identity, "x"), folder / "avatar.pt")
    return folder, trainer, frames


@pytest.fixture(scope="module")
def with_bases(trained):
    """An avatar whose face has bases, beside the one of `trained`."""
    folder, _, frames = trained
    trainer = train(settings(images=40, net_face_bases=3), SIZE, frames, folder / "bases", "cpu")
    parts = trainer.averaged_weights()
    measure_code_range(parts, trainer.settings, frames, trainer.device)
    identity = Identity.load(folder / "identity.npz")
    torch.save(stage.avatar_file(trainer, parts, identity, "x"), folder / "with_bases.pt")
    return folder / "with_bases.pt", trainer, frames


def test_paints_what_the_averaged_networks_paint(trained):
    folder, trainer, frames = trained
    batch = make_batch(frames.store.read([0, 7]), np.zeros(2), "cpu")
    image, alpha = Avatar.load(folder / "avatar.pt").paint(batch.render, batch.uv)
    with torch.no_grad():
        raw, _ = trainer.average(batch.render, batch.uv)
    assert image.shape == (2, 3, SIZE, SIZE) and alpha.shape == (2, 1, SIZE, SIZE)
    torch.testing.assert_close(image, (raw / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=0)
    assert 0 <= alpha.min() and alpha.max() <= 1


def test_alpha_is_one_on_the_person(trained):
    folder, trainer, frames = trained
    content = torch.load(folder / "avatar.pt", weights_only=True)
    content["g_style"]["mask.weight"].zero_()
    batch = make_batch(frames.store.read([0]), np.zeros(1), "cpu")
    for logit, expected in ((9.0, 0.0), (-9.0, 1.0)):
        content["g_style"]["mask.bias"].fill_(logit)  # the network's own mask is of the background
        assert Avatar(content, "cpu").paint(batch.render, batch.uv)[1].mean().item() == pytest.approx(
            expected, abs=1e-3
        )


def test_identity_comes_back_as_arrays(trained):
    avatar = Avatar.load(trained[0] / "avatar.pt")
    assert avatar.size_px == SIZE and avatar.identity.model.name == "facemesh" and avatar.subject == "x"
    np.testing.assert_array_equal(avatar.identity.model.tri, [[0, 1, 2], [0, 2, 3]])
    assert avatar.identity.camera.size_px == SIZE
    assert avatar.identity.texture.dtype == np.uint8


def test_driving_is_rendering_then_painting(trained):
    avatar = Avatar.load(trained[0] / "avatar.pt")
    rotation, translation = np.array([[0, 0.2, 0], [0, 0, 0]]), np.array([[0, 0, 40.0], [1, 0, 35.0]])
    expression = np.zeros((2, 2), np.float32)
    image, _ = avatar.drive(rotation, translation, expression)
    images = Renderer(avatar.identity, SIZE).render_batch(rotation, translation, expression)
    assert images.mask.any(axis=(1, 2)).all()
    render = torch.from_numpy(images.image).permute(0, 3, 1, 2) / 255
    uv = torch.from_numpy(images.uv.astype(np.int32)).permute(0, 3, 1, 2) / 65535
    torch.testing.assert_close(image, avatar.paint(render, uv)[0])


def test_wrong_shapes_are_refused(trained):
    avatar = Avatar.load(trained[0] / "avatar.pt")
    with pytest.raises(ValueError, match="must be"):
        avatar.paint(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    shapes = {"rotation": (2, 3), "translation": (2, 3), "expression": (2, 2)}
    frames = {name: np.zeros(shape) for name, shape in shapes.items()}
    for name, shape in {"expression": (2, 5), "translation": (1, 3), "rotation": (2, 4), "gaze": (2, 2)}.items():
        with pytest.raises(ValueError, match=f"{name} must be"):
            avatar.drive(**frames | {name: np.zeros(shape)})
    for name in frames:
        with pytest.raises(ValueError, match="must be"):
            avatar.drive(**frames | {name: None})
    with pytest.raises(ValueError, match="must be"):
        avatar.drive(**{name: rows[:0] for name, rows in frames.items()})


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
@pytest.mark.usefixtures("with_bases")
def test_a_compiled_avatar_paints_the_same(trained):
    """With bases of the face, which has all that an avatar without them has."""
    folder, _, frames = trained
    batch = make_batch(frames.store.read([0, 7]), np.zeros(2), "cpu")
    plain, compiled = (Avatar.load(folder / "with_bases.pt", compile=how) for how in (False, True))
    for images in ((batch.render, batch.uv), (batch.render[:1], batch.uv[:1])):
        torch.testing.assert_close(compiled.paint(*images), plain.paint(*images), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("wrong", "said"), [({"precision": "bf16"}, "or bfloat16"), ({"device": "cuda"}, "cpu")])
def test_what_this_machine_has_not_is_said(trained, monkeypatch, wrong, said):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=said):
        Avatar.load(trained[0] / "avatar.pt", **wrong)


def test_what_cannot_be_compiled_is_said_in_one_sentence(trained, monkeypatch):
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/no/compiler"))
    torch._dynamo.reset()
    with pytest.raises(UserError, match="C\\+\\+ compiler") as caught:
        Avatar.load(trained[0] / "avatar.pt", compile=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["absent", "text", "cut", "list", "format", "lacks", "misfit"])
def test_other_files_are_refused_in_one_sentence(trained, tmp_path, damage):
    path = tmp_path / "avatar.pt"
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    if damage == "text":
        path.write_text("not an avatar")
    elif damage == "cut":
        whole = (trained[0] / "avatar.pt").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "list":
        torch.save([1, 2], path)
    elif damage == "format":
        torch.save(content | {"format": 99}, path)
    elif damage == "lacks":
        torch.save({k: v for k, v in content.items() if k != "maps"}, path)
    elif damage == "misfit":
        del content["g_style"]["mask.weight"]
        torch.save(content, path)
    with pytest.raises(UserError) as caught:
        Avatar.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("region", ["face", "back", "torso", "hair"])
@pytest.mark.parametrize("spoil", [
    lambda v: v * float("nan"), lambda v: v.double(), lambda v: v.repeat(2, 1, 1, 1), lambda v: v[:, :-1].clone(),
    lambda v: v[..., :-1, :-1].clone(),
])  # fmt: skip
@pytest.mark.parametrize("name", ["feature", "skip"])
def test_maps_of_another_network_are_refused(trained, tmp_path, region, spoil, name):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    content["maps"][region][name] = spoil(content["maps"][region][name])
    torch.save(content, tmp_path / "avatar.pt")
    with pytest.raises(UserError, match=f"the map {name} of {region}"):
        Avatar.load(tmp_path / "avatar.pt")


HOSTILE = {
    "latent": lambda c: c["settings"].update(net_latent=1024),
    "wide": lambda c: c["settings"].update(net_render_channel_base=10**7, net_render_channel_max=10**6),
    "mode": lambda c: c["settings"].update(net_warp_mode="evil"),
    "size": lambda c: c.update(size_px=2**20),
    "nan": lambda c: c["g_style"]["mask.bias"].fill_(float("nan")),
    "double": lambda c: c["g_style"].update({"mask.bias": c["g_style"]["mask.bias"].double()}),
    "hollow": lambda c: c["g_style"].update({"latent": torch.zeros(1, 1).expand(1, 10**12)}),
    "hollow identity": lambda c: c["identity"].update(template=torch.zeros(1, 3).expand(10**12, 3)),
    "no template": lambda c: c["identity"].pop("template"),
    "texture": lambda c: c["identity"].update(texture=torch.zeros(0, 0, 3, dtype=torch.uint8)),
    "uv nan": lambda c: c["identity"]["uv"].fill_(float("nan")),
    "uv far": lambda c: c["identity"]["uv"].mul_(1e9),
    "tri": lambda c: c["identity"]["tri"].add_(10**6),
    "no key": lambda c: c["settings"].pop("net_mask_share"),
    "no landmarks": lambda c: c["identity"].pop("landmark_vertices"),
    "focal length": lambda c: c["identity"].update(focal_px=torch.tensor(0.0)),
    "light": lambda c: c["identity"].update(light=torch.zeros(5)),
    "subject": lambda c: c.update(subject=["x"]),
    "subject of lines": lambda c: c.update(subject="x\nx"),
    "long subject": lambda c: c.update(subject="x" * 10**5),
    "range nan": lambda c: c["expression_range"].update(low=torch.full((2,), float("nan"))),
    "range upside down": lambda c: c["expression_range"].update(low=torch.ones(2), high=torch.zeros(2)),
    "minutes nan": lambda c: c.update(minutes=float("nan")),
    "images without end": lambda c: c.update(images=float("inf")),
    "range of lists": lambda c: c["expression_range"].update(low=[0.0, 0.0]),
    "no table": lambda c: c.update(identity=[1]),
    "junk": lambda c: c["identity"].update(junk=[1.0, [2.0]]),
    "weights": lambda c: c["weights"].update(mrf=[1]),
    "history": lambda c: c.update(history=[{"images": "many"}]),
    "images": lambda c: c.update(images="many"),
}


@pytest.mark.parametrize("damage", HOSTILE)
def test_what_would_fail_later_is_refused_at_once(trained, tmp_path, damage):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    HOSTILE[damage](content)
    torch.save(content, tmp_path / "avatar.pt")
    assert (tmp_path / "avatar.pt").stat().st_size < 10**6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="does not fit together|is not a readable avatar"):
        Avatar.load(tmp_path / "avatar.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**5, "kilobytes"


def test_the_basis_of_consent_travels_and_older_files_have_none(trained, tmp_path):
    old, path = trained[0] / "avatar.pt", tmp_path / "avatar.pt"
    content = torch.load(old, weights_only=True)
    assert Avatar.load(old).consent == ""
    stage.with_consent(old, "written", path)
    avatar = Avatar.load(path)
    assert avatar.consent == "written" and avatar.digest == content_hash(path)
    torch.save(content | {"consent": 5}, path)
    with pytest.raises(UserError, match="must be texts"):
        Avatar.load(path)


def test_keys_of_another_version_do_no_harm(trained, tmp_path):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    content["settings"] |= {"weight_gradient": 0.5, "net_from_later": "x"}
    torch.save(content, tmp_path / "avatar.pt")
    assert Avatar.load(tmp_path / "avatar.pt").settings == Avatar.load(trained[0] / "avatar.pt").settings


def test_an_avatar_without_maps_off_the_face_paints(trained, tmp_path):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    render, uv = torch.rand(1, 3, SIZE, SIZE), torch.rand(1, 3, SIZE, SIZE)
    with_torso = Avatar.load(trained[0] / "avatar.pt").paint(render, uv)[0]
    content["settings"] |= {"net_torso": False, "net_hair": False}
    content["maps"]["torso"]["feature"] *= float("nan")  # what is not its network's is not looked at
    torch.save(content, tmp_path / "avatar.pt")
    without = Avatar.load(tmp_path / "avatar.pt").paint(render, uv)[0]
    assert without.isfinite().all() and without.shape == with_torso.shape


def test_an_avatar_with_bases_paints_what_its_networks_paint_on_the_frames_it_has_seen(with_bases):
    path, trainer, frames = with_bases
    batch = make_batch(frames.store.read([0, 7]), np.zeros(2), "cpu")
    image, _ = Avatar.load(path).paint(batch.render, batch.uv)
    with torch.no_grad():
        raw, _ = trainer.average(batch.render, batch.uv)
    torch.testing.assert_close(image, (raw / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=0)
    half, _ = Avatar.load(path, precision="bfloat16").paint(batch.render, batch.uv)
    assert (half - image).abs().mean() < 0.02


def test_a_driver_gets_no_code_that_was_not_seen(with_bases):
    """In a range of one point the code of every frame is that point, whatever it shows."""
    path, trainer, frames = with_bases
    content = torch.load(path, weights_only=True)
    batch = make_batch(frames.store.read([3]), np.zeros(1), "cpu")
    images = []
    for end in (-0.5, 0.5):
        content["maps"]["bases"] |= {"low": torch.full((3,), end), "high": torch.full((3,), end)}
        content["g_style"]["code.last.bias"].fill_(-9 * end)
        images.append(Avatar(content, "cpu").paint(batch.render, batch.uv)[0])
        content["g_style"]["code.last.bias"].fill_(9 * end)
        torch.testing.assert_close(Avatar(content, "cpu").paint(batch.render, batch.uv)[0], images[-1])
    assert (images[0] - images[1]).abs().max() > 1e-3


SPOILED_BASES = {
    "absent": lambda c: c["maps"].pop("bases"),
    "no table": lambda c: c["maps"].update(bases=torch.zeros(3)),
    "lacks": lambda c: c["maps"]["bases"].pop("mix"),
    "no tensor": lambda c: c["maps"]["bases"].update(low=[0.0] * 3),
    "another number": lambda c: c["settings"].update(net_face_bases=4),
    "feature": lambda c: c["maps"]["bases"].update(feature=c["maps"]["bases"]["feature"][:, :-1].clone()),
    "four dimensions": lambda c: c["maps"]["bases"].update(colour=c["maps"]["bases"]["colour"][None]),
    "nan": lambda c: c["maps"]["bases"]["colour"].view(-1)[5:6].fill_(float("nan")),
    "infinite range": lambda c: c["maps"]["bases"]["high"].fill_(float("inf")),
    "double": lambda c: c["maps"]["bases"].update(mix=c["maps"]["bases"]["mix"].double()),
    "hollow": lambda c: c["maps"]["bases"].update(colour=torch.zeros(1).expand(3, 96, 32)),
    "upside down": lambda c: c["maps"]["bases"].update(low=torch.ones(3), high=-torch.ones(3)),
    "no code": lambda c: c["g_style"].pop("code.last.bias"),
    "side": lambda c: c["settings"].update(net_bases_px=12),
}


@pytest.mark.parametrize("damage", SPOILED_BASES)
def test_damaged_bases_are_refused_in_one_sentence(with_bases, tmp_path, damage):
    content = torch.load(with_bases[0], weights_only=True)
    SPOILED_BASES[damage](content)
    torch.save(content, tmp_path / "avatar.pt")
    with pytest.raises(UserError, match="does not fit together|is not a readable avatar") as caught:
        Avatar.load(tmp_path / "avatar.pt")
    assert "\n" not in str(caught.value)


def test_an_avatar_from_before_the_latest_settings_loads(trained, tmp_path):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    for name in YOUNGER_KEYS:
        del content["settings"][name]
    assert "bases" not in content["maps"]
    torch.save(content, tmp_path / "avatar.pt")
    images = torch.rand(1, 3, SIZE, SIZE), torch.rand(1, 3, SIZE, SIZE)
    old, new = (Avatar.load(path).paint(*images)[0] for path in (tmp_path / "avatar.pt", trained[0] / "avatar.pt"))
    assert torch.equal(old, new)


@pytest.mark.parametrize(("weights", "taught"), [((3, 0), True), ((0, 0.1), True), ((0, 0), False)])
def test_a_mask_that_no_loss_has_taught_is_known(trained, tmp_path, weights, taught):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    content["settings"] |= dict(zip(("weight_mask", "weight_mrf"), weights, strict=True))
    torch.save(content, tmp_path / "avatar.pt")
    assert Avatar.load(tmp_path / "avatar.pt").mask_trained is taught


def test_the_lines_of_the_readme_drive_an_avatar(trained, tmp_path):
    content = torch.load(trained[0] / "avatar.pt", weights_only=True)
    content["identity"] |= dict.fromkeys(("pose_rest", "pose_low", "pose_high"), torch.tensor([0, 0, 0, 0, 0, 40.0]))
    torch.save(content, tmp_path / "avatar.pt")
    [lines] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    exec(lines.replace("results/demo/avatar.pt", str(tmp_path / "avatar.pt")), names)
    assert names["image"].shape == (25, 3, SIZE, SIZE) and names["alpha"].shape == (25, 1, SIZE, SIZE)
    assert (names["image"][0] - names["image"][6]).abs().max() > 0.01, "the head turns"
