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


def test_a_planted_link_is_not_followed(two_gpus, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "locks"
    victim.write_text("kept")
    folder.mkdir(mode=0o700)
    (folder / "GPU-a.lock").symlink_to(victim)
    with pytest.raises(UserError, match="locks of GPUs cannot be kept in"), lease_device(1, folder):
        pass
    assert victim.read_text() == "kept"
    (folder / "GPU-a.lock").unlink()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="locks of GPUs cannot be kept in"), lease_device(1, tmp_path / "link"):
        pass
    assert not list(folder.iterdir())


def test_what_a_lock_holds_is_kept_and_its_folder_is_private(two_gpus, tmp_path):
    with lease_device(1, tmp_path / "locks"):
        pass
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700
    lock = tmp_path / "locks" / "GPU-a.lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    lock.write_text("kept")
    with lease_device(1, tmp_path / "locks"):
        assert lock.read_text() == "kept"


def test_a_folder_of_locks_that_others_write_is_refused(two_gpus, tmp_path, monkeypatch):
    folder = tmp_path / "locks"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UserError, match="is open to others"), lease_device(1, folder):
        pass
    folder.chmod(0o700)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(UserError, match="is open to others.*TMPDIR"), lease_device(1, folder):
        pass


def test_jobs_of_slurm_may_both_be_given_what_they_call_gpu_0(tmp_path, monkeypatch):
    """Where Slurm confines jobs to their GPUs, each counts its own from 0; within a job the lease holds."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with lease_device(1, tmp_path / "locks"):
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        with lease_device(1, tmp_path / "locks") as other:
            assert other == "cuda:0"
            with pytest.raises(UserError, match="all 1 GPUs"), lease_device(1, tmp_path / "locks"):
                pass
