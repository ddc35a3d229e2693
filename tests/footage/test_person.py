"""Who is followed where several people or places are seen, and which frames are left out."""

import numpy as np
import pytest

from selfieavatar.footage import person
from selfieavatar.footage.person import ELSEWHERE, SOMEBODY_ELSE, follow, reasons, track_starts
from selfieavatar.video.crop import choose_crop

SIZE, SCALE, FPS = (1280, 640), 2.0, 25.0
LEFT, RIGHT = (220, 200, 360, 360), (900, 180, 1060, 360)  # two places of faces, in px


def box(place, shift=0.0, grow=1.0):
    x0, y0, x1, y1 = place
    middle, half = np.array([x0 + x1, y0 + y1]) / 2 + shift, np.array([x1 - x0, y1 - y0]) / 2 * grow
    return np.concatenate([middle - half, middle + half])


class Looks:
    """Describes a face by whom the test says that it shows; counts how often it was asked."""

    def __init__(self, who):
        self.who, self.asked = who, 0

    def __call__(self, faces):
        self.asked += 1
        rng = np.random.default_rng(self.asked)
        people = [np.eye(8)["ab".index(self.who(number, face))] for number, face in faces]
        return np.array(people) + rng.normal(0, 0.02, (len(people), 8))


def followed(found, path, who):
    looks = Looks(who)
    return follow(range(len(found)), found, np.array(path), looks, SIZE, SCALE), looks


def test_a_steady_recording_is_taken_as_it_is_and_nobody_is_asked_who_it_is():
    found = [np.array([box(LEFT, 3 * np.sin(n))]) for n in range(20)] + [np.zeros((0, 4))]
    seen, looks = followed(found, [0] * 20 + [-1], lambda *_: "a")
    assert looks.asked == 0 and not seen.chosen and seen.numbers.tolist() == list(range(20))


def test_of_a_call_in_speaker_view_the_person_seen_most_is_followed():
    """The large face is a's, left, in most frames, and b's, right, in the others; the other one is a thumbnail."""
    shown = ["b" if n % 5 == 4 else "a" for n in range(40)]
    found = [np.array([box(LEFT if who == "a" else RIGHT, n % 3), (20, 20, 40, 44)]) for n, who in enumerate(shown)]
    seen, _ = followed(found, [0] * 40, lambda number, face: shown[number])
    assert seen.chosen and seen.numbers.tolist() == [n for n, who in enumerate(shown) if who == "a"]
    x0, y0, side = choose_crop(seen.boxes, SIZE, SCALE)
    assert side < 2.5 * 160 and x0 < 290 < x0 + side < 900


def test_of_two_places_of_one_person_the_one_seen_most_is_kept():
    found = [np.array([box(LEFT if n < 25 else RIGHT, n % 3)]) for n in range(40)]
    seen, _ = followed(found, [0] * 40, lambda *_: "a")
    assert seen.chosen and seen.numbers.tolist() == list(range(25))


def test_the_window_lies_in_the_image_for_the_most_part():
    found = [np.array([box((-60, -80, 100, 100) if n < 4 else LEFT)]) for n in range(12)]
    seen, _ = followed(found, [0] * 12, lambda *_: "a")
    x0, y0, side = choose_crop(seen.boxes, SIZE, SCALE)
    inside = (min(x0 + side, 1280) - max(x0, 0)) * (min(y0 + side, 640) - max(y0, 0))
    assert inside >= 2 / 3 * side**2


@pytest.mark.parametrize(
    ("cut", "jump", "lost", "starts"),
    [
        (None, None, 0, [0]),
        (30, None, 0, [0, 30]),
        (None, 30, 0, [0, 30]),
        (None, None, 12, [0]),  # half a second
        (None, None, 30, [0, 40]),
    ],
)
def test_where_tracks_begin(cut, jump, lost, starts):
    boxes, changes = np.array([box(LEFT, 0.5 * n) for n in range(60)]), np.full(60, 1.5)
    boxes[40 - lost : 40] = np.nan
    if cut:
        changes[cut] = 40
    if jump:
        boxes[jump:] = box(RIGHT)
    assert track_starts(boxes, changes, FPS).tolist() == starts


def test_frames_of_others_and_of_other_places_are_left_out_with_their_reason():
    where = [LEFT] * 20 + [RIGHT] * 10 + [LEFT] * 10 + [RIGHT] * 10
    who = ["a"] * 20 + ["b"] * 10 + ["a"] * 20
    boxes = np.array([box(place) for place in where])
    seen = person.Followed(np.arange(20), boxes[:20], chosen=True)
    crop = choose_crop(seen.boxes, SIZE, SCALE)
    starts = np.array([0, 20, 30, 40])
    said = reasons(seen, crop, SIZE, np.arange(50), boxes, starts, Looks(lambda number, face: who[number]))
    assert said.tolist() == [""] * 20 + [SOMEBODY_ELSE] * 10 + [""] * 10 + [ELSEWHERE] * 10


