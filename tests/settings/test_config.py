"""Settings: defaults, overlays, precedence, and the sentence for a typo."""

import pytest
import yaml

from selfieavatar.errors import UserError
from selfieavatar.settings.config import (
    SECTIONS,
    canonical_json,
    check_choices,
    check_config,
    load_preset,
    load_variant,
    preset_names,
    stage_settings,
    variant_names,
)
from selfieavatar.settings.sections import Decode, Fit, Landmarks
from selfieavatar.settings.train_section import Train


def test_every_key_has_type_description_and_default():
    for stage, section in SECTIONS.items():
        schema = section.model_json_schema()
        assert schema["additionalProperties"] is False and schema.get("description"), stage
        for key, entry in schema["properties"].items():
            assert entry.get("description") and "default" in entry and ("type" in entry or "enum" in entry), (
                f"{stage}.{key}"
            )


def test_defaults_and_presets_are_valid():
    for stage in SECTIONS:
        assert dict(stage_settings(stage)) == yaml.safe_load(canonical_json(stage_settings(stage)))
    assert {"demo", "cpu-128", "cpu-256", "cpu-512", "gpu-512", "paper-1024", "smoke"} <= set(preset_names())
    for name in preset_names():
        load_preset(name)


def test_variants_are_valid_on_every_preset_and_change_what_they_say():
    assert {"no_mrf", "no_cos", "no_mask", "l1_only", "styleavatar", "unet"} <= set(variant_names())
    for preset in preset_names():
        layer = load_preset(preset)["train"]
        own = {name: Train(**layer | load_variant(name)["train"]) for name in variant_names()}
        assert own["no_mrf"].weight_mrf == own["no_cos"].weight_cos == own["no_mask"].weight_mask == 0
        assert [getattr(own["l1_only"], f"weight_{term}") for term in ("mask", "mrf", "cos", "gan")] == [0] * 4
        assert own["styleavatar"].weight_gan > 0 and own["styleavatar"].weight_mask > 0
        assert own["unet"].net_generator == "unet" and own["no_cos"].net_generator == "style"


def test_wrong_variants_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no variant 'nomrf'; known variants: .*no_mrf"):
        load_variant("nomrf")
    monkeypatch.setattr("selfieavatar.settings.config.ROOT", tmp_path)
    monkeypatch.setattr("selfieavatar.settings.config.VARIANT_FOLDER", tmp_path)
    (tmp_path / "typo.yaml").write_text("train: {weight_mfr: 0}")
    with pytest.raises(UserError, match="'train.weight_mfr' in typo.yaml; did you mean 'train.weight_mrf'"):
        load_variant("typo")
    (tmp_path / "wide.yaml").write_text("fit: {components: 3}")
    with pytest.raises(UserError, match="wide.yaml changes 'fit', but a variant may change only train and evaluate"):
        load_variant("wide")
    assert load_variant("") == {}


def test_what_holds_for_a_whole_run_is_no_matter_of_a_preset(tmp_path, monkeypatch):
    monkeypatch.setattr("selfieavatar.settings.config.ROOT", tmp_path)
    monkeypatch.setattr("selfieavatar.settings.config.PRESET_FOLDER", tmp_path)
    (tmp_path / "small.yaml").write_text("storage: {keep_pictures: false}")
    with pytest.raises(UserError, match="small.yaml changes 'storage', which holds for all subjects"):
        load_preset("small")


def test_later_overlays_win():
    assert stage_settings("decode", {"size_px": 128}, {"size_px": 64}).size_px == 64


def test_a_typo_is_named_with_the_nearest_key():
    with pytest.raises(UserError, match="unknown config key 'decode.size_pixel'.*did you mean 'decode.size_px'"):
        stage_settings("decode", {"size_pixel": 128})
    with pytest.raises(UserError, match="unknown config key 'trian' in my.yaml; did you mean 'train'"):
        check_config({"trian": {}}, "my.yaml")


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("train", {"lr_net": 0}, "config key 'train.lr_net' must be greater than 0, not 0; see config/README.md"),
        ("train", {"lr_net": True}, "config key 'train.lr_net' must be a valid number, not True"),
        ("train", {"lr_net": "0.001"}, "config key 'train.lr_net' must be a valid number, not '0.001'"),
        ("train", {"net_warp_scale": 3}, "config key 'train.net_warp_scale' must be 1, 2 or 4, not 3"),
        ("train", {"net_render_inputs": ["uv", "uv"]}, "must differ from one another, not .'uv', 'uv'"),
        ("train", {"validations": 2001}, "config key 'train.validations' must be less than or equal to 2000, not 2001"),
        ("capture", {"minutes": [1]}, "config key 'capture.minutes' must have at least 2 items, not .1.;"),
        ("demo", {"size_px": 65}, "config key 'demo.size_px' must be a multiple of 2, not 65"),
        ("matting", {"masks": "a/b"}, "config key 'matting.masks' must match pattern .*, not 'a/b'"),
        ("train", {"images": 10**30}, "config key 'train.images' must be less than or equal to 1000000000"),
        ("compare", {"x": 1}, "unknown config key 'compare.x'"),
    ],
)
def test_values_out_of_bounds_are_named(stage, change, words):
    with pytest.raises(UserError, match=words):
        stage_settings(stage, change)


