"""The page with the paper's Table I, Fig. 2 and Fig. 3: what is compared with what, and which frames are shown."""

import math

import numpy as np
import pandas as pd
import pytest

from selfieavatar.reporting.comparison import OURS, Measured, Method
from selfieavatar.reporting.page_templates import Image
from selfieavatar.reporting.paper_page import Compared, Strip, budgets, difference, most_different, paper_page, table
from tests.evaluation.made_up import metrics

COUNT = 200


def compared(method, psnr_db, scores=None, **changes):
    frames = pd.DataFrame({"clip": ["talk"] * COUNT, "frame": np.arange(COUNT)})
    for region in ("full", "person", "face"):
        frames[f"psnr_db_{region}"] = np.full(COUNT, psnr_db) if scores is None else scores
    content = metrics("anna", psnr_db) | {"interleaved": []} | changes
    return Compared(Measured("anna", "", method, content), frames, {"talk": 25})


def everything():
    return [
        compared(Method("external", "peer"), 20.0, training=None),
        compared(Method("variant", "no_mrf"), 29.5),
        compared(Method("variant", "no_mrf_same_images"), 29.0, training={"images": 4000, "minutes": 12.0}),
        compared(OURS, 30.0),
    ]


def test_the_difference_is_of_the_same_frames_and_its_interval_narrow():
    noise, course = np.random.default_rng(1).normal(size=(2, COUNT)) * [[0.1], [5.0]]
    one, other = compared(Method("variant", "unet"), 0, course + noise - 0.5), compared(OURS, 0, course)
    value, low, high = difference(one, other, "psnr_db_full")
    assert value == pytest.approx((noise - 0.5).mean()) and low < value < high and high - low < 0.1
    other.frames.drop(index=range(150), inplace=True)
    value, low, high = difference(one, other, "psnr_db_full")
    assert value == pytest.approx((noise - 0.5)[150:].mean()) and math.isnan(low), "two seconds have no interval"


def test_methods_are_grouped_by_what_they_were_given_alike():
    groups = {title: [one.method.name for one in group] for title, group in budgets(everything()).items()}
    assert groups == {
        "Equal images": ["peer", "no_mrf_same_images", "ours"], "Equal minutes": ["peer", "no_mrf", "ours"],
    }  # fmt: skip
    minutes = [compared(Method("variant", "no_mrf_same_minutes"), 29.0), *everything()[:2], everything()[-1]]
    groups = {title: [one.method.name for one in group] for title, group in budgets(minutes).items()}
    assert groups == {
        "Equal images": ["peer", "no_mrf", "ours"], "Equal minutes": ["no_mrf_same_minutes", "peer", "ours"],
    }  # fmt: skip
    once = [one for one in everything() if not one.method.name.endswith("_same_images")]
    assert list(budgets(once)) == ["The same budget"]


def test_the_table_marks_the_best_and_says_why_a_metric_is_missing():
    found = table(budgets(everything())["Equal images"], "face")
    assert [row["label"] for row in found["rows"]] == ["peer (external), its own budget", "ours, without L_mrf", "ours"]
    at = found["metrics"].index("psnr_db")
    assert [row["best"][at] for row in found["rows"]] == [False, False, True]
    assert [row["difference"] and row["difference"][0] for row in found["rows"]] == [-10, -1, None]
    assert found["missing"]["lpips"] == "no weights here" and "lpips" not in found["metrics"]
    assert math.isnan(found["rows"][0]["minutes"]) and found["rows"][1]["minutes"] == 12


def test_frames_that_differ_most():
    pose = np.array([[0.0], [0.1], [5.0], [-5.0], [0.0]])
    face = np.array([[0.0], [0.0], [0.0], [0.0], [40.0]])
    assert most_different([pose, face], 1) == [0], "the one nearest to the mean"
    assert most_different([pose, face], 4) == [0, 2, 3, 4]
    assert most_different([pose[:2], face[:2]], 9) == [0, 1], "no more than there are; a block that is constant"


def test_the_page_holds_tables_figures_and_reasons():
    image = Image("", b"x", "jpeg", "truth")
    strip = Strip(["talk 3"], [("truth", [image]), ("<b>peer</b>", [None])])
    page = paper_page("anna", everything(), strip, None, strip, ["Fig. 2 shows <no> cross"], 100)
    assert "Equal minutes" in page and "ours, without L_mrf" in page and "-1.00" in page
    assert page.count("data:image/jpeg") == 2 and "cross-reenactment</h2>" not in page and "width: 100px" in page
    assert "Fig. 2 shows &lt;no&gt; cross" in page and "&lt;b&gt;peer" in page
    assert ">28.5<" in page, "the paper's own table"
