"""The range of the code is that of the frames that were trained on, no others."""

import numpy as np
import pytest
import torch

from selfieavatar.training.code_range import measure_code_range
from selfieavatar.training.dataset import FrameStore, make_batch
from selfieavatar.training.loop import Frames
from selfieavatar.training.trainer import Trainer
from tests.training.makers import SIZE, settings, write_clip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("range")
    write_clip(folder / "a", 6)
    store = FrameStore([(folder / "a", k) for k in range(6)], SIZE, 10**9, 1)
    return Frames(store, np.array([1, 1, 0, 1, 1, 0.0]), [2, 5])


def test_it_is_what_the_frames_that_are_trained_on_have(frames):
    trainer = Trainer(settings(net_face_bases=3), SIZE, "cpu")
    parts = trainer.averaged_weights()
    assert parts["maps"]["bases"]["low"].tolist() == [-1] * 3 and parts["maps"]["bases"]["high"].tolist() == [1] * 3
    measure_code_range(parts, trainer.settings, frames, CPU)
    batch, style = make_batch(frames.store.read([0, 1, 3, 4]), np.zeros(4), CPU), trainer.average.style
    codes = style.code(style.encoder.squeeze(batch.render, batch.uv)[0])
    torch.testing.assert_close(parts["maps"]["bases"]["low"], codes.amin(0))
    torch.testing.assert_close(parts["maps"]["bases"]["high"], codes.amax(0))


@pytest.mark.parametrize("changes", [{}, {"net_generator": "unet", "net_face_bases": 2}])
def test_without_bases_there_is_nothing_to_measure(frames, changes):
    trainer = Trainer(settings(**changes), SIZE, "cpu")
    parts = trainer.averaged_weights()
    measure_code_range(parts, trainer.settings, frames, CPU)
    assert "bases" not in parts["maps"]
