"""An exported avatar is posed and painted without torch, by either runner, and driven live."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.rendering.renderer import Renderer
from selfieavatar.runtime.exported_avatar import RUNNERS, ExportedAvatar
from tests.conftest import ROOT
from tests.fitting import makers
from tests.runtime.makers import SIZE, identity, write_export

POSE = np.zeros((2, 3)), np.tile([0.0, 0, 60], (2, 1)), np.zeros((2, 4))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_export(tmp_path_factory.mktemp("export"))


def test_it_is_posed_as_the_renderer_draws(path):
    avatar = ExportedAvatar.load(path)
    render, uv = avatar.pose(*POSE)
    drawn = Renderer(identity(), SIZE).render(*(rows[1] for rows in POSE))
    assert render.shape == (2, 3, SIZE, SIZE) and render.dtype == uv.dtype == np.float32
    np.testing.assert_allclose(render[1].transpose(1, 2, 0) * 255, drawn.image, atol=1e-3)
    np.testing.assert_allclose(uv[1].transpose(1, 2, 0) * 65535, drawn.uv, atol=0.01)
    assert (avatar.subject, avatar.consent, avatar.camera.size_px) == ("anna", "self", SIZE)


@pytest.mark.parametrize("runner", RUNNERS)
def test_it_paints_what_the_network_says(path, runner):
    pytest.importorskip(runner)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    avatar = ExportedAvatar.load(path, runner=runner)
    image, alpha = avatar.drive(*POSE)
    render, uv = avatar.pose(*POSE)
    np.testing.assert_array_equal(image, render)
    np.testing.assert_array_equal(alpha, uv[:, 2:])
    assert alpha.any() and not alpha.all()
    assert not hasattr(os, "sched_getaffinity") or os.sched_getaffinity(0) == cores, "it stays on all its cores"
    with pytest.raises(ValueError, match=r"must be \('B', 3, 32, 32\)"):
        avatar.paint(render[..., :16], uv[..., :16])


@pytest.mark.parametrize("runner", RUNNERS)
def test_threads_may_paint_at_once(path, runner):
    pytest.importorskip(runner)
    avatar = ExportedAvatar.load(path, runner=runner)
    images = [np.full((1, 3, SIZE, SIZE), shade, np.float32) for shade in np.linspace(0, 1, 40)]
    with ThreadPoolExecutor(4) as pool:
        for image, (painted, _) in zip(images, pool.map(lambda i: avatar.paint(i, i), images), strict=True):
            np.testing.assert_array_equal(painted, image)


def test_what_is_asked_wrongly_is_said(path):
    avatar = ExportedAvatar.load(path)
    with pytest.raises(ValueError, match="expression must be"):
        avatar.pose(*POSE[:2], np.zeros((2, 9)))
    with pytest.raises(UserError, match="no runner 'tvm'"):
        ExportedAvatar.load(path, runner="tvm")
    with pytest.raises(UserError, match="no precision 'int4'"):
        ExportedAvatar.load(path, precision="int4")


LIVE = """
import json, sys
import numpy as np
from selfieavatar import ExportedAvatar, LiveDriver, fastest_avatar
avatar = ExportedAvatar.load(sys.argv[1])
image, alpha = avatar.drive(np.zeros((1, 3)), np.array([[0.0, 0, 60]]), np.zeros((1, avatar.model.expression_count)))
choice = fastest_avatar(sys.argv[1], trial_s=0.05)
driver = LiveDriver(choice.avatar)  # with MediaPipe
frame = driver(np.zeros((240, 320, 3), np.uint8), 0.0)
driver.close()
print(json.dumps([float(image.mean()), float(alpha.mean()), choice.reason, frame.state, list(frame.image.shape),
                  frame.alpha.dtype.name, sorted(name for name in sys.modules if name.split(".")[0] == "torch")]))
"""


@pytest.mark.slow
def test_it_is_driven_without_torch(path):
    """Also live, up to MediaPipe; in a process of its own, whose modules are counted."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LIVE, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    image, alpha, reason, state, shape, kind, torch_modules = json.loads(done.stdout.splitlines()[-1])
    assert torch_modules == []
    assert 0 < image < 1 and 0 < alpha < 1
    assert state == "no face" and shape == [SIZE, SIZE, 3] and kind == "uint8"
    assert "paints a frame in" in reason


def test_another_person_s_motion_is_carried_over(path):
    avatar = ExportedAvatar.load(path)
    same = avatar.retarget(identity().model, avatar.camera, None)
    motion = object()
    assert same(motion) is motion, "the driver is the avatar's own person"
    assert avatar.usual_pose() == pytest.approx(identity().pose_range.reference)
    assert makers.model().expression_count == avatar.model.expression_count
