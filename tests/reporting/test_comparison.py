"""Who is best, over whom means are taken, and what a damaged metrics.json cannot do."""

import math

import numpy as np
import pytest

from selfieavatar.evaluation.regions import REGIONS
from selfieavatar.reporting import paper_table
from selfieavatar.reporting.comparison import (
    OURS,
    Cell,
    Measured,
    Method,
    best_of,
    common_subjects,
    loss_of,
    means,
    methods_of,
)
from tests.evaluation.made_up import metrics

PEER, UNET, MEAN = Method("external", "peer"), Method("variant", "unet"), Method("baseline", "mean_frame")


def cell(method, value, subject="anna", metric="psnr_db", reason=""):
    return Cell(subject, "selfie", method.name, method.kind, "self", "full", metric, value, frames=10, reason=reason)


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("psnr_db", (28.0, 29.0, math.nan), {UNET}),
        ("lpips", (0.1, 0.2, 0.3), {PEER}),
        ("sharpness", (0.9, 1.05, 1.2), {UNET}),
        ("ssim", (0.9004, 0.9001, 0.8), {PEER, UNET}),  # equal in the three digits that are shown
        ("ssim", (0.9, math.nan, math.nan), set()),  # nobody is the best of one
    ],
)
def test_the_best(metric, values, best):
    cells = [cell(m, v, metric=metric) for m, v in zip((PEER, UNET, OURS), values, strict=True)]
    assert best_of(cells, metric, 3) == best


def test_others_come_first_and_ours_last():
    assert methods_of([cell(m, 1.0) for m in (OURS, UNET, MEAN, PEER)]) == [MEAN, PEER, UNET, OURS]


def test_means_are_of_common_subjects():
    cells = [cell(OURS, 30.0), cell(PEER, 20.0), cell(OURS, 26.0, "bert"), cell(PEER, 22.0, "bert")]
    cells += [cell(OURS, 10.0, "carl"), cell(PEER, math.nan, "carl", reason="not made")]
    assert common_subjects(cells) == ["anna", "bert"]
    found = {f.of: f for f in means(cells, ["anna", "bert"], "mean")}
    assert found[OURS].value == 28 and found[PEER].value == 21 and found[OURS].frames == 20
    assert math.isnan(found[OURS].low) and found[OURS].subject == "mean"


def test_a_mean_of_one_keeps_its_interval_and_many_subjects_have_one_of_their_own():
    one = cell(OURS, 30.0)._replace(low=29.0, high=31.0)
    assert means([one], ["anna"], "")[0][7:10] == (30.0, 29.0, 31.0)
    people = [f"p{k}" for k in range(9)]
    cells = [one._replace(subject=who, value=26.0 + k) for k, who in enumerate(people)]
    (mean,) = means(cells, people, "mean of 9")
    half = 2.31 * np.std(np.arange(9), ddof=1) / 3  # Student's t of 8 degrees of freedom
    assert mean.value == 30.0 and (mean.high - mean.low) / 2 == pytest.approx(half, rel=0.15)
    (few,) = means(cells[:7], people[:7], "mean of 7")
    assert math.isnan(few.low) and math.isnan(few.high)


@pytest.mark.parametrize(
    ("reasons", "said"),
    [(("", ""), ""), (("no weights", "no weights"), "no weights"), (("", "infinite"), "bert: infinite")],
)
def test_a_mean_keeps_the_remarks_of_its_parts(reasons, said):
    pair = [cell(OURS, 30.0, who, reason=reason) for who, reason in zip(("anna", "bert"), reasons, strict=True)]
    assert means(pair, ["anna", "bert"], "mean")[0].reason == said


def test_a_mean_with_a_part_missing_is_missing():
    pair = [cell(OURS, 100.0, reason="infinite"), cell(OURS, math.nan, "bert", reason="no frame")]
    (mean,) = means(pair, ["anna", "bert"], "mean")
    assert math.isnan(mean.value) and mean.reason == "bert: no frame"


def test_copies_are_in_the_avatar_s_file():
    one = Measured("anna", "selfie", MEAN, metrics("anna", 28.0, copies=(20.0, 24.0)))
    found = {(f.region, f.metric): f for f in one.cells()}
    assert found["face", "psnr_db"][7:12] == (20.0, 19.0, 21.0, 30, 64)
    assert found["face", "fid"].reason == "no weights here" and ("mouth", "fid") not in found


def test_the_note_on_equal_images_is_the_avatar_s_alone():
    note = "psnr_db: 3 of 30 images equal the truth"
    for method, said in ((OURS, "3 of 30 images equal the truth"), (MEAN, "")):
        one = Measured("anna", "selfie", method, metrics("anna", 28.0, notes=[note]))
        assert {f.reason for f in one.cells() if f.metric == "psnr_db"} == {said}


def test_a_region_that_no_frame_has():
    content = metrics("anna", 28.0)
    content["eyes"] = dict.fromkeys(content["eyes"]) | {"frames": 0}
    one = Measured("anna", "selfie", OURS, content)
    eyes = next(f for f in one.cells() if (f.region, f.metric) == ("eyes", "ssim"))
    assert eyes.reason == "no test frame has this region"


NO_NUMBERS = [[], "x", {"psnr_db": "28"}, {"psnr_db": True}, {"psnr_db": 10**400}, {"psnr_db": math.inf}]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_missing(value):
    content = metrics("anna", 28.0) | {"intervals": {region: {"psnr_db": [1, "x", 3]} for region in REGIONS}}
    one = Measured("anna", "selfie", OURS, content | {"face": value, "size_px": {}})
    bad = next(f for f in one.cells() if (f.region, f.metric) == ("face", "psnr_db"))
    assert math.isnan(bad.value) and bad.reason and math.isnan(bad.low) and bad.size_px == 0


def test_the_paper_s_table_is_whole_and_its_bold_row_the_best():
    columns = list(zip(*paper_table.TABLE_I.values(), strict=True))
    own = list(paper_table.TABLE_I).index(paper_table.OWN)
    for metric, column in zip(paper_table.METRICS, columns, strict=True):
        losses = [loss_of(metric, float(value)) for value in column]
        assert losses.index(min(losses)) == own
