"""What the rules ask for is answered from the sheet, the settings and the machine."""

import dataclasses
import json
import os
from collections import Counter
from types import SimpleNamespace

import pytest

from selfieavatar.errors import UserError
from selfieavatar.settings.assets import GIVEN
from selfieavatar.settings.clip_sheet import Sheet
from selfieavatar.settings.config import SECTIONS
from selfieavatar.workflow import given_settings
from selfieavatar.workflow import wiring as wiring_module
from selfieavatar.workflow.comparison_wiring import Comparison
from selfieavatar.workflow.wiring import Wiring

HEADER = "subject\tclip\trole\tsource\tstart_frame\tend_frame\tdataset\tconsent\tpreset\n"
SHEET = HEADER + (
    "anna\tM003-front-angry-level_3-001\ttrain\ta.mp4\t5\t90\tmead\twritten\tsmoke\n"
    "anna\tread\ttest\ta.mp4\t90\t\tmead\twritten\tsmoke\n"
    "bert\ttalk\ttrain\tb.mp4\t\t\tselfie\tself\tsmoke\n"
    "carl\ttalk\tdrive\tdemo:3\t\t\tdemo\tsynthetic\t\n"
)
TALK = "M003-front-angry-level_3-001"


class Wildcards(SimpleNamespace):
    """As Snakemake's."""

    def get(self, name, default):
        return getattr(self, name, default)

    def keys(self):
        return vars(self)


def of(subject, **others):
    return Wildcards(subject=subject, **others)


