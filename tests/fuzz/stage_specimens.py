"""Write small results for the stages: what the stages before have written, with text that is markup where it may be."""

import shutil
from pathlib import Path

import numpy as np

from tests.fuzz.mutations import MARKUP

FRAMES = 6


def anew(path: Path, kind: str, **facts: object) -> None:
    """Write a manifest again with other facts."""
    from selfieavatar.io.manifest import read_manifest, write_manifest

    table = read_manifest(path, kind)
    columns = {name: table[name] for name in table.table.column_names}
    write_manifest(path, kind, columns, {**table.metadata, **facts})


def make_tracking(folder: Path) -> None:
    from selfieavatar.io.images import write_image
    from tests.fitting import makers
    from tests.stages import test_tracking

    place = folder / "whole"
    test_tracking.write_clip(place, 12)
    makers.identity(makers.model(2)).save(place / "identity.npz")
    write_image(place / "contact.png", np.full((20, 64, 3), 99, np.uint8))


def make_capture(folder: Path) -> None:
    from tests.fitting import makers
    from tests.stages import test_capture

    test_capture.write_clip(folder / "whole", count=2 * FRAMES)
    makers.identity().save(folder / "whole/identity.npz")


def make_fit(folder: Path) -> None:
    from tests.stages import test_fit

    folder = folder / "whole"
    folder.mkdir()
    clip = test_fit.write_clip(folder / "clip", 0, 2 * FRAMES)
    test_fit.learn(folder, [clip], texture_px=32, components=2, torso=False)
    shutil.copytree(clip, folder, dirs_exist_ok=True)
    shutil.rmtree(clip)


def make_render(folder: Path) -> None:
    from tests.stages import test_render

    place = folder / "whole"
    place.mkdir()
    np.savez(place / "identity.npz", **test_render._identity())
    test_render._write_fit(place / "fit.parquet", ["ok", "lost", "bridged", "ok"])


def make_overlay(folder: Path) -> None:
    from tests.stages import test_overlay

    (folder / "whole").mkdir()
    test_overlay.clip.__wrapped__(folder / "whole")


def make_figures(folder: Path) -> None:
    from tests.stages import test_figures

    whole = test_figures.write_subject(folder / "whole", ("one", "two"), 8, {"one": {"emotion": "happy"}})
    marked = shutil.copytree(whole, folder / "markup")
    clips, frames = ["one"] * 4 + ["two"] * 4, np.tile(np.arange(0, 8, 2), 2)
    test_figures.write_scores(marked / "self.parquet", clips, frames, subject=MARKUP[0], variant=MARKUP[1])
    changes = {"subject": MARKUP[0], "variant": MARKUP[1], "notes": list(MARKUP), "versions": {MARKUP[0]: MARKUP[3]},
               "speed": {"fps": 1.0, "device": MARKUP[4]}, "weights": {MARKUP[2]: MARKUP[5]},
               "interleaved": [MARKUP[6]], "definitions": {"ssim": MARKUP[1]}}  # fmt: skip
    test_figures.write_json(marked, test_figures.metrics_of(8, **changes))
    for clip in ("one", "two"):
        anew(marked / f"clips/{clip}/decode.parquet", "decode", labels={"emotion": MARKUP[0] + clip, "level": clip})


def make_compare(folder: Path) -> None:
    from tests.stages import test_compare, test_figures

    for name, labels in (("whole", {"emotion": "happy", "level": "1"}), ("markup", {"emotion": MARKUP[0]})):
        (folder / name).mkdir()
        results = test_compare.results.__wrapped__(folder / name)
        test_figures.write_scores(results / "anna/self.parquet", ["talk"] * 4, np.arange(4), block={"talk": 25})
        write_decode(results / "anna/clips/talk/decode.parquet", 4, labels=labels)
        write_decode(results / "bert/clips/talk/decode.parquet", 4, labels=labels)
    from selfieavatar.io.files import write_json
    from tests.evaluation.made_up import metrics

    changes = {"notes": [f"lpips: {MARKUP[0]}", *MARKUP], "interleaved": [MARKUP[0]], "training": {"images": 1}}
    write_json(folder / "markup/results/anna/metrics.json", metrics("anna", 28.0) | changes)
    (folder / "markup/results/carl/logs/talk.decode.log").write_text(f"error: decode: {' '.join(MARKUP)}")


def write_decode(path: Path, count: int, **facts: object) -> None:
    """Write a decode manifest alone."""
    from selfieavatar.io.manifest import write_manifest

    frame, zero = np.arange(count), np.zeros(count)
    columns = {
        "frame": frame, "time_s": frame / 25, "source_frame": frame, "face": zero == 0,
        "face_box_px": np.zeros((count, 4)), "duplicate": zero > 0, "sharpness": zero, "picture_hash": [""] * count,
    }  # fmt: skip
    write_manifest(path, "decode", columns, {"fps": 25.0, "size_px": 32, **facts})


def make_driven(folder: Path) -> None:
    """Write avatar.pt and what drives it: identity, decode, fit and frames of a clip."""
    from tests.fitting import makers
    from tests.live.avatars import write_avatar
    from tests.stages import test_reenact_clip

    test_reenact_clip.write_driver(folder / "whole", makers.model(), seed=4)
    write_avatar(folder / "whole/avatar.pt")


