"""A recording without fault passes every check; each fault put into it is found by its check, and by no other."""

import numpy as np
import pytest

from selfieavatar.footage.checks import CHECKS, judge
from selfieavatar.footage.measures import clip_measures, measure, poses
from selfieavatar.settings.capture_section import Capture
from tests.footage.makers import FPS, good_footage, good_table

SETTINGS = Capture()
FRAME = np.arange(len(good_table()["time_s"]))
RNG = np.random.default_rng(1)


def grades(table, clips):
    return {c["name"]: c["verdict"] for c in judge(measure(table, clips, SETTINGS), SETTINGS)}


def test_a_recording_without_fault_passes():
    assert set(grades(good_table(), good_footage()).values()) == {"good"}


def table_with(**columns):
    table = good_table()
    return table | {name: change(table[name]) for name, change in columns.items()}


# name of the check, columns changed, facts changed
FAULTS = [
    ("face_scale", {}, {"source_scale": 0.5}),
    ("camera", {}, {"shifts": np.full(23, 0.03)}),
    ("camera", {}, {"shifts": np.full(23, np.inf)}),
    ("camera", {}, {"shifts": np.full(23, np.nan), "static": False}),
    ("faces", {}, {"faces": 2}),
    ("blurred", {"softness": lambda v: np.where(FRAME % 5 == 0, 0.02, v)}, {}),
    ("exposure", {"clipped": lambda v: v + 0.08}, {}),
    ("light_drift", {"brightness": lambda v: v * (1 + 0.3 * (FRAME > 1500))}, {}),
    ("light_flicker", {"brightness": lambda v: v + 0.03 * RNG.standard_normal(len(v))}, {}),
    ("light_sides", {"right": lambda v: v + 0.4}, {}),
    ("cut", {"cut": lambda v: FRAME % 4 == 0}, {}),
    ("lost", {"error": lambda v: np.where(FRAME % 10 == 0, 0.1, v)}, {}),
    ("frame_rate", {"duplicate": lambda v: FRAME % 2 == 1}, {}),
    ("roll", {"roll": lambda v: 0.1 * v}, {}),
    ("mouth_closed", {"mouth_open": lambda v: v + 0.1}, {}),
    ("teeth", {"teeth": lambda v: 0 * v}, {}),
    ("gaze_yaw", {"gaze_yaw": lambda v: 0.2 * v}, {}),
    ("gaze_pitch", {"gaze_pitch": lambda v: 0.2 * v}, {}),
    ("brows", {"brows": lambda v: 0 * v}, {}),
]


@pytest.mark.parametrize(("check", "columns", "facts"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_found_by_its_check_alone(check, columns, facts):
    found = grades(table_with(**columns), good_footage(**facts))
    assert [name for name, grade in found.items() if grade != "good"] == [check]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"yaw": lambda v: np.maximum(v, 6)}, {"yaw", "poses"}),
        ({"pitch": lambda v: 0.2 * v}, {"pitch", "poses"}),
        ({"mouth_open": lambda v: 0.1 * v}, {"mouth_open", "lip_shapes"}),
        ({"lids": lambda v: 0 * v + 0.1}, {"blinks", "closed"}),
    ],
    ids=["never turned to the left", "hardly raised", "mumbled", "never blinked"],
)
def test_what_is_not_shown_is_missed(columns, expected):
    found = grades(table_with(**columns), good_footage())
    assert {name for name, grade in found.items() if grade != "good"} == expected


def test_the_side_that_was_left_out_is_named():
    table = table_with(yaw=lambda v: np.maximum(v, -7))
    yaw = next(c for c in judge(measure(table, good_footage(), SETTINGS), SETTINGS) if c["name"] == "yaw")
    assert yaw["value"] == pytest.approx(7) and "7 to the left" in yaw["advice"] and yaw["verdict"] == "missing"


def test_usable_time_leaves_out_what_is_blurred_bridged_or_lost():
    table = good_table(1.0)
    table["softness"][:100], table["bridged"][100:150], table["fitted"][150:250] = 9.0, True, False
    found = measure(table, good_footage(), SETTINGS)["minutes"]
    assert found.value == pytest.approx((1500 - 250) / FPS / 60) and found.details["frames"] == 1250


def test_frames_without_a_face_are_lost_and_everything_else_is_judged_by_the_rest():
    table = good_table()
    gone = FRAME < 1200
    for name, values in table.items():
        if name in ("yaw", "pitch", "roll", "gaze_yaw", "lids", "mouth_open", "softness", "brightness", "clipped"):
            table[name] = np.where(gone, np.nan, values)
    table["fitted"] = ~gone
    found = measure(table, good_footage(), SETTINGS)
    assert found["lost"].value == pytest.approx(40) and found["minutes"].value == pytest.approx(1.2)
    assert found["yaw"].value > 25 and found["blurred"].value == 0


def test_frames_left_out_are_not_lost():
    table = good_table()
    table["left_out"][:600], table["fitted"][:900] = "somebody else", False
    found = measure(table, good_footage(), SETTINGS)["lost"]
    assert found.value == pytest.approx(100 * 300 / 2400) and found.details["frames"] == 2400
    shares = clip_measures(table, good_footage()[0], SETTINGS)
    assert (shares["lost"], shares["left_out"]) == (10, 20)
    table["left_out"][:] = "somebody else"
    assert np.isnan(measure(table, good_footage(), SETTINGS)["lost"].value)


def test_what_cannot_be_told_has_a_reason_and_no_grade():
    nothing = np.full(len(FRAME), np.nan)
    table = good_table() | dict.fromkeys(("lids", "mouth_open", "mouth_width", "brows"), nothing)
    unknown = {c["name"]: c for c in judge(measure(table, good_footage(), SETTINGS), SETTINGS) if not c["verdict"]}
    assert set(unknown) == {"mouth_open", "mouth_closed", "lip_shapes", "brows", "blinks", "closed"}
    assert all(c["note"] and c["value"] is None and c["advice"] is None for c in unknown.values())


def test_a_plain_wall_is_taken_for_still_and_says_so():
    found = measure(good_table(), good_footage(shifts=np.full(23, np.nan)), SETTINGS)["camera"]
    assert found.value == 0 and "plain wall" in found.note


def test_the_worst_clip_decides_the_camera():
    clips = good_footage() + good_footage(shifts=np.full(23, 0.01))
    assert measure(good_table(), clips, SETTINGS)["camera"].value == pytest.approx(1.0)


def test_poses_are_cells_of_the_ellipse():
    table = good_table()
    table["yaw"], table["pitch"] = np.zeros(len(FRAME)), np.full(len(FRAME), 40.0)  # a camera that stands low
    (seconds, yaw, pitch, advised), share = poses(table, SETTINGS)
    assert seconds.shape == advised.shape == (len(yaw) - 1, len(pitch) - 1)
    assert share == pytest.approx(1 / advised.sum()) and seconds.sum() == pytest.approx(120)


def test_a_clip_to_test_on_gets_the_same_measures_and_no_grade():
    measures = clip_measures(good_table(), good_footage()[0], SETTINGS)
    assert measures["face_source_px"] == pytest.approx(280) and measures["frames"] == len(FRAME)
    half = table_with(error=lambda v: np.where(FRAME % 4 == 0, 0.1, v), fitted=lambda v: FRAME % 2 == 0)
    found = clip_measures(half, good_footage()[0], SETTINGS)
    assert found["lost"] == 50 and found["doubtful"] == 25 and measures["lost"] == measures["doubtful"] == 0
    assert "verdict" not in measures and {c.name for c in CHECKS} >= {"blurred", "camera", "lost"}
