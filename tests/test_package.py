"""The wheel alone, without the checkout: it imports lightly, and loads and drives an avatar."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from selfieavatar.identity import Identity
from selfieavatar.training.dataset import FrameStore
from selfieavatar.training.loop import Frames, train
from stages.train import avatar_file
from tests.conftest import ROOT
from tests.training.makers import SIZE, settings, write_clip, write_identity

DRIVE = """
import json, sys
import selfieavatar
loaded = [name for name in ("torch", "mediapipe", "matplotlib", "numpy") if name in sys.modules]
avatar = selfieavatar.Avatar.load(sys.argv[1])
import numpy as np
pose, expression = (np.zeros((2, 3)), np.tile([0.0, 0.0, 40.0], (2, 1))), np.zeros((2, avatar.model.expression_count))
image, alpha = avatar.drive(*pose, expression)
print(json.dumps([selfieavatar.__file__, loaded, list(image.shape), float(image.mean()), float(alpha.mean()),
                  sorted(name for name in sys.modules if name.split(".")[0] in ("stages", "tests", "mediapipe"))]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # the build leaves files behind
    shutil.copytree(ROOT / "selfieavatar", source / "selfieavatar", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("selfieavatar-*.whl"))


@pytest.fixture(scope="module")
def avatar_pt(tmp_path_factory) -> Path:
    """A tiny avatar."""
    folder = tmp_path_factory.mktemp("avatar")
    write_clip(folder / "a", 4)
    frames = Frames(FrameStore([(folder / "a", k) for k in range(4)], SIZE, 10**9, 1), np.ones(4), [])
    trainer = train(settings(images=8), SIZE, frames, folder / "run", "cpu")
    identity = Identity.load(write_identity(folder / "identity.npz"))
    torch.save(avatar_file(trainer, trainer.averaged_weights(), identity, "x"), folder / "avatar.pt")
    return folder / "avatar.pt"


@pytest.mark.slow
def test_the_wheel_drives_an_avatar_without_the_checkout(wheel, avatar_pt, tmp_path):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", DRIVE, str(avatar_pt)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    home, loaded, shape, image, alpha, others = json.loads(done.stdout)
    assert Path(home).is_relative_to(tmp_path / "site")
    assert loaded == [] and others == [], "what the package loads by itself"
    assert shape == [2, 3, SIZE, SIZE] and 0 < image < 1 and 0 <= alpha <= 1


def test_without_torch_it_is_said_what_to_install():
    """As after `pip install "selfieavatar[runtime]"`; in a process of its own, where torch cannot be imported."""
    script = "import sys; sys.modules['torch'] = None\nfrom selfieavatar import ExportedAvatar, Avatar"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "UserError: Avatar needs torch: pip install 'selfieavatar[torch]'" in done.stderr


def test_the_runtime_asks_for_no_torch(wheel):
    with zipfile.ZipFile(wheel) as file:
        [metadata] = [name for name in file.namelist() if name.endswith("METADATA")]
        needs = [line.removeprefix("Requires-Dist: ") for line in file.read(metadata).decode().splitlines()
                 if line.startswith("Requires-Dist: ")]  # fmt: skip
    asked = [need for need in needs if "extra ==" not in need or 'extra == "runtime"' in need]
    assert any(need.startswith("onnxruntime") for need in asked) and not any(need.startswith("torch") for need in asked)


def test_the_wheel_holds_the_library_alone(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"selfieavatar"}
    assert "selfieavatar/py.typed" in names and "selfieavatar/settings/train_section.py" in names
    package = ROOT / "selfieavatar"
    assert {
        str(path.relative_to(ROOT)) for kind in ("*.py", "*.j2", "live/page/*") for path in package.rglob(kind)
    } <= set(names)
