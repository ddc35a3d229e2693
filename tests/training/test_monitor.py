"""Figures of the monitor against scikit-image, the files it writes, and the collapse watch."""

import json
import socket

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio

from selfieavatar.io.images import read_image
from selfieavatar.training.monitor import COLLAPSE_LOOKS, CollapseWatch, Monitor, psnr_db, sharpness_share


def test_psnr_is_that_of_scikit_image():
    truth = torch.rand(2, 3, 16, 16)
    image = (truth + 0.1 * torch.randn_like(truth)).clamp(0, 1)
    for k, value in enumerate(psnr_db(image, truth)):
        expected = peak_signal_noise_ratio(truth[k].numpy(), image[k].numpy(), data_range=1)
        assert value.item() == pytest.approx(expected, abs=1e-3)


def test_psnr_looks_at_the_region_only():
    truth, region = torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    region[..., :4] = 1
    image = truth.clone()
    image[..., :4], image[..., 4:] = 0.1, 0.9
    assert psnr_db(image, truth, region).item() == pytest.approx(20, abs=1e-3)


def test_sharpness_is_one_for_the_truth_and_less_for_a_blur():
    truth, everywhere = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    assert sharpness_share(truth, truth, everywhere).item() == pytest.approx(1, abs=1e-5)
    assert sharpness_share(F.avg_pool2d(truth, 3, 1, 1), truth, everywhere).item() < 0.6


def test_the_machine_is_not_named(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "annas-laptop")
    monitor = Monitor(tmp_path / "train")
    monitor.report(80, 1.0)
    monitor.close()
    [events] = (tmp_path / "train").glob("events.out.tfevents.*")
    assert "annas-laptop" not in events.name and b"annas-laptop" not in events.read_bytes()
    assert (tmp_path / "train").stat().st_mode & 0o777 == 0o700


def test_report_writes_means_and_forgets_them(tmp_path):
    monitor = Monitor(tmp_path)
    monitor.add(l1=0.2)
    monitor.add(l1=0.4)
    assert monitor.report(8, 0.5, val_face_db=30.0)["l1"] == pytest.approx(0.3)
    monitor.add(l1=0.1)
    monitor.report(16, 1.0)
    monitor.close()
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [8, 16]
    assert rows[0]["l1"] == pytest.approx(0.3) and rows[0]["val_face_db"] == 30 and rows[1]["l1"] == pytest.approx(0.1)
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_a_return_is_forgotten_by_both_records(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monitor = Monitor(tmp_path)
    for images in (8, 16, 24):
        monitor.report(images, 1.0, l1=float(images))
    monitor.forget_after(8)
    monitor.report(20, 1.0, l1=0.5)
    monitor.close()
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    curve = EventAccumulator(str(tmp_path)).Reload().Scalars("l1")
    assert [row["images"] for row in rows] == [event.step for event in curve] == [8, 20]


def test_going_on_drops_later_rows_and_a_half_written_one(tmp_path):
    monitor = Monitor(tmp_path)
    for images in (8, 16, 24):
        monitor.add(l1=torch.tensor(0.5), disc=float("nan"))
        monitor.report(images, 1.0)
    monitor.close()
    with (tmp_path / "stats.jsonl").open("a") as file:
        file.write('{"images": 32, "min')
    Monitor(tmp_path, 16).close()
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [8, 16]
    assert rows[0]["l1"] == 0.5 and rows[0]["disc"] is None, "what is not finite is null in JSON"


def test_grid_lays_rows_under_each_other(tmp_path):
    monitor = Monitor(tmp_path)
    path = monitor.grid(4, [torch.zeros(2, 3, 8, 8), torch.ones(2, 1, 8, 8)])
    monitor.close()
    image = read_image(path)
    assert path.name == "grid_0000004.png" and image.shape == (16, 16, 3)
    assert np.unique(image[:8]) == [0] and np.unique(image[8:]) == [255]


def test_collapse_is_told_once_per_window():
    watch = CollapseWatch(0.05)
    assert not any(watch.collapsed(1.0) for _ in range(2 * COLLAPSE_LOOKS))
    told = [watch.collapsed(0.001) for _ in range(COLLAPSE_LOOKS * 2)]
    assert 1 <= sum(told) <= 2
