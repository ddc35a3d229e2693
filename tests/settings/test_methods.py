"""What lies in a subject's folder is found, and what should not lie there is said or refused."""

import pytest

from selfieavatar.errors import UserError
from selfieavatar.settings.config import variant_names
from selfieavatar.settings.methods import (
    driver_images,
    external_methods,
    made_variants,
    method_files,
    method_images,
    no_methods,
)


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_variants_that_were_measured_and_are_known(tmp_path):
    put(tmp_path, "variants/unet/metrics.json", "variants/no_mrf/avatar.pt", "variants/once/metrics.json")
    assert made_variants(tmp_path) == ["unet"] and "no_mrf" in variant_names()
    assert made_variants(tmp_path / "nobody") == []


def test_methods_are_folders(tmp_path):
    assert external_methods(tmp_path) == []
    put(tmp_path, "external/b-1/000000.png", "external/a_2/000000.png", "external/.DS_Store")
    assert external_methods(tmp_path) == ["a_2", "b-1"]


@pytest.mark.parametrize("name", ["notes.txt", "my method/000000.png", "-x/000000.png", "{x}/000000.png"])
def test_what_is_no_method_is_passed_over_and_said(tmp_path, name):
    put(tmp_path, f"external/{name}", "external/peer/000000.png")
    assert external_methods(tmp_path) == ["peer"]
    (sentence,) = no_methods(tmp_path)
    assert f"{tmp_path / 'external' / name.partition('/')[0]} is no folder named after a method" in sentence


def test_images_in_the_folder_or_in_those_of_clips(tmp_path):
    put(tmp_path / "a", "000000.png", "000012.png", "1000000.png", "metrics.json", "frames.parquet", ".thumbs")
    assert {clip: sorted(found) for clip, found in method_images(tmp_path / "a").items()} == {"": [0, 12, 1000000]}
    put(tmp_path / "b", "talk/000003.png", "read/000000.png")
    found = method_images(tmp_path / "b")
    assert found["talk"] == {3: tmp_path / "b/talk/000003.png"} and sorted(found) == ["read", "talk"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "holds no images"),
        (("metrics.json",), "holds no images"),
        (("000000.png", "talk/000000.png"), "holds images and folders"),
        (("0.png",), "0.png is no image named by its frame"),
        (("0000001.png",), "is no image named by its frame"),
        (("000000.jpg",), "is no image named by its frame"),
        (("talk/read/000000.png",), "is no image named by its frame"),
        (("a clip/000000.png",), "is named as no clip can be"),
    ],
)
def test_anything_else_is_refused(tmp_path, names, sentence):
    put(tmp_path, *names)
    with pytest.raises(UserError, match=sentence):
        method_images(tmp_path)


def test_files_are_listed_without_refusing_any(tmp_path):
    names = ("talk/000001.png", "talk/{x}.png", "000000.png", "metrics.json", "notes.txt", "a clip/000002.png")
    put(tmp_path / "peer", *names)
    (tmp_path / "peer/empty").mkdir()
    images, others = method_files(tmp_path / "peer")
    assert [str(path.relative_to(tmp_path / "peer")) for path in images] == ["000000.png", "talk/000001.png"]
    assert others == ["a clip/000002.png", "empty", "notes.txt", "talk/{x}.png"]
    assert method_files(tmp_path / "nobody") == ([], [])


def test_drivers_images_are_found_and_never_measured(tmp_path):
    peer = put(
        tmp_path / "external/peer", "bert--talk/000007.png", "bert--talk/notes.txt", "000000.png", "metrics.json"
    )
    assert driver_images(peer, "bert--talk") == {7: peer / "bert--talk/000007.png"}
    assert driver_images(peer, "carl--talk") == driver_images(tmp_path / "nobody", "bert--talk") == {}
    assert method_images(peer) == {"": {0: peer / "000000.png"}}, "loose images may lie beside them"
    assert method_files(peer) == ([peer / "000000.png"], [])
    put(tmp_path / "external/clips", "bert--talk/000000.png", "talk/000001.png")
    assert list(method_images(tmp_path / "external/clips")) == ["talk"]


def test_a_method_with_drivers_images_alone_is_not_asked_to_be_measured(tmp_path):
    put(tmp_path / "external/driven", "bert--talk/000000.png")
    put(tmp_path / "external/peer", "000000.png")
    assert external_methods(tmp_path) == ["peer"] and no_methods(tmp_path) == []
    with pytest.raises(UserError, match="drivers' frames alone, which have no truth"):
        method_images(tmp_path / "external/driven")
