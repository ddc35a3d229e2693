"""The lease of a GPU: one run a GPU, CPU where there is none."""

import os

import pytest

from selfieavatar.errors import UserError
from selfieavatar.settings.device import lease_device, visible_gpus


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")


def test_each_run_gets_its_own_gpu(two_gpus, tmp_path, monkeypatch):
    with lease_device(1, tmp_path) as first:
        assert first == "cuda:0" and os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
        with lease_device(1, tmp_path) as second:
            assert second == "cuda:0" and os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
            with pytest.raises(UserError, match="all 2 GPUs"), lease_device(1, tmp_path):
                pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    with lease_device(1, tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a"


def test_no_gpu_asked_or_none_there_means_cpu(two_gpus, tmp_path, monkeypatch):
    with lease_device(0, tmp_path) as device:
        assert device == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    with lease_device(1, tmp_path) as device:
        assert device == "cpu"


def test_several_gpus_are_leased_together_or_not_at_all(two_gpus, tmp_path, monkeypatch):
    with lease_device(2, tmp_path) as device:
        assert device == "cuda:0" and os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    with lease_device(1, tmp_path):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
        with pytest.raises(UserError, match="all but 1 of the 2 GPUs"), lease_device(2, tmp_path):
            pass
        with lease_device(1, tmp_path):  # what was not leased is free
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    with pytest.raises(UserError, match="3 GPUs are asked for, but this machine has 2"), lease_device(3, tmp_path):
        pass
