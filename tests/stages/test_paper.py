"""The stage on a tiny avatar: whose images stand where on the page, and what is refused."""

import base64
import re
import shutil

import numpy as np
import pytest

from selfieavatar.errors import UserError
from selfieavatar.io.files import write_json
from selfieavatar.io.images import image_name, write_image
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.io.schemas import SCHEMAS
from selfieavatar.marking.facts import PAINTED
from selfieavatar.marking.reading import read_marks
from selfieavatar.settings.sections import Paper
from stages import paper
from stages import reenact_clip as reenact
from tests.evaluation.made_up import metrics
from tests.stages.test_reenact_clip import FRAMES, SIZE, arguments, made  # noqa: F401 - the fixture of a tiny avatar

DRIVER = "other--talk"


def write_scores(path, value):
    columns = {name: np.full(FRAMES - 1, np.nan) for name in SCHEMAS["self"].names if name not in ("clip", "frame")}
    columns |= {f"psnr_db_{region}": np.full(FRAMES - 1, value) for region in ("full", "person", "face")}
    rows = {"clip": ["talk"] * (FRAMES - 1), "frame": np.arange(FRAMES - 1)}
    write_manifest(path, "self", rows | columns, {"subject": "anna", "size_px": SIZE, "block": {"talk": 25}})


def write_images(folder, value):
    for number in range(FRAMES):
        write_image(folder / image_name(number), np.full((SIZE, SIZE, 3), value, np.uint8))


@pytest.fixture(scope="module")
def subject(made, tmp_path_factory):  # noqa: F811 - the fixture imported above
    """Folder of a subject with an avatar, a variant, another method and a driver."""
    folder = tmp_path_factory.mktemp("paper")
    shutil.copytree(made / "own", folder / "clips/talk")
    write_images(folder / "clips/talk/frames", 10)
    write_images(folder / "clips/talk/alpha", 200)
    for place, value in (("", 30), ("variants/no_detail/", 40), ("external/peer/", 50)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        content = metrics("anna", float(value), frames=FRAMES - 1) | {"interleaved": [], "tracked_torso": None}
        write_json(folder / place / "metrics.json", content)
        if place.startswith("external"):
            write_scores(folder / place / "frames.parquet", value)
            write_images(folder / place / "talk", value)
            continue
        write_scores(folder / place / "self.parquet", value)
        write_images(folder / place / "self/talk", value)
        shutil.copy(made / "avatar.pt", folder / place / "avatar.pt")
    asked = arguments(made, "other", folder)
    asked.manifest = folder / f"reenact/{DRIVER}.parquet"
    asked.manifest.parent.mkdir()
    reenact.run(asked)
    write_images(folder / f"external/peer/{DRIVER}", 60)
    return folder


def run(subject, made, *options, drivers=True, **settings):  # noqa: F811
    command = ["--folder", str(subject), "--out", str(subject / "paper.html"), *options]
    if drivers:
        command += ["--drivers", DRIVER, "--driver-frames", str(made / "other/frames")]
    args = paper.build_parser().parse_args(command)
    args.settings = Paper(frames=4, **settings)
    paper.run(args)
    return (subject / "paper.html").read_text()


def rows(page, title):
    """Label and mean colours of the images of each row of a strip."""
    import cv2

    part = page.split(title)[1].split("</table>")[0]
    found = []
    for row in part.split("<tr>")[2:]:
        data = [base64.b64decode(one) for one in re.findall(r"base64,([^\"]+)", row)]
        shown = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR).mean() for one in data]
        found.append((re.search("<td>(.*?)</td>", row)[1], shown))
    return found


def test_every_method_stands_in_its_row(subject, made):  # noqa: F811
    page = run(subject, made, "--variants", "no_detail", "--methods", "peer", "--no-label")
    own = rows(page, "Fig. 2: self-reenactment")
    assert [(label, np.round(np.mean(shown)), len(shown)) for label, shown in own] == [
        ("truth", 10, 4), ("peer (external)", 50, 4), ("ours, without both", 40, 4), ("ours", 30, 4),
    ]  # fmt: skip
    cross = dict(rows(page, "Fig. 2: cross-reenactment"))
    table = read_manifest(subject / f"reenact/{DRIVER}.parquet", "reenact")
    shown = [int(number) for number in re.findall(rf"<th>{DRIVER} (\d+)</th>", page)]
    assert len(shown) == 2 and table["driven"][shown].all()
    np.testing.assert_allclose(cross["driver"], [10 * number for number in shown], atol=1)
    np.testing.assert_allclose(cross["peer (external)"], 60, atol=1)
    assert cross["ours"] == cross["ours, without both"], "here both are the same networks"
    masks = rows(page, "Fig. 3:")
    assert len(masks) == 2 and all(round(shown[0]) == 10 and round(shown[1]) == 200 for _, shown in masks)


def test_what_the_avatar_painted_is_marked_and_nothing_else(subject, made, tmp_path):  # noqa: F811
    page = run(subject, made, "--variants", "no_detail", "--methods", "peer")
    kinds = {}
    for number, (label, data) in enumerate(re.findall(r'alt="([^"]*)" src="[^"]*base64,([^"]+)"', page)):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(base64.b64decode(data))
        facts = read_marks(path).facts
        kinds.setdefault(label, set()).add(facts.kind if facts else None)
    real = ("truth", "driver", "peer (external)", "background", "matte", "mask, without", "mask, with")
    painted = ("ours", "ours, without both", "avatar, without", "avatar, with")
    assert {label: kinds[label] for label in real if label in kinds} == {one: {None} for one in real if one in kinds}
    assert {label: kinds[label] for label in painted} == dict.fromkeys(painted, {PAINTED})


def test_without_others_the_page_says_what_is_missing(subject, made):  # noqa: F811
    page = run(subject, made, "--alike", "no_cos=", "no_detail=no_mrf", drivers=False)
    assert "no_cos is the avatar itself" in page
    assert (
        "the sheet has no clip of anybody else" in page and "there is neither the variant no_detail nor detail" in page
    )
    assert "Fig. 3: the mask" not in page and "The same budget" in page


def test_what_was_not_measured_is_refused(subject, made):  # noqa: F811
    with pytest.raises(UserError, match=r"variants/unet/metrics.json is missing; measure it first: snakemake"):
        run(subject, made, "--variants", "unet")
    write_scores(subject / "external/peer/frames.parquet", 1.0)
    content = metrics("anna", 1.0, frames=3)
    write_json(subject / "external/peer/metrics.json", content)
    with pytest.raises(UserError, match="of another run than its table"):
        run(subject, made, "--methods", "peer")
    path = subject / "clips/talk/fit.parquet"
    fit = read_manifest(path, "fit")
    write_manifest(path, "fit", {name: fit[name][:4] for name in fit.table.column_names}, fit.metadata)
    with pytest.raises(UserError, match=r"fit.parquet lacks frames that are asked for"):
        run(subject, made)
