"""Test MEAD's folders and archives: labels of paths, selection, and hostile archives."""

import io
import tarfile

import pytest

from selfieavatar.errors import UserError
from selfieavatar.interop.datasets import mead
from tests.interop.datasets.makers import encode_clip

OFFICIAL = "M003/video/front/angry/level_1/001.mp4"


@pytest.mark.parametrize(
    ("path", "actor", "clip"),
    [
        (OFFICIAL, "M003", "front_angry_level_1_001"),
        ("W021/video/2/left_30/surprised/level_3/030.mp4", "W021", "left_30_surprised_level_3_030_part_2"),
        ("W021/video/front/1/sad/level_2/004.mp4", "W021", "front_sad_level_2_004_part_1"),
        ("M030_front_neutral_level_1_012.mp4", "M030", "front_neutral_level_1_012"),
        ("M030/right_60_disgusted_level_2_007.MP4", "M030", "right_60_disgusted_level_2_007"),
        ("M003/neutral/x/happy/level_1/front/004.mp4", "M003", "front_happy_level_1_004"),  # the nearer word
        ("M003_front_angry_1_001.mp4", "M003", "front_angry_level_1_001"),
        ("M003/front/happy/3/002.mp4", "M003", "front_happy_level_3_002"),
        ("W021/video/2/front/Surprise/Level_1/1.mp4", "W021", "front_surprised_level_1_1_part_2"),
        ("M003/video/front/disgust/level_1/001.mp4", "M003", "front_disgusted_level_1_001"),
        ("m003/video/front/angry/level_1/001.mp4", "M003", "front_angry_level_1_001"),
        ("m003_Front_ang_3_001.WEBM", "M003", "front_angry_level_3_001"),
        ("M003/left_30/con/2/004.mp4", "M003", "left_30_contempt_level_2_004"),
        ("W009_top_dis_1_001.m4v", "W009", "top_disgusted_level_1_001"),
        ("M003/front/sadness/level_2/001.mp4", "M003", "front_sad_level_2_001"),
        ("happy faces/M005/video/top/happy/level_2/003.mp4", "M005", "top_happy_level_2_003"),
    ],
)
def test_paths(path, actor, clip):
    take = mead.read_path(path)
    assert (take.actor, take.clip) == (actor, clip)
    assert mead.clip_labels(clip) == {
        "view": take.view, "emotion": take.emotion, "level": take.level, "take": take.number,
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["M003/video/front/angry/001.mp4", "video/front/angry/level_1/001.mp4", "M003/front/level_1/001.mp4",
             "M003/video/front/angry/level_4/001.mp4", "M003/video/front/angry/level_1/all.mp4"],
)  # fmt: skip
def test_paths_that_do_not_say_everything(path):
    assert mead.read_path(path) is None


def test_what_no_path_says_is_assumed(tmp_path):
    """Copies leave out what is the same in all of their videos; what a path says counts."""
    (tmp_path / "m003/angry/level_3").mkdir(parents=True)
    for path in ("M003_ang_3_001.mp4", "m003/angry/level_3/002.webm", "M003_left_30_hap_1_003.mp4"):
        (tmp_path / path).touch()
    takes, left_out = mead.find_takes(tmp_path)
    assert [take.clip for take in takes] == ["left_30_happy_level_1_003"] and sorted(left_out) == [
        "M003_ang_3_001.mp4 does not name: view; say it by --assume-view",
        "m003/angry/level_3/002.webm does not name: view; say it by --assume-view",
    ]
    takes, left_out = mead.find_takes(tmp_path, assumed={"view": "front"})
    assert [take.clip for take in takes] == [
        "front_angry_level_3_001", "front_angry_level_3_002", "left_30_happy_level_1_003",
    ] and not left_out  # fmt: skip
    take = mead.read_path("happy/7.mp4", {"actor": "W009", "view": "front", "emotion": "sad", "level": "1"})
    assert (take.actor, take.clip) == ("W009", "front_happy_level_1_7")


@pytest.mark.parametrize("name", ["talk", "front_angry_level_1", "front_angry_level_9_001", "front_glad_level_1_001"])
def test_other_names_have_no_labels(name):
    assert mead.clip_labels(name) == {}


