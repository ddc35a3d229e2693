"""The page about the footage: what it judges, what it sets apart, what it refuses; nothing can be put into it."""

import json
import re

import cv2
import numpy as np
import pytest

from selfieavatar.footage.checks import CHECKS
from selfieavatar.io.images import ImageWriter
from selfieavatar.io.manifest import read_manifest, write_manifest
from selfieavatar.settings import cli
from selfieavatar.settings.capture_section import Capture
from stages import capture
from tests.fitting import makers

SIZE, COUNT, FPS = 128, 60, 20


def head(points, wall, step):
    """An image of a head before a wall that moves by `step` px, and its matte; points (L, 2) px of 128."""
    image = np.roll(wall, step, axis=1)
    alpha = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(alpha, cv2.convexHull((64 + 1.3 * (points - 64)).round().astype(np.int32)), 255)
    image = np.where(alpha[..., None] > 0, np.uint8((190, 150, 130)), image)
    for x, y in points[::9].round().astype(int):
        cv2.circle(image, (int(x), int(y)), 2, (60, 40, 40), -1)
    return image, alpha


def write_clip(folder, yaw_deg=20.0, moves=0, lost=(), count=COUNT):
    """Manifests, frames and mattes of a subject who turns from one side to the other."""
    subject, frames = makers.model(), np.arange(count)
    rotation, translation = np.zeros((count, 3)), np.tile([[0.0, 0.0, 60.0]], (count, 1))
    rotation[:, 1] = np.radians(np.linspace(-yaw_deg, yaw_deg, count))
    expression = np.zeros((count, 4))
    expression[count // 2 :, 1] = 9.0
    points, depth = makers.landmarks(subject, rotation, translation, expression)
    points = points * (SIZE / makers.SIZE)
    shown, bad = points.copy(), np.isin(frames, lost)
    for values in (points, depth, rotation, translation, expression):
        values[bad] = np.nan
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), (0, 0), 2)
    wall = cv2.normalize(wall, None, 0, 255, cv2.NORM_MINMAX)
    with ImageWriter(folder / "frames") as images, ImageWriter(folder / "alpha") as mattes:
        for k in range(count):
            image, alpha = head(shown[k], wall, moves * k)
            images.put(k, image)
            mattes.put(k, alpha)
    box = np.concatenate([points.min(1), points.max(1)], 1)
    zero, names = np.zeros(count, np.float32), [""] * count
    write_manifest(folder / "decode.parquet", "decode", {
        "frame": frames, "time_s": frames / FPS, "source_frame": frames, "face": ~bad, "face_box_px": box,
        "duplicate": zero > 0, "sharpness": zero, "picture_hash": names,
    }, {"fps": FPS, "size_px": SIZE, "static_camera": not moves, "faces_per_frame_max": 1, "crop_px": [0.0, 0, 512],
        "source_size": [512, 512]})  # fmt: skip
    write_manifest(folder / "landmarks.parquet", "landmarks", {
        "frame": frames, "found": ~bad, "points_px": points.reshape(count, -1), "depth": depth, "confidence": zero,
    }, {"landmark_set": "mediapipe478", "count": 478, "size_px": SIZE})  # fmt: skip
    write_manifest(folder / "matting.parquet", "matting", {
        "frame": frames, "alpha_hash": names, "coverage": zero, "flicker": zero}, {"size_px": SIZE})  # fmt: skip
    write_manifest(folder / "fit.parquet", "fit", {
        "frame": frames, "fitted": ~bad, "rotation": rotation, "translation": translation, "expression": expression,
        "gaze": zero[:, None] + np.zeros(4), "light": np.zeros((count, 27)), "torso": np.zeros((count, 2)),
        "landmark_error": zero + 0.004,
        "quality": np.where(bad, "lost", "ok"),
    }, {"size_px": SIZE})  # fmt: skip


@pytest.fixture
def subject(tmp_path):
    makers.identity().save(tmp_path / "identity.npz")
    write_clip(tmp_path / "clips" / "talk")
    return tmp_path


def run(folder, clips=("talk",), roles=("train",), name="anna", more=(), **lists):
    argv = ["--subject", name, "--identity", str(folder / "identity.npz"), "--clips", *clips, "--roles", *roles]
    argv += ["--threads", "1", "--out", str(folder / "capture.html"), "--out-json", str(folder / "capture.json")]
    files = {kind: f"{kind}.parquet" for kind in capture.KINDS} | {"frames": "frames", "alpha": "alpha"}
    for kind, file in files.items():
        argv += [f"--{kind}", *(str(folder / "clips" / clip / file) for clip in lists.get(kind, clips))]
    cli.main(capture.build_parser(), capture.run, [*argv, *more])
    return json.loads((folder / "capture.json").read_text()), (folder / "capture.html").read_text()


def values(report):
    return {check["name"]: check["value"] for check in report["checks"]}


