"""No frame that is measured on has a part in the avatar: other frames in its place change nothing of it."""

import cv2
import numpy as np
import pytest
import torch

from selfieavatar.footage.holdout import split_of
from selfieavatar.io.manifest import read_manifest
from selfieavatar.video.reader import open_source
from tests.workflow.conftest import HEADER

pytestmark = pytest.mark.slow

COUNT, TEST_FROM = 80, 64  # frames of the source; the last fifth is held out
GAP_FROM = TEST_FROM - 25
CLIP_KINDS = ("decode", "landmarks", "matting", "fit", "render")
SHEET = HEADER + "".join(
    f"{name}\t{clip}\t{role}\t{source}\t{start}\t{end}\tselfie\tsynthetic\tsmoke\n"
    for source in ("clean", "spoilt")
    for name, clip, role, start, end in (
        (f"held_{source}", "talk", "train", "", ""),
        (f"rows_{source}", "talk", "train", 0, GAP_FROM),
        (f"rows_{source}", "other", "test", TEST_FROM, COUNT),
    )
)


@pytest.fixture(scope="module")
def made(fresh_project):
    """Avatars and lists of frames of a recording, and of one with other test frames: mirrored and brighter."""
    work = fresh_project.work
    frames = open_source(work / "talk.mp4", 25.0).read(range(COUNT))
    for number, _, image in frames:
        for name in ("clean", "spoilt"):
            (work / name).mkdir(exist_ok=True)
            other = name == "spoilt" and number >= TEST_FROM
            shown = 255 - (255 - image[:, ::-1]) // 2 if other else image
            cv2.imwrite(str(work / name / f"{number:03d}.png"), np.ascontiguousarray(shown[..., ::-1]))
    (work / "leak.tsv").write_text(SHEET)
    (work / "leak.yaml").write_text("train: {images: 24, maps_until: 8}\n")
    targets = [f"results/held_{name}/avatar.pt" for name in ("clean", "spoilt")]
    targets += [f"results/rows_{name}/samples.parquet" for name in ("clean", "spoilt")]
    fresh_project.snakemake(*targets, "--configfile", "leak.yaml", sheet="leak.tsv")
    return work / "results"


def assert_same(one, other, rows):
    for name in one.table.column_names:
        np.testing.assert_array_equal(one[name][rows], other[name][rows], err_msg=f"{one.kind}: {name}")


@pytest.mark.parametrize(("kind", "trained"), [("held", slice(0, GAP_FROM)), ("rows", slice(0, GAP_FROM))])
def test_what_is_trained_on_does_not_change_with_the_test_frames(made, kind, trained):
    clean, spoilt = (made / f"{kind}_{name}" for name in ("clean", "spoilt"))
    for name in CLIP_KINDS:
        assert_same(
            *(read_manifest(folder / f"clips/talk/{name}.parquet", name) for folder in (clean, spoilt)), trained
        )
    assert_same(*(read_manifest(folder / "samples.parquet", "samples") for folder in (clean, spoilt)), trained)
    assert (clean / "identity.npz").read_bytes() == (spoilt / "identity.npz").read_bytes()
    plates = [folder / "clips/talk/plate.png" for folder in (clean, spoilt)]
    assert plates[0].is_file() and plates[0].read_bytes() == plates[1].read_bytes()


def test_the_test_frames_are_others(made):
    clean, spoilt = (
        read_manifest(made / f"held_{name}/clips/talk/decode.parquet", "decode") for name in ("clean", "spoilt")
    )
    split = split_of(clean)
    assert [(split == name).sum() for name in ("train", "gap", "test")] == [GAP_FROM, 25, COUNT - TEST_FROM]
    assert (clean["picture_hash"] != spoilt["picture_hash"]).tolist() == [n >= TEST_FROM for n in range(COUNT)]


def test_the_avatar_is_the_same_to_the_bit(made):
    one, other = (torch.load(made / f"held_{name}/avatar.pt", weights_only=True) for name in ("clean", "spoilt"))
    assert one["images"] == other["images"] > 0
    for part in ("g_style", "identity"):
        for name, value in one[part].items():
            same = torch.equal(value, other[part][name]) if torch.is_tensor(value) else value == other[part][name]
            assert same, f"{part}: {name}"
    for region, maps in one["maps"].items():
        assert all(torch.equal(value, other["maps"][region][name]) for name, value in maps.items()), region
