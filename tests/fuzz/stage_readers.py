"""Run stages on damaged results of the stages before, as of a folder that somebody else has sent, or a bad disk."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.fuzz import stage_specimens as made
from tests.fuzz.pages import check_page
from tests.fuzz.readers import JSON, TABLE, ZIP, Reader
from tests.fuzz.specimens import damage_avatar


def run(place: Path, stage: str, words: dict[str, Any], **settings: Any) -> None:
    """Run a stage, as `selfieavatar.settings.cli.main` does; words: options, of which Paths lie in `place`."""
    from selfieavatar.settings.config import stage_settings

    os.environ["XDG_CONFIG_HOME"] = str(place / ".config")
    os.environ["SELFIEAVATAR_ASSETS"] = str(place / ".assets")  # no published weights
    command = import_module(f"stages.{stage}")
    line = []
    for name, value in words.items():
        values = value if isinstance(value, list) else [value]
        line += [f"--{name}", *(str(place / one) if isinstance(one, Path) else str(one) for one in values)]
    args = command.build_parser().parse_args([*line, "--threads", "1"])
    args.settings = stage_settings(args.section, settings)
    command.run(args)


def of_clip(*kinds: str) -> dict[str, Path]:
    """Name manifests of a clip, and its folders of images, by the options that take them."""
    return {kind: Path(kind if kind in ("frames", "alpha") else f"{kind}.parquet") for kind in kinds}


IDENTITY, AVATAR = {"identity": Path("identity.npz")}, {"avatar": Path("avatar.pt")}


def run_tracking(path: Path) -> None:
    words = {"subject": "<script>alert(1)</script>", "clips": "talk", "sheet": Path("contact.png")}
    run(path, "tracking", words | IDENTITY | of_clip("decode", "landmarks", "fit") | {"out": Path("tracking.html")})
    check_page(path / "tracking.html")


def run_capture(path: Path) -> None:
    words = {"subject": "<script>alert(1)</script>", "clips": "talk", "roles": "train"} | IDENTITY
    words |= of_clip("decode", "landmarks", "matting", "fit", "frames", "alpha")
    run(path, "capture", words | {"out": Path("capture.html"), "out-json": Path("capture.json")})
    check_page(path / "capture.html")


def run_fit(path: Path) -> None:
    words = IDENTITY | of_clip("landmarks", "decode", "frames", "alpha") | {"out": Path("fit.parquet")}
    run(path, "fit", words)


def run_render(path: Path) -> None:
    out = {"out-render": Path("render"), "out-uv": Path("uv"), "manifest": Path("render.parquet")}
    run(path, "render", IDENTITY | of_clip("fit") | out, backend="cpu")


def run_overlay(path: Path) -> None:
    words = IDENTITY | of_clip("decode", "landmarks", "matting", "fit", "render", "frames", "alpha")
    words |= {"render-pictures": Path("render"), "uv-pictures": Path("uv")}
    out = {"out-video": Path("overlay.mp4"), "out-sheet": Path("contact.png")}
    run(path, "overlay", words | out, size_px=256, sheet_frames=3, cell_px=64)


def run_figures(path: Path) -> None:
    words = {"metrics": Path("metrics.json"), "frames-table": Path("self.parquet"), "pictures": Path("self")}
    words |= {"video": Path("self.mp4"), "clips-dir": Path("clips"), "out": Path("figures.html")}
    run(path, "figures", AVATAR | words)
    check_page(path / "figures.html")


def run_compare(path: Path) -> None:
    run(path, "compare", {"results": Path("results"), "subjects": Path("sheet.tsv")})
    check_page(path / "results/table.md")


def run_paper(path: Path) -> None:
    words = {"folder": Path(), "variants": "no_detail", "methods": "peer", "drivers": "other--talk"}
    run(path, "paper", words | {"driver-frames": Path("frames"), "out": Path("paper.html")}, frames=2)
    check_page(path / "paper.html")


def run_evaluate(path: Path) -> None:
    words = {"samples": Path("samples.parquet"), "clips-dir": Path("clips"), "out": Path("metrics.json")}
    out = {"frames-table": Path("self.parquet"), "video": Path("self.mp4"), "out-pictures": Path("self")}
    settings = {"speed_frames": 1, "batch_size": 4, "retrack_px": 0, "network_metrics": False}
    run(path, "evaluate", AVATAR | words | out, **settings)


def run_external(path: Path) -> None:
    words = {"method": "peer", "pictures": Path("external/peer"), "samples": Path("samples.parquet")} | IDENTITY
    out = {"clips-dir": Path("clips"), "out": Path("metrics.json"), "frames-table": Path("frames.parquet")}
    run(path, "external", words | out, batch_size=4, retrack_px=0, network_metrics=False)


def run_reenact_clip(path: Path) -> None:
    words = AVATAR | IDENTITY | of_clip("decode", "fit", "frames") | {"driver": "bert--talk"}
    out = {"out-video": Path("x.mp4"), "manifest": Path("x.parquet")}
    run(path, "reenact_clip", words | out, retrack_px=0, batch_size=4, video_tile_px=64)


def run_reenact(path: Path) -> None:
    """Reenact a video whose face is made up: a detector that sees nothing would be refused before the avatar paints."""
    from selfieavatar.detection import landmarks
    from tests.stages.test_reenact import Sees

    landmarks.MediaPipeDetector = Sees  # type: ignore[assignment,misc]  # this process is the reader's own
    run(path, "reenact", AVATAR | {"driver": Path("driver.mp4"), "out": Path("out.mp4")}, batch_size=16)


def read_motions(path: Path) -> None:
    """Read what an export compares on; torch takes too long to write a graph."""
    from selfieavatar.avatar import Avatar
    from stages.export import motions_of

    motions_of(Avatar.load(path / "avatar.pt"), [path / "fit.parquet"])


def run_verify(path: Path) -> None:
    from stages import verify

    verify.run(verify.build_parser().parse_args([str(path), "--json"]))


def run_live(path: Path) -> None:
    """What a live page does of an avatar, without its server."""
    import numpy as np

    from selfieavatar.avatar import Avatar
    from selfieavatar.live.live_driver import LiveDriver
    from tests.fitting import makers
    from tests.live.test_live_driver import CALIBRATION, Sees

    count = CALIBRATION + 5
    seen = makers.landmarks(makers.model(), *makers.movement(count))
    driver = LiveDriver(Avatar.load(path), detector=Sees(*seen), smooth=False)
    for number in range(count):
        driver(np.zeros((480, 640, 3), np.uint8), number / 30)


SUBJECT = {".parquet": TABLE, ".json": JSON, ".pt": damage_avatar, ".npz": ZIP}

TABLES = "**/*.[pj][!t]*"  # Parquet, PNG and JSON: identity.npz and avatar.pt have readers of their own

STAGE_READERS = {
    "results, stage tracking": Reader(made.make_tracking, run_tracking, ".", TABLES, inner=SUBJECT),
    "results, stage capture": Reader(made.make_capture, run_capture, ".", TABLES, inner=SUBJECT),
    "results, stage fit": Reader(made.make_fit, run_fit, ".", TABLES, inner=SUBJECT),
    "results, stage render": Reader(made.make_render, run_render, ".", TABLES, inner=SUBJECT),
    "results, stage overlay": Reader(made.make_overlay, run_overlay, ".", TABLES, inner=SUBJECT),
    "results, stage figures": Reader(made.make_figures, run_figures, ".", inner=SUBJECT),
    "results, stage compare": Reader(made.make_compare, run_compare, ".", inner=SUBJECT),
    "results, stage paper": Reader(made.make_paper, run_paper, ".", TABLES, inner=SUBJECT),
    "results, stage evaluate": Reader(made.make_measured, run_evaluate, ".", TABLES, inner=SUBJECT),
    "images, stage external": Reader(made.make_measured, run_external, ".", TABLES, inner=SUBJECT),
    "results, stage reenact_clip": Reader(made.make_driven, run_reenact_clip, ".", TABLES, inner=SUBJECT),
    "avatar.pt, stage reenact": Reader(made.make_video_driver, run_reenact, ".", "*.pt", inner=SUBJECT),
    "motions, stage export": Reader(made.make_driven, read_motions, ".", "*.p*", inner=SUBJECT),
    "avatar.pt, live": Reader(made.make_video_driver, run_live, "avatar.pt", "*.pt", inner=SUBJECT),
    "marks, stage verify": Reader(made.make_marked_media, run_verify, "."),
}