def test_frames_that_are_held_out_are_not_judged(subject):
    whole, page = run(subject)
    assert whole["held_out"] == 0 and "held out" not in page
    makers.hold_out(subject / "clips/talk", COUNT // 2 - 4, COUNT // 2)  # the mouth opens in the second half
    part, page = run(subject)
    assert part["held_out"] == COUNT // 2 + 4 and f"The last {COUNT // 2 + 4} frames are not judged" in page
    assert values(whole)["mouth_open"] > 10 > 5 > values(part)["mouth_open"]
    assert part["clips"] == whole["clips"]


def test_lost_frames_are_those_of_the_page_about_the_tracking(subject):
    """A clip that begins without a face: the check knows only the frames that are not held out."""
    write_clip(subject / "clips" / "talk", lost=range(20))
    makers.hold_out(subject / "clips/talk", COUNT // 2, COUNT // 2)
    report, page = run(subject)
    fit = read_manifest(subject / "clips/talk/fit.parquet", "fit")
    assert report["clips"]["talk"]["lost"] == pytest.approx(100 * (fit["quality"] == "lost").mean(), abs=0.1)
    assert report["clips"]["talk"]["doubtful"] == 0
    assert values(report)["lost"] == pytest.approx(100 * 20 / (COUNT // 2), abs=0.1)
    assert f"of the {COUNT // 2} frames that are judged, 20 are lost and 0 doubtful" in page


def test_frames_left_out_are_counted_apart_with_their_reason(subject):
    write_clip(subject / "clips" / "talk", lost=range(20))
    path = subject / "clips/talk/decode.parquet"
    decode = read_manifest(path, "decode")
    facts = decode.metadata | {"left_out": [[0, 12, "somebody <else>"]]}
    write_manifest(path, "decode", {name: decode[name] for name in decode.table.schema.names}, facts)
    report, page = run(subject)
    assert values(report)["lost"] == pytest.approx(100 * 8 / 48, abs=0.1)
    assert report["left_out"] == {"somebody <else>": 12} and "12 that show somebody &lt;else&gt;." in page
    assert [report["clips"]["talk"][name] for name in ("lost", "left_out")] == pytest.approx(
        [100 * 8 / 60, 20], abs=0.1
    )


def test_what_the_clip_shows_is_measured(subject):
    report, page = run(subject)
    found = values(report)
    assert set(found) == {check.name for check in CHECKS} and report["size_px"] == SIZE
    assert found["yaw"] == pytest.approx(20, abs=4) and found["lost"] == 0 and found["frame_rate"] == FPS
    assert found["face_scale"] == pytest.approx(4) and found["camera"] < 0.3 and found["minutes"] <= 3 / 60
    # An even colour, the same everywhere.
    assert found["light_sides"] < 2 and found["exposure"] == 0
    assert report["verdict"] == "missing" and report["settings"] == dict(Capture())
    assert page.count("<tr><td>") == len(CHECKS) + 1 and "Record longer" in page


def test_faults_of_the_footage_are_found(subject):
    write_clip(subject / "clips" / "talk", yaw_deg=2, moves=1, lost=range(20, 40))
    found = values(run(subject)[0])
    assert found["lost"] == pytest.approx(100 / 3, abs=0.1) and found["yaw"] < 3
    assert found["camera"] is None or found["camera"] > 2


def test_clips_to_test_on_are_listed_and_count_nowhere(subject):
    alone = run(subject)[0]
    write_clip(subject / "clips" / "other", yaw_deg=40, lost=range(30))
    report, page = run(subject, ("other", "talk"), ("test", "train"))
    assert values(report) == values(alone) and report["sentence"] == alone["sentence"]
    assert report["clips"]["other"]["role"] == "test" and report["clips"]["other"]["lost"] == pytest.approx(50)
    assert page.index("Clips to test on") < page.index("<td>other</td>") and page.count("over time</h2>") == 1


def test_the_page_is_one_file_and_nothing_can_be_put_into_it(subject):
    (subject / "clips" / "talk").rename(subject / "clips" / "<b onload=x>")
    _, page = run(subject, ("<b onload=x>",), name="<script>alert('a')</script>")
    assert "<script" not in page and "<b onload" not in page and "&lt;script&gt;" in page
    assert "http" not in page and not re.search(r'(src|href)="(?!data:image/(png|jpeg);base64,)', page)
    assert 'name="viewport"' in page


def test_the_same_footage_gives_the_same_bytes(subject):
    assert run(subject) == run(subject)


def test_what_does_not_belong_together_is_refused(subject, capsys):
    write_clip(subject / "clips" / "short", count=30)
    wrong = [
        ({"fit": ["short"]}, "list different frames"),
        ({"alpha": ["talk", "talk"]}, "--alpha must name 1"),
        ({"roles": ("test",)}, "--roles must name a train"),
    ]
    for lists, said in wrong:
        with pytest.raises(SystemExit) as stopped:
            run(subject, **lists)
        assert stopped.value.code == 2 and said in capsys.readouterr().err
    makers.identity(makers.model(2)).save(subject / "identity.npz")
    with pytest.raises(SystemExit):
        run(subject)
    assert "come from different runs" in capsys.readouterr().err
    assert not list(subject.glob("*capture*"))


def test_a_damaged_image_leaves_no_page(subject, capsys):
    (subject / "clips" / "talk" / "frames" / "000007.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        run(subject)
    assert "000007.png is not a readable image" in capsys.readouterr().err and not list(subject.glob("*capture*"))


def test_landmarks_far_outside_of_the_frames_leave_no_page(subject, capsys):
    path = subject / "clips/talk/landmarks.parquet"
    table = read_manifest(path, "landmarks")
    columns = {name: table[name].copy() for name in table.table.column_names}
    columns["points_px"][3, 7] = 1e30
    write_manifest(path, "landmarks", columns, table.metadata)
    with pytest.raises(SystemExit):
        run(subject)
    assert "landmarks.parquet has landmarks far outside" in capsys.readouterr().err
    assert not list(subject.glob("*capture*"))
