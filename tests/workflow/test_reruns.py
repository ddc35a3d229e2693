"""This key, module or clip changed -> exactly these rules run again. The table is the promise of config/README.md."""

import os
import shutil

import pytest
import yaml

from selfieavatar.settings.assets import ASSETS, GIVEN
from selfieavatar.settings.config import variant_names
from tests.workflow.conftest import VARIANT, Project

pytestmark = pytest.mark.slow

COMPARE = {"compare": 1}
MEASURE = {"evaluate": 1, "figures": 1, **COMPARE}
LEARN = {"train": 1, **MEASURE}
SAMPLE = {"samples": 1, "test_samples": 1, **LEARN}
OVERLAY = {"overlay": 3, "tracking": 2}
RENDER = {"render": 3, **OVERLAY, **SAMPLE}
FIT = {"identity": 2, "fit": 3, "capture": 1, **RENDER}
TRACK = {"landmarks": 3, "matting": 3, **FIT}
ALL = {"decode": 3, **TRACK}

KEYS = [
    ("evaluate", {"batch_size": 3}, MEASURE),
    ("train", {"seed": 12345}, LEARN),
    ("capture", {"minutes": [2, 1]}, {"capture": 1}),
    ("samples", {"holdout": 0.31}, SAMPLE),
    ("overlay", {"sheet_frames": 5}, OVERLAY),
    ("render", {"supersample": 3}, RENDER),
    ("fit", {"components": 7}, FIT),
    ("matting", {"size_px": 320}, {"matting": 3, **FIT}),
    ("landmarks", {"size_px": 320}, {"landmarks": 3, **FIT}),
    ("decode", {"crop_scale": 2.05}, ALL),
    ("demo", {"fps": 24}, {"demo": 1}),
]

MODULES = [
    ("stages/evaluate.py", MEASURE),
    ("selfieavatar/training/loop.py", LEARN),
    ("stages/samples.py", SAMPLE),
    ("stages/overlay.py", OVERLAY),
    ("stages/tracking.py", {"tracking": 2}),
    ("stages/compare.py", COMPARE),
    ("selfieavatar/reporting/paper_table.py", COMPARE),
    ("stages/external.py", {}),
    ("stages/paper.py", {}),
    ("selfieavatar/workflow/comparison_wiring.py", {}),
    ("selfieavatar/footage/checks.py", {"capture": 1}),
    ("stages/figures.py", {"figures": 1}),
    ("selfieavatar/reporting/plots.py", {"tracking": 2, "capture": 1, "figures": 1}),
    ("selfieavatar/matting/refine.py", {"matting": 3, **FIT}),
    ("stages/landmarks.py", {"landmarks": 3, **FIT}),
    ("stages/decode.py", ALL),
    ("selfieavatar/settings/cli.py", {}),
    ("selfieavatar/io/paths.py", {}),
    ("selfieavatar/workflow/wiring.py", {}),
    ("selfieavatar/settings/sections.py", {}),
]


def only(expected, pending):
    """What depends on a guest's demo video is left aside where the video itself is remade."""
    return {rule: count for rule, count in pending.items() if rule in expected} if "demo" in expected else pending


def test_a_second_run_does_nothing(made_project):
    assert made_project.pending() == {}


@pytest.mark.parametrize(("stage", "change", "expected"), KEYS, ids=[stage for stage, _, _ in KEYS])
def test_a_key(made_project, tmp_path, stage, change, expected):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({stage: change}))
    assert only(expected, made_project.pending("--configfile", str(overlay))) == expected


def test_a_template(made_project):
    path = made_project.code / "selfieavatar/reporting/templates/tracking.html.j2"
    text = path.read_text()
    try:
        path.write_text(f"{text}<p>More.</p>")
        assert made_project.pending() == {"tracking": 2}
    finally:
        path.write_text(text)


def test_a_comment_or_a_docstring_runs_nothing(made_project):
    texts = {made_project.code / module: (made_project.code / module).read_text() for module, _ in MODULES}
    try:
        for path, text in texts.items():
            path.write_text("# a comment\n" + text.replace('"""', '"""Another word. ', 1))
        assert made_project.pending() == {}
    finally:
        for path, text in texts.items():
            path.write_text(text)


@pytest.mark.parametrize(("module", "expected"), MODULES, ids=[module for module, _ in MODULES])
def test_a_module(made_project, module, expected):
    path = made_project.code / module
    text = path.read_text()
    try:
        path.write_text(text + "\nCHANGED = True\n")
        assert made_project.pending() == expected
    finally:
        path.write_text(text)


OVERLAYS = [
    ("config/variants/own.yaml", "images: 8", "images: 12", LEARN),
    ("config/variants/own.yaml", "network_metrics: false", "baselines: false", MEASURE),
    ("config/variants/own.yaml", "train:", "# a comment\ntrain:", {}),
    ("config/variants/no_mrf.yaml", "weight_mrf: 0", "weight_mrf: 0.1", {}),
    ("config/presets/smoke.yaml", "ema_images: 60", "ema_images: 61", LEARN),
    ("config/presets/smoke.yaml", "images: 120", "images: 121", {}),
]


@pytest.mark.parametrize(("file", "old", "new", "expected"), OVERLAYS)
def test_a_variant(varied_project, file, old, new, expected):
    """Its own overlay, and what it shares, run it again; what it overrides, or another's overlay, does not."""
    path = varied_project.code / file
    text = path.read_text()
    assert old in text and varied_project.pending() == {}
    alone = {rule: count for rule, count in expected.items() if rule != "compare"}
    try:
        path.write_text(text.replace(old, new))
        assert varied_project.pending(VARIANT) == alone
        if "variants" in file:
            table = {rule: count for rule, count in expected.items() if rule != "figures"}
            assert varied_project.pending() == table, "what lies there is in the table"
            own = ("results/smoke/avatar.pt", "results/smoke/metrics.json")
            assert varied_project.pending(*own) == {}, "the avatar itself does not depend on variants"
    finally:
        path.write_text(text)


