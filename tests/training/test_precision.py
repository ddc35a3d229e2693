"""bfloat16 while training: only where the processor has it, and near to float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selfieavatar.training.dataset import FrameStore, make_batch
from selfieavatar.training.precision import cpu_bfloat16, takes_bfloat16
from selfieavatar.training.trainer import Trainer
from tests.training.makers import SIZE, settings, write_clip

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("found", "name"),
    [({}, ""), ({"avx512_bf16": False, "avx2": True}, ""), ({"avx512_bf16": True, "amx_bf16": True}, "amx_bf16")],
)
def test_the_processor_is_asked(monkeypatch, found, name):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert cpu_bfloat16() == name
    assert takes_bfloat16(CPU, "bfloat16") == bool(name) and not takes_bfloat16(CPU, "float32")
    assert takes_bfloat16(torch.device("cuda"), "bfloat16")


def test_a_torch_that_cannot_tell_trains_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not takes_bfloat16(CPU, "bfloat16")


def test_the_answer_is_that_of_the_kernel():
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    if "avx" not in flags:
        pytest.skip("no x86 processor under Linux")
    assert bool(cpu_bfloat16()) == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_a_step_in_bfloat16_goes_where_one_in_float32_goes(tmp_path):
    write_clip(tmp_path / "a", 4)
    store = FrameStore([(tmp_path / "a", k) for k in range(4)], SIZE, 10**9, 1)
    moved = []
    for half in (False, True):
        trainer = Trainer(settings(clip_norm=1e9), SIZE, "cpu")
        trainer.half = half
        batch = make_batch(store.read([0, 1, 2, 3]), np.zeros(4), "cpu")
        trainer.set_schedule(0.0)
        metrics, image = trainer._generator_step(batch)
        assert image.dtype == torch.float32 and all(v.dtype == torch.float32 for v in metrics.values())
        moved.append(torch.cat([p.grad.flatten() for p in trainer.nets.style.parameters() if p.grad is not None]))
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.99
    assert moved[0].ne(moved[1]).any(), "the networks did compute in another precision"