def test_a_wrong_value_is_named():
    with pytest.raises(UserError, match="config key 'decode.size_px' in x must be a valid integer, not 'big'"):
        stage_settings("decode", {"size_px": "big"}, where="x")
    with pytest.raises(UserError, match="section 'decode'"):
        check_config({"decode": 3}, "x")


def test_a_path_must_be_a_path():
    with pytest.raises(UserError, match="config key 'results' in x must be a path, not None"):
        check_config({"results": None}, "x")
    for key in ("results", "subjects"):
        with pytest.raises(UserError, match=f"config key '{key}' in x: the path 'a{{b}}c' has a brace, .* rename it"):
            check_config({key: "a{b}c"}, "x")


def test_choices_that_cannot_work_together():
    check_choices(Landmarks(), Fit(), Train())
    with pytest.raises(UserError, match="landmarks.detector '.*set landmarks"):
        check_choices(Landmarks(detector="face_alignment"), Fit(), Train())


FLAME = {"model": "flame", "model_path": "x", "coefficients": "flame_params.json"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "ict"}, "set fit.model_path"),
        ({"focal": "estimate"}, "set fit.focal: fixed"),
        ({"model": "bfm", "model_path": "x"}, "set landmarks.detector to 'face_alignment'"),
        ({"coefficients": "c.npy"}, "set fit.model to 'flame'"),
        ({**FLAME, "photometric": "auto"}, "set fit.photometric to 'light'"),
        ({**FLAME, "focal": "estimate"}, "set fit.focal: fixed"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        check_choices(Landmarks(), Fit(**change), Train())


def test_training_without_end_is_refused_at_once():
    with pytest.raises(UserError, match=r"train.images and train.minutes are both 0"):
        check_choices(Landmarks(), Fit(), Train(images=0, minutes=0))


def test_packages_bring_no_resnet50():
    packaged = {"backbone_weights": "packaged"}
    with pytest.raises(UserError, match="brings no ResNet50 .*set train.cos_network to dlib_face"):
        check_choices(Landmarks(), Fit(), Train(**packaged))
    check_choices(Landmarks(), Fit(), Train(**packaged, cos_network="dlib_face"))
    check_choices(Landmarks(), Fit(), Train(**packaged, weight_cos=0))


def test_a_key_that_is_no_more_names_the_one_that_is():
    with pytest.raises(UserError, match="'train.cos_vggface2' in my.yaml is now train.cos_network: vggface2 "):
        check_config({"train": {"cos_vggface2": True}}, "my.yaml")


def test_the_demo_is_the_preset_for_processors_but_for_its_length():
    demo, cpu = load_preset("demo"), load_preset("cpu-128")
    assert demo["train"].pop("images") > 0 and demo["train"].pop("validations") > 0
    assert demo | {"train": demo["train"] | {"minutes": cpu["train"]["minutes"]}} == cpu


@pytest.mark.parametrize("names", [("cpu-128", "cpu-256"), ("cpu-256", "cpu-512")])
def test_the_larger_preset_for_processors_differs_in_sizes_and_minutes(names):
    small, large = map(load_preset, names)
    assert large["decode"]["size_px"] == 2 * small["decode"]["size_px"]
    large["train"].pop("save_s", None)  # states of larger networks are larger
    assert large["train"].keys() == small["train"].keys()
    other = {key for key, value in large["train"].items() if value != small["train"][key]} - {"minutes"}
    assert all(key.endswith("_px") and large["train"][key] == 2 * small["train"][key] for key in other)


def test_seeds_have_a_largest_value():
    with pytest.raises(UserError, match="config key 'train.seed'"):
        stage_settings("train", {"seed": 10**14})


def test_a_plain_off_is_explained():
    with pytest.raises(UserError, match='YAML reads a plain off as false: write "off" in quotes'):
        stage_settings("fit", {"photometric": False})


def test_numbers_have_one_form_and_are_finite():
    assert canonical_json(Decode(size_px=64.0)) == canonical_json(Decode(size_px=64))
    assert '"minutes":40,' in canonical_json(Train(minutes=40.0)) and '"lr_floor":0,' in canonical_json(Train())
    with pytest.raises(UserError, match="config key 'train.lr_net' must be a finite number, not inf"):
        stage_settings("train", {"lr_net": float("inf")})


def test_unknown_preset():
    with pytest.raises(UserError, match="no preset 'nothing'; known presets"):
        load_preset("nothing")


def test_canonical_json_ignores_order():
    assert canonical_json({"b": 1, "a": [1.5, None]}) == canonical_json({"a": [1.5, None], "b": 1})


def test_true_is_no_number():
    with pytest.raises(UserError, match="'train.net_warp_scale' must be a number, not True"):
        stage_settings("train", {"net_warp_scale": True})


def test_a_long_value_is_cut_in_the_sentence():
    with pytest.raises(UserError) as caught:
        check_config({"decode": {"size_px": "x" * 5000}}, "overlay.yaml")
    assert "not 'xxx" in str(caught.value) and len(str(caught.value)) < 250