def archive(path, names, kinds=()):
    """Write a .tar with a byte string for each name, and entries of other types."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate(names):
            entry = tarfile.TarInfo(name)
            entry.size = 1000 + number
            tar.addfile(entry, io.BytesIO(bytes([number]) * entry.size))
        for name, kind, target in kinds:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
    return path


def test_loose_and_packed_videos_of_a_folder(tmp_path):
    encode_clip(tmp_path / OFFICIAL)
    encode_clip(tmp_path / "M003/video/front/odd/x.mp4")
    names = ["angry/level_1/001.mp4", "sad/level_2/002.mp4", "sad/level_2/._003.mp4"]
    names = [f"video/front/{name}" for name in names]
    archive(tmp_path / "M003/video.tar", names)
    archive(tmp_path / "M003/audio.tar", ["audio/angry/level_1/001.m4a"])
    takes, left_out = mead.find_takes(tmp_path)
    assert [(take.clip, bool(take.member)) for take in takes] == [
        ("front_angry_level_1_001", False), ("front_sad_level_2_002", True),
    ]  # fmt: skip
    assert left_out == ["M003/video/front/odd/x.mp4 does not name: emotion, level, number of the take"]
    assert [take.actor for take in mead.find_takes(tmp_path / "M003" / "video")[0]] == ["M003"]


def test_unpacked_videos_lie_in_the_official_tree(tmp_path):
    path = archive(tmp_path / "M003/video.tar", ["x/front_happy/level_3/M003_009.mp4", OFFICIAL])
    takes, _ = mead.find_takes(tmp_path)
    places = mead.unpack_all(takes, tmp_path)
    assert sorted(place.relative_to(tmp_path).as_posix() for place in places.values()) == [
        OFFICIAL, "M003/video/front/happy/level_3/009.mp4",
    ]  # fmt: skip
    happy = next(place for place in places.values() if "happy" in str(place))
    assert happy.read_bytes() == bytes([0]) * 1000
    before = happy.stat().st_mtime_ns
    assert mead.unpack(path, [take for take in takes if take.emotion == "happy"], tmp_path)
    assert happy.stat().st_mtime_ns == before
    again, _ = mead.find_takes(tmp_path)
    assert len(again) == 2 and not any(take.member for take in again)
    other = mead.unpack_all(takes, tmp_path, tmp_path / "elsewhere")
    assert all(place.is_relative_to(tmp_path / "elsewhere") for place in other.values())


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["../../M003/video/front/angry/level_1/001.mp4"], ()),
        (["/tmp/M003/video/front/angry/level_1/001.mp4"], ()),
        ([OFFICIAL], [("M003/video/front/angry/level_1/002.mp4", tarfile.SYMTYPE, "/etc/passwd")]),
        ([OFFICIAL], [("M003/video/front/angry/level_1/002.mp4", tarfile.LNKTYPE, "../../../x")]),
        ([OFFICIAL], [("M003/video/front/angry/level_1/002.mp4", tarfile.CHRTYPE, "")]),
        ([OFFICIAL], [("pipe", tarfile.FIFOTYPE, "")]),
    ],
)
def test_hostile_archives_are_refused(tmp_path, names, kinds):
    archive(tmp_path / "M003/video.tar", names, kinds)
    with pytest.raises(UserError, match="download it again from the authors"):
        mead.find_takes(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["M003", "video.tar"]


def test_an_archive_writes_no_more_than_it_holds(tmp_path):
    """A sparse file of 200 MB takes 10 kB of an archive."""
    path = tmp_path / "M003/video.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("M003/video/front/angry/level_1/GNUSparseFile.0/001.mp4")
        entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": OFFICIAL,
                             "GNU.sparse.realsize": str(200 << 20)}  # fmt: skip
        content = b"1\n0\n1\n".ljust(512, b"\0") + b"x"
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    with tarfile.open(path) as tar:
        assert tar.getmembers()[0].size == 200 << 20
    with pytest.raises(UserError, match="sparse file"):
        mead.find_takes(tmp_path)


def test_nothing_is_unpacked_through_a_link(tmp_path):
    archive(tmp_path / "data/M003/video.tar", ["front_angry_1_001.mp4"])
    (tmp_path / "other").mkdir()
    (tmp_path / "data/M003/video").symlink_to(tmp_path / "other")
    takes, _ = mead.find_takes(tmp_path / "data")
    with pytest.raises(UserError, match="data/M003/video is a link, through which no archive is unpacked"):
        mead.unpack_all(takes, tmp_path / "data")
    (tmp_path / "free").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "free")
    place = tmp_path / "named/M003/video/front/angry/level_1"
    place.mkdir(parents=True)
    place.joinpath(".001.part.mp4").symlink_to(tmp_path / "other/x.mp4")
    place.joinpath("001.mp4").symlink_to(tmp_path / "other/y.mp4")
    assert mead.unpack_all(takes, tmp_path / "data", tmp_path / "named")[takes[0]].stat().st_size == 1000
    assert not list((tmp_path / "other").iterdir())
    (tmp_path / "M003").symlink_to(tmp_path / "data/M003")  # what the user names may be a link
    (tmp_path / "data/M003/video").unlink()
    takes, _ = mead.find_takes(tmp_path / "M003")
    assert mead.unpack_all(takes, tmp_path / "M003")[takes[0]].is_file()


def test_damaged_archives_are_refused(tmp_path):
    path = archive(tmp_path / "M003/video.tar", [OFFICIAL])
    whole = path.read_bytes()
    for content in (b"no archive at all", whole[:900]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="video.tar .*download it again"):
            mead.unpack_all(mead.find_takes(tmp_path)[0], tmp_path)
    assert not list(tmp_path.rglob("*.mp4"))


def test_sizes_below_zero_are_refused(tmp_path):
    path = archive(tmp_path / "M003/video.tar", [OFFICIAL])
    head = bytearray(path.read_bytes()[:512])
    head[124:136], head[148:156] = b"\xff" + ((1 << 88) - 1024).to_bytes(11, "big"), b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    path.write_bytes(bytes(head) + bytes(1024))
    with pytest.raises(UserError, match="video.tar .*download it again"):
        mead.find_takes(tmp_path)


def test_files_other_than_videos_are_reported(tmp_path):
    encode_clip(tmp_path / OFFICIAL)
    (tmp_path / "M003/video.tar").write_bytes(bytes(10240))
    (tmp_path / "M003/more.tar.gz").touch()
    (tmp_path / OFFICIAL).with_name("002.mp4").symlink_to("gone.mp4")
    takes, left_out = mead.find_takes(tmp_path)
    assert [take.number for take in takes] == ["001"] and sorted(left_out) == [
        "M003/more.tar.gz is not packed as .tar; unpack it",
        "M003/video.tar holds no videos",
        "M003/video/front/angry/level_1/002.mp4 is a link that leads to no file",
    ]


def test_two_videos_that_say_the_same_are_refused(tmp_path):
    encode_clip(tmp_path / "a" / OFFICIAL)
    encode_clip(tmp_path / "b" / OFFICIAL)
    with pytest.raises(UserError, match="are both named"):
        mead.find_takes(tmp_path)


def takes_of(actor, count=5):
    return [mead.read_path(f"{actor}/video/front/{emotion}/level_{level}/{number:03d}.mp4")
            for emotion in mead.EMOTIONS for level in (1, 2) for number in range(count)]  # fmt: skip


def test_split_by_whole_clips_is_the_same_everywhere_and_follows_the_seed():
    takes = takes_of("M003") + takes_of("W009")
    first, again, other = (
        mead.draw_test_split(takes, 0.2, 1),
        mead.draw_test_split(takes[::-1], 0.2, 1),
        mead.draw_test_split(takes, 0.2, 2),
    )
    assert first == again != other
    for actor in ("M003", "W009"):
        own = [take for take in first if take.actor == actor]
        assert len(own) == 16  # of 80
        assert {emotion: sum(take.emotion == emotion for take in own) for emotion in mead.EMOTIONS} == dict.fromkeys(
            mead.EMOTIONS, 2
        )
    assert not mead.draw_test_split(takes, 0, 1)
    assert len(mead.draw_test_split(takes[:2], 0.2, 1)) == 1 and not mead.draw_test_split(takes[:1], 0.2, 1)


def test_choice():
    takes = takes_of("M003", 1) + takes_of("W009", 1)
    chosen = mead.choose(takes, ["W009"], ["front"], ["sad", "happy"], ["2"])
    assert [take.clip for take in chosen] == ["front_happy_level_2_000", "front_sad_level_2_000"]
    assert {take.actor for take in chosen} == {"W009"}
    with pytest.raises(UserError, match="no video of M004 here; there are: M003, W009"):
        mead.choose(takes, ["M004"], ["front"], ["sad"], ["1"])