def make_video_driver(folder: Path) -> None:
    from tests.data.media import numbered, write_video
    from tests.live.avatars import write_avatar

    (folder / "whole").mkdir()
    write_avatar(folder / "whole/avatar.pt")
    write_video(folder / "whole/driver.mp4", numbered(30))


def make_measured(folder: Path) -> None:
    """Write a subject to measure: avatar.pt, samples, identity, the clips' images and manifests, another's images."""
    from selfieavatar.io.images import image_name, read_image, write_image
    from selfieavatar.io.manifest import write_manifest
    from tests.fitting import makers
    from tests.live.avatars import SIZE, write_avatar
    from tests.stages import test_evaluate
    from tests.training.makers import images

    place = folder / "whole"
    clip = place / "clips/talk"
    for number in range(FRAMES):
        for kind, image in images(number).items():
            write_image(clip / kind / image_name(number), image)
    write_decode(clip / "decode.parquet", FRAMES)
    rotation, translation, expression = makers.movement(FRAMES)
    points, depth = makers.landmarks(makers.model(), rotation, translation, expression)
    frame, zero = np.arange(FRAMES), np.zeros(FRAMES)
    write_manifest(clip / "landmarks.parquet", "landmarks", {
        "frame": frame, "found": frame != 2, "points_px": points.reshape(FRAMES, -1) * SIZE / makers.SIZE,
        "depth": depth, "confidence": zero + 1,
    }, {"landmark_set": "mediapipe478", "count": 478, "size_px": SIZE})  # fmt: skip
    write_manifest(clip / "fit.parquet", "fit", {
        "frame": frame, "fitted": zero == 0, "rotation": rotation, "translation": translation,
        "expression": expression, "gaze": np.zeros((FRAMES, 4)), "light": np.zeros((FRAMES, 27)),
        "torso": np.zeros((FRAMES, 2)), "landmark_error": zero, "quality": ["ok"] * FRAMES,
    }, {"size_px": SIZE})  # fmt: skip
    rows = [("talk", number, "train" if number < 3 else "test", True) for number in range(FRAMES)]
    test_evaluate.write_samples(place / "samples.parquet", rows, "anna")
    anew(place / "samples.parquet", "samples", size_px=SIZE)
    write_avatar(place / "avatar.pt")
    makers.identity(view=makers.camera().scaled(SIZE)).save(place / "identity.npz")
    for number in range(3, FRAMES):
        image = read_image(clip / "frames" / image_name(number))
        write_image(place / "external/peer" / image_name(number), image)


def make_paper(folder: Path) -> None:
    """Write a measured subject with a variant, another's method and a driver."""
    from selfieavatar.io.files import write_json
    from selfieavatar.io.images import image_name, write_image
    from tests.evaluation.made_up import metrics
    from tests.stages import test_figures

    make_driven(folder)
    place = folder / "whole"
    clip = place / "clips/talk"
    clip.mkdir(parents=True)
    for kind in ("decode", "fit"):
        shutil.copy(place / f"{kind}.parquet", clip)
    frames = np.arange(len(list((place / "frames").iterdir())))
    shutil.copytree(place / "frames", clip / "frames")
    for name, value in (("", 30), ("variants/no_detail", 40), ("external/peer", 50)):
        (place / name).mkdir(parents=True, exist_ok=True)
        content = metrics("anna", float(value), frames=len(frames)) | {"interleaved": [], "tracked_torso": None}
        write_json(place / name / "metrics.json", content)
        table, images = ("frames.parquet", "talk") if "peer" in name else ("self.parquet", "self/talk")
        test_figures.write_scores(place / name / table, ["talk"] * len(frames), frames, block={"talk": 25})
        for number in frames.tolist():
            write_image(place / name / images / image_name(number), np.full((32, 32, 3), value, np.uint8))
            write_image(clip / "alpha" / image_name(number), np.full((32, 32), 200, np.uint8))
    shutil.copy(place / "avatar.pt", place / "variants/no_detail/avatar.pt")
    write_reenacted(place / "reenact/other--talk.parquet", place / "fit.parquet")


def write_reenacted(path: Path, fit_file: Path) -> None:
    """Write the table of a driver."""
    from selfieavatar.io.manifest import read_manifest, write_manifest

    fit = read_manifest(fit_file, "fit")
    names = ("rotation", "translation", "expression", "gaze")
    columns = {name: fit[name] for name in names} | {"frame": fit["frame"], "driven": fit["fitted"]}
    columns |= dict.fromkeys(("aed", "apd_deg", "identity_similarity"), np.full(len(fit), np.nan))
    write_manifest(path, "reenact", columns, {"subject": "anna", "driver": "other--talk", "size_px": 32})


def make_marked_media(folder: Path) -> None:
    """Write a marked image and a marked video, below one folder each."""
    from selfieavatar.io.images import encode_png
    from selfieavatar.marking.marker import Marker
    from tests.data.media import numbered, write_video
    from tests.marking.makers import ANNA, lively_image

    marker = Marker(ANNA)
    (folder / "png").mkdir()
    (folder / "png/a.png").write_bytes(marker.sealed(encode_png(marker.paint(lively_image()))))
    (folder / "mp4").mkdir()
    marker.seal(write_video(folder / "mp4/a.mp4", numbered(8)))