@pytest.fixture
def wiring(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sheet.tsv").write_text(SHEET)

    def make(overlay=None, main=True, config=None, targets=(), **machine):
        modifier = SimpleNamespace(is_main_snakefile=lambda: main, modify_rulename=lambda name: f"x_{name}")
        modifier.skip_configfile, modifier.parent_modifier = True, SimpleNamespace(globals={"config": config})
        workflow = SimpleNamespace(
            config_settings=SimpleNamespace(overwrite_config=overlay or {}), modifier=modifier,
            dag_settings=SimpleNamespace(targets=targets), **machine,
        )  # fmt: skip
        vars(workflow).setdefault("is_main_process", False)
        return Wiring(workflow, config or {"subjects": "sheet.tsv"} | (overlay or {}))

    return make


def test_trainings_start_from_the_avatar_that_is_named(wiring, tmp_path):
    wf = wiring({"train": {"start_from": "results/anna/avatar.pt"}})
    assert wf.start_from(of("bert")) == "<results>/anna/avatar.pt"  # which is made first
    absolute = wiring({"train": {"start_from": str(tmp_path / "results/../results/anna/avatar.pt")}})
    assert absolute.start_from(of("bert")) == "<results>/anna/avatar.pt"
    assert wf.start_from(of("anna")) == [] and wiring().start_from(of("bert")) == []
    assert wf.start_from(of("bert", variant="/variants/l1_only")) == []
    wf = wiring({"train": {"start_from": "other.pt"}})
    with pytest.raises(UserError, match=r"train.start_from .*/other.pt does not exist"):
        wf.start_from(of("bert"))
    (tmp_path / "other.pt").touch()
    assert wf.start_from(of("bert")) == "other.pt"


def test_starts_in_a_circle_are_named(wiring, monkeypatch):
    wf = wiring()
    starts = {"anna": "bert", "bert": "anna"}
    monkeypatch.setattr(wf, "_start_of", lambda subject: wf.results / starts[subject] / "avatar.pt")
    with pytest.raises(UserError, match="in a circle: anna from bert from anna"):
        wf.start_from(of("anna"))


def test_clips(wiring):
    wf = wiring()
    assert wf.clips("frames", "measured")(of("anna")) == [
        f"<results>/anna/clips/{name}/frames" for name in (TALK, "read")
    ]
    assert wf.names("measured")(of("anna")) == f"{TALK} read" and wf.roles("measured")(of("anna")) == "train test"
    assert wf.names("shown")(of("anna")) == "read" and wf.names("shown")(of("bert")) == "talk"
    assert wf.names("train")(of("anna")) == TALK and wf.names("test")(of("bert")) == ""
    assert wf.names("identity")(of("carl")) == wf.names("all")(of("carl")) == "talk"
    with pytest.raises(UserError, match="'carl' has no clip of role 'train'"):
        wf.names("measured")(of("carl"))


def test_what_is_held_out(wiring, tmp_path):
    wf = wiring()
    assert wf.held_out(of("anna")) == "" and wf.held_out(of("bert")).startswith("--holdout 0.")
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    assert wf.held_out_of(of("anna")) == [] and wf.held_out_of(of("bert")) == ["b.mp4"]
    assert json.loads(wf.train_clips(of("bert"), ["b.mp4"])) == [["b.mp4", None, None]]
    assert json.loads(wf.trained_ranges(of("anna")))["read"] == [[5, 90]]
    assert wf.role_of_samples(of("anna")) == "train" and wf.role_of_samples(of("bert")) == "holdout"
    assert wf.measured_samples(of("anna")) == "<subject>/test_samples.parquet" and wf.measured_samples(of("bert")) == []


def test_the_only_clip_to_train_on_is_told(wiring):
    wf = wiring()
    asked = [wf.only_trained(of(subject, clip=clip)) for subject, clip in (("anna", TALK), ("anna", "read"))]
    assert asked == ["--only", ""] and wf.only_trained(of("carl", clip="talk")) == ""
    wf.sheet.clips.append(dataclasses.replace(wf.sheet.clip("anna", TALK), clip="more"))
    wf.sheet = Sheet(wf.sheet.clips)
    assert wf.only_trained(of("anna", clip=TALK)) == wf.only_trained(of("anna", clip="more")) == ""


def test_faces_are_compared_with_the_person_as_long_as_images_stay(wiring, tmp_path, monkeypatch):
    monkeypatch.setenv("SELFIEAVATAR_ASSETS", str(tmp_path))
    removed = wiring({"storage": {"keep_pictures": False}})
    assert wiring().for_identity("frames") == "frames" and removed.for_identity("frames") == []
    (tmp_path / GIVEN["resnet50_vggface2"][0]).touch()
    assert removed.for_identity("frames") == "frames", "somebody brought this network"


def test_a_source(wiring, tmp_path):
    wf = wiring()
    assert wf.source(of("carl", clip="talk")) == "<results>/carl/source/demo-3.mp4"
    with pytest.raises(UserError, match="'b.mp4' of subject 'bert', clip 'talk' .* nor do 1 more: a.mp4"):
        wf.source(of("bert", clip="talk"))
    (tmp_path / "a.mp4").touch()
    clip = of("anna", clip=TALK)
    assert wf.source(clip) == "a.mp4" and wf.frame_range(clip) == "--start 5 --end 90"
    assert wf.frame_range(of("anna", clip="read")) == "--start 90" and wf.crop_ranges(clip) == "[[5,90]]"
    assert wf.driver("{clip}/fit.parquet")(Wildcards(driver="bert--talk")) == "<results>/bert/clips/talk/fit.parquet"


def test_the_layers_of_settings(wiring):
    """config.yaml < preset < command line < variant; the smoke preset and the variant set these keys."""

    def images(wf, **variant):
        return json.loads(wf.settings("train")(of("anna", **variant)))

    preset = images(wiring(config={"subjects": "sheet.tsv", "train": {"images": 7, "seed": 8}}))
    assert preset["images"] != 7 and preset["seed"] == 8
    wf = wiring({"train": {"images": 7, "weight_mrf": 3}})
    assert images(wf)["images"] == 7 and images(wf)["weight_mrf"] == 3
    assert images(wf, variant="/variants/no_mrf")["weight_mrf"] == 0


def test_a_cluster(wiring):
    """Whose nodes are not known yet; the machine at hand is asked in test_machine.py."""
    wf = wiring(local_exec=False)
    assert wf.training_threads(None) == 8 and wf.gpu(None) == 1


def test_targets(wiring, tmp_path):
    wf = wiring(targets=["results/anna/variants/unet/avatar.pt"])
    assert [path for path in wf.all_targets() if "carl" in path] == ["<results>/carl/tracking.html"]
    assert "<results>/bert/metrics.json" in wf.all_targets() and wf.all_targets()[-1] == "<results>/table.md"
    comparison = Comparison(wf)
    assert comparison.table_variants("anna") == ["unet"] and comparison.table_variants("bert") == []
    os.makedirs(tmp_path / "results/bert/external/peer")
    assert "<results>/bert/external/peer/metrics.json" in comparison.table_metrics(None)


def test_what_the_paper_of_a_subject_shows(wiring, tmp_path):
    os.makedirs(tmp_path / "results/bert/external/peer")
    for name in "ab":
        (tmp_path / f"{name}.mp4").touch()
    comparison = Comparison(wiring({"paper": {"variants": ["unet"], "drivers": 3}}))
    assert comparison.variants(of("bert")) == ["unet", "unet_same_images"]
    assert comparison.avatars("metrics.json")(of("bert")) == [
        f"<results>/bert/{folder}metrics.json" for folder in ("", "variants/unet/", "variants/unet_same_images/")
    ]
    assert comparison.external("metrics.json")(of("bert")) == ["<results>/bert/external/peer/metrics.json"]
    # One clip of each of the others, then a second of each; clips to drive and to test before those to train on. The
    # demo's actors drive nobody else.
    assert comparison.drivers(of("bert")) == ["anna--read", f"anna--{TALK}"]
    assert comparison.driver_frames(of("bert"))[1] == f"<results>/anna/clips/{TALK}/frames"
    assert comparison.drivers(of("anna")) == ["bert--talk"]
    same = of("bert", variant="/variants/unet_same_images")
    assert comparison.counted(same) == "<results>/bert/avatar.pt" and comparison.budget(same) == "images"
    assert comparison.counted(of("bert", variant="/variants/unet")) == comparison.counted(of("bert")) == []


def test_a_budget_in_images_is_repeated_in_minutes(wiring):
    settings = {"train": {"images": 9, "minutes": 0}, "paper": {"variants": ["unet"]}}
    comparison, variant = Comparison(wiring(settings)), of("bert", variant="/variants/unet_same_minutes")
    assert comparison.variants(of("bert")) == ["unet", "unet_same_minutes"]
    assert comparison.counted(variant) == "<results>/bert/avatar.pt" and comparison.budget(variant) == "minutes"
    settings["paper"]["both_budgets"] = False
    assert Comparison(wiring(settings)).variants(of("bert")) == ["unet"]


def test_a_variant_that_changes_nothing_is_not_trained(wiring):
    comparison = Comparison(wiring({"train": {"weight_cos": 0}, "paper": {"variants": ["no_cos", "unet"]}}))
    assert comparison.alike(of("bert")) == ["no_cos="]
    assert comparison.variants(of("bert")) == ["unet", "unet_same_images"]
    comparison = Comparison(wiring({"train": {"weight_cos": 0}, "paper": {"variants": ["no_mrf", "no_detail"]}}))
    assert comparison.alike(of("bert")) == ["no_detail=no_mrf"], "two that are alike are trained once"


def test_who_lacks_footage_drives_nobody(wiring):
    assert Comparison(wiring()).drivers(of("bert")) == []


def test_keys_of_another_workflow_are_passed_over_in_a_module(wiring):
    config = {"subjects": "sheet.tsv", "samples_of_theirs": 1, "train": {"seed": 5}}
    assert json.loads(wiring(main=False, config=config).settings("train")(of("anna")))["seed"] == 5
    with pytest.raises(UserError, match="unknown config key 'samples_of_theirs'"):
        wiring(config=config)


def test_consent_and_marks_become_arguments(wiring, tmp_path):
    assert [wiring().consent(of(name)) for name in ("anna", "bert", "carl")] == ["written", "self", ""]
    assert wiring().marking == ""
    key = tmp_path / "my key.pem"
    assert wiring({"marking": {"label": False, "key": str(key)}}).marking == f"--no-label --signing-key '{key}'"


def test_what_many_subjects_share_is_worked_out_once(wiring, tmp_path, monkeypatch):
    """Two hundred subjects of one preset: one sheet read, sections validated once, GPUs looked for once."""
    calls = Counter()

    def counted(module, name):
        original = getattr(module, name)

        def call(*arguments, **named):
            calls[name] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    for module, name in (
        (wiring_module, "read_sheet"), (wiring_module, "visible_gpus"), (given_settings, "stage_settings"),
    ):  # fmt: skip
        counted(module, name)
    (tmp_path / "a.mp4").touch()
    people = [f"p{number}" for number in range(200)]
    rows = [f"{who}\ttalk\ttrain\ta.mp4\t\t\tselfie\tself\tsmoke\n" for who in people]
    (tmp_path / "many.tsv").write_text(HEADER + "".join(rows))
    overlay = {"subjects": "many.tsv", "train": {"start_from": "results/p0/avatar.pt"}}
    wf = wiring(overlay, local_exec=True, is_main_process=True, cores=2, global_resources={})
    for who in people:
        job = of(who, clip="talk")
        assert wf.source(job) == "a.mp4" and json.loads(wf.settings("train")(job))["batch"] == 4
        wf.weights("train")(job), wf.coefficients_there(job), wf.training_threads(job), wf.photometric_gpu(job)
        assert wf.start_from(job) == ([] if who == "p0" else "<results>/p0/avatar.pt")
    assert calls == {"read_sheet": 1, "visible_gpus": 1, "stage_settings": len(SECTIONS)}