def test_somebody_else_in_the_same_place_is_left_out():
    boxes = np.array([box(LEFT)] * 40)
    seen = person.Followed(np.arange(0, 25), boxes[:25])
    looks = Looks(lambda number, face: "a" if number < 25 else "b")
    said = reasons(seen, choose_crop(seen.boxes, SIZE, SCALE), SIZE, np.arange(40), boxes, np.array([0, 25]), looks)
    assert said.tolist() == [""] * 25 + [SOMEBODY_ELSE] * 15


def test_the_person_who_comes_back_after_a_while_is_no_one_else():
    boxes = np.array([box(LEFT, n % 3) for n in range(80)])
    boxes[20:60] = np.nan
    starts = track_starts(boxes, np.full(80, 1.5), FPS)
    seen = person.Followed(np.arange(20), boxes[:20])
    crop = choose_crop(seen.boxes, SIZE, SCALE)
    assert starts.tolist() == [0, 60]
    assert not reasons(seen, crop, SIZE, np.arange(80), boxes, starts, Looks(lambda *_: "a")).any()


class Fading:
    """Describes rows 0 to 59 as a, 90 to 149 as b, and those between as something in between; frames are 10 * row."""

    def __init__(self, odd=()):
        self.odd, self.asked = odd, []

    def look(self, row):
        share = np.clip((row - 60) / 30, 0, 1) if row not in self.odd else 1.0
        noise = np.random.default_rng(row).normal(0, 0.02, 8)
        return 0.9 * np.array([1 - share, share, 0, 0, 0, 0, 0, 0]) / np.sqrt(2) + noise

    def __call__(self, faces):
        self.asked += [number // 10 for number, _ in faces]
        return np.array([self.look(number // 10) for number, _ in faces])

    def parted(self, rows, boxes, starts=(0,)):
        frames = 10 * np.arange(len(boxes))
        seen = {row: self.look(row) for row in rows}
        return person.part_people(np.array(starts), seen, frames, boxes, self).tolist()


def test_a_track_that_fades_from_one_person_to_another_is_cut_in_the_middle_of_the_fade():
    boxes, fading = np.array([box(LEFT)] * 150), Fading()
    boxes[[75, 140]] = np.nan
    starts = fading.parted(range(0, 150, 25), boxes)
    assert starts[0] == 0 and len(starts) == 2 and 70 <= starts[1] <= 80
    assert len(fading.asked) <= 30, "24 faces and a bisection"
    seen = person.Followed(10 * np.arange(0, 150, 6), boxes[:150:6])
    said = reasons(
        seen, choose_crop(boxes[:60], SIZE, SCALE), SIZE, 10 * np.arange(150), boxes, np.array(starts), fading
    )
    assert not said[: starts[1]].any() and (said[starts[1] :] == SOMEBODY_ELSE).all()


def test_only_tracks_whose_faces_differ_are_looked_into_and_one_odd_face_is_nobody():
    boxes, fading = np.array([box(LEFT)] * 60), Fading()
    assert fading.parted(range(0, 60, 10), boxes) == [0] and not fading.asked
    assert Fading(odd=[20]).parted(range(0, 60, 10), boxes) == [0]
    fading = Fading()
    assert fading.parted([0, 20, 100, 140], np.array([box(LEFT)] * 150), [0, 75]) == [0, 75] and not fading.asked


def test_one_track_without_a_choice_is_kept_and_nobody_is_asked():
    boxes = np.array([box(LEFT)] * 10)
    seen, looks = person.Followed(np.arange(10), boxes), Looks(lambda *_: "a")
    said = reasons(seen, choose_crop(boxes, SIZE, SCALE), SIZE, np.arange(10), boxes, np.array([0]), looks)
    assert not said.any() and looks.asked == 0


def test_faces_that_were_seen_before_are_not_read_again(monkeypatch):
    class Source:
        def read(self, numbers):
            assert numbers == [7]
            yield 7, 0.0, np.full((200, 200, 3), 70, np.uint8)

    monkeypatch.setattr(person, "FaceDescriptor", lambda: lambda chip: np.full(128, chip.mean(), np.float32))
    looks, face = person.Looks(Source()), np.array([20.0, 20, 120, 140])
    looks.remember(5, np.full((200, 200, 3), 50, np.uint8), face[None])
    assert looks([(5, face), (7, face), (5, face)])[:, 0].tolist() == [50, 70, 50]