def test_a_variant_that_is_asked_for_is_in_the_table(made_project):
    pending = made_project.pending("variants", "results/table.md")
    count = len(variant_names())
    assert pending == {"train": count, "evaluate": count, "figures": count, **COMPARE}


def test_a_method_of_others(varied_project, tmp_path):
    """Its images are measured once, and again when one of them changes or is added; nothing else runs for them."""
    truth = varied_project.work / "results/smoke/clips/other/frames"
    folder = varied_project.work / "results/smoke/external/peer"
    folder.mkdir(parents=True)
    try:
        for path in truth.glob("*.png"):
            shutil.copy(path, folder)
        assert varied_project.pending() == {"external": 1, **COMPARE}
        varied_project.snakemake()
        assert varied_project.pending() == {}
        assert "| smoke | peer (external) | 30 | **100.00**" in (varied_project.work / "results/table.md").read_text()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
            (tmp_path / ASSETS["inception_fid"].file).touch()
            assert varied_project.pending() == {"external": 1, **MEASURE}, "the variant wants no figures of networks"
        shutil.copy(folder / "000001.png", folder / "000000.png")
        assert varied_project.pending() == {"external": 1, **COMPARE}
        (folder / "000001.png").unlink()
        said = varied_project.snakemake(check=False)
        assert said.returncode and "lacks 1 of 30 images, first that of frame 1" in said.stdout + said.stderr
        (folder / "notes.txt").touch()
        said = varied_project.snakemake(check=False)
        assert said.returncode and "notes.txt is no image named by its frame" in said.stdout + said.stderr
        assert varied_project.pending("results/smoke/metrics.json") == {}, "nobody else is held up"
    finally:
        shutil.rmtree(folder.parent)


def test_a_test_clip(made_project):
    """Another video for the test clip: its own stages and the measuring run again, never the training."""
    video = made_project.work / "other.mp4"
    kept = video.with_suffix(".kept")
    shutil.copy2(video, kept)
    try:
        video.write_bytes(video.read_bytes() + b"\0" * 8)
        rules = ("decode", "landmarks", "matting", "fit", "render", "overlay", "tracking", "capture", "test_samples")
        assert made_project.pending() == dict.fromkeys(rules, 1) | MEASURE
    finally:
        kept.replace(video)


def test_reenactment(made_project, tmp_path):
    """Made on request only; its settings and its modules run it again, and nothing else."""
    target = ("results/smoke/reenact/guest--talk.mp4",)
    made_project.snakemake(*target)
    assert made_project.pending(*target) == {}
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"reenact": {"pose": "absolute"}}))
    assert made_project.pending(*target, "--configfile", str(overlay)) == {"reenact": 1}
    path = made_project.code / "selfieavatar/retargeting/retarget.py"
    text = path.read_text()
    try:
        path.write_text(text + "\nCHANGED = True\n")
        assert made_project.pending(*target) == {"reenact": 1}
    finally:
        path.write_text(text)


def test_an_export_is_made_on_request_only(made_project):
    assert made_project.pending() == {}
    assert made_project.pending("results/smoke/avatar.onnx") == {"export": 1}


def test_published_weights_are_downloaded_first(made_project, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"train": {"backbone_weights": "imagenet"}}))
    assert made_project.pending("--configfile", str(overlay)) == {"asset": 2, **LEARN}


def test_weights_to_measure_with_that_have_come(made_project, tmp_path, monkeypatch):
    """They measure again, once; where there are none, or where nobody wants them, nothing runs, and none is fetched."""
    project = Project(*(shutil.copytree(made, tmp_path / made.name) for made in (made_project.code, made_project.work)))
    assets, overlay, target = tmp_path / "assets", tmp_path / "overlay.yaml", "results/smoke/metrics.json"
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(assets))
    assets.mkdir()
    assert project.pending() == {}
    (assets / ASSETS["vgg19_imagenet"].file).touch()
    assert project.pending() == {}, "these are not measured with"
    for place in (assets / ASSETS["alexnet_imagenet"].file, assets / GIVEN["resnet50_vggface2"][0]):
        place.touch()
        assert project.pending() == MEASURE
        os.utime(place, (1, 1))  # copied with its old date
        assert project.pending() == MEASURE
        project.snakemake(target)
        assert project.pending(target) == {}
    overlay.write_text(yaml.safe_dump({"evaluate": {"network_metrics": False}}))
    project.snakemake(target, "--configfile", str(overlay))
    (assets / ASSETS["inception_fid"].file).touch()
    assert project.pending(target, "--configfile", str(overlay)) == {}
    assert project.pending(target) == {"evaluate": 1}


def test_another_subject(made_project):
    """A new subject runs its own jobs only."""
    sheet = made_project.work / "sheet.tsv"
    text = sheet.read_text()
    try:
        sheet.write_text(text + "guest2\ttalk\tdrive\ttalk.mp4\t0\t20\tdemo\tsynthetic\tsmoke\n")
        own = dict.fromkeys(("decode", "landmarks", "matting", "identity", "fit", "render", "overlay", "tracking"), 1)
        assert made_project.pending() == own, "a driver is not in the table"
        sheet.write_text(text + "guest2\ttalk\ttrain\ttalk.mp4\t0\t70\tdemo\tsynthetic\tsmoke\n")
        assert made_project.pending() == own | {"capture": 1, "samples": 1, **LEARN}
    finally:
        sheet.write_text(text)
