"""Find MEAD's videos (Wang et al., "MEAD: a large-scale audio-visual dataset for emotional talking-face generation").

ECCV 2020. The official tree is `<actor>/video/<view>/<emotion>/level_<n>/<take>.mp4`, packed as `video.tar`. Some
actors have one folder more (`video/1/front/...`), and copies are often flat (`M030_front_angry_level_1_001.mp4`) or
short (`m030_ang_1_001.webm`). So the labels are parsed from the words of the path in any order; of two, the one nearer
to the file counts, and what no word says may be assumed. They name the clip:

    <view>_<emotion>_level_<n>_<take>[_part_<p>]        front_angry_level_1_001
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_file

VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
EMOTIONS = ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
LEVELS = ("1", "2", "3")
_VIEW = re.compile(rf"(?<![a-z])({'|'.join(VIEWS)})(?![a-z0-9])")
_ALSO = {name[:3]: name for name in EMOTIONS if name != "sad"} | {
    "anger": "angry", "disgust": "disgusted", "fearful": "fear", "happiness": "happy", "sadness": "sad",
    "surprise": "surprised",
}  # fmt: skip  # names of emotions in some copies
_EMOTION = re.compile(rf"(?<![a-z])({'|'.join((*EMOTIONS, *_ALSO))})(?![a-z])")
_LEVEL = re.compile(r"(?<![a-z])level_?([123])(?!\d)")
_BARE_LEVEL = re.compile(rf"{_EMOTION.pattern}[_/]([123])(?=[_/])")  # of copies without the word: angry_1_001
_ACTOR = re.compile(r"(?<![a-z0-9])([mw]\d{3})(?![a-z0-9])")
_TAKE = re.compile(r"(?:^|_)(\d{1,5})$")
_PART = re.compile(r"(?:^|/)(\d{1,2})/")
_NAME = re.compile(
    rf"(?P<view>{'|'.join(VIEWS)})_(?P<emotion>{'|'.join(EMOTIONS)})_level_(?P<level>[123])_(?P<take>\d+)(?:_part_\d+)?"
)
_VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
_PACKED = (".tar.gz", ".tgz", ".zip", ".7z", ".rar")  # the authors pack as .tar
_DEEPEST = 8  # levels of folders
_LARGEST = 4 << 30  # bytes of one video
ASSUMABLE = ("actor", "view", "emotion", "level")  # what all videos of a copy may have alike, so that no path says it
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, order=True)
class Take:
    """Hold the labels of one video, and `path` of the video, or of the archive that has it as `member`."""

    actor: str
    view: str
    emotion: str
    level: str
    number: str
    part: str
    path: Path
    member: str = ""

    @property
    def clip(self) -> str:
        """Name the clip in the sheet."""
        part = f"_part_{self.part}" if self.part else ""
        return f"{self.view}_{self.emotion}_level_{self.level}_{self.number}{part}"

    @property
    def unpacked(self) -> PurePosixPath:
        """Build the path in the official tree from the labels, since names in an archive may be hostile."""
        place = PurePosixPath(self.actor, "video", self.part, self.view, self.emotion, f"level_{self.level}")
        return place / f"{self.number}{PurePosixPath(self.member).suffix.lower()}"


def clip_labels(clip: str) -> dict[str, str]:
    """Parse {"view", "emotion", "level", "take"} from a clip's name; empty for a name that is not of `Take.clip`."""
    found = _NAME.fullmatch(clip)
    return found.groupdict() if found else {}


def is_actor(name: str) -> bool:
    """Tell whether MEAD could have an actor of that name."""
    return bool(_ACTOR.fullmatch(name.lower()))


def read_path(path: str, assumed: Mapping[str, str] = NOTHING) -> Take | None:
    """Parse the labels of a video's path, those that it does not say from `assumed`; None where one is missing."""
    labels = _labels(path, assumed)
    return Take(**labels, part=_part(path), path=Path(path)) if all(labels.values()) else None


def _labels(path: str, assumed: Mapping[str, str]) -> dict[str, str]:
    """Parse actor, view, emotion, level and number from the words of a path, each the last one; else as assumed."""
    stem = path.rpartition(".")[0]
    low, name = stem.lower(), stem.rpartition("/")[2]
    levels = _LEVEL.findall(low) or [level for _, level in _BARE_LEVEL.findall(low)]
    emotion = (_EMOTION.findall(low) or [""])[-1]
    found = {
        "actor": (_ACTOR.findall(low.replace("_", "/")) or [""])[-1].upper(),
        "view": (_VIEW.findall(low) or [""])[-1],
        "emotion": _ALSO.get(emotion, emotion),
        "level": (levels or [""])[-1],
        "number": (_TAKE.findall(name) or [""])[-1],
    }
    return {label: said or assumed.get(label, "") for label, said in found.items()}


def _part(path: str) -> str:
    """Parse the folder that some actors have below their own or `video`."""
    stem = path.rpartition(".")[0].lower()
    stem = stem if _LEVEL.search(stem) else _BARE_LEVEL.sub(r"\1", stem)
    part = _PART.search(re.split(r"(?:[mw]\d{3}|video)/", stem)[-1])
    return part[1] if part else ""


def find_takes(folder: Path, packed: bool = True, assumed: Mapping[str, str] = NOTHING) -> tuple[list[Take], list[str]]:
    """Find all videos below a folder, loose or in `.tar` archives; returns them sorted, and reasons of those left out.

    A video that is there both loose and packed counts once, loose. `assumed` has values of `ASSUMABLE` for videos whose
    path does not say them.

    Raises:
        UserError: there is no such folder, a damaged or hostile archive, or two videos with the same labels.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name MEAD's folder, or that of one actor")
    owner = next((part.upper() for part in reversed(folder.absolute().parts) if _ACTOR.fullmatch(part.lower())), "")
    assumed = {"actor": owner, **assumed}
    found: dict[tuple[str, str], Take] = {}
    left_out = []
    for path, member in _videos(folder, packed):
        inside = path.relative_to(folder).as_posix()
        words = f"{inside.rpartition('/')[0]}/{member}".lstrip("/") if member else inside
        take = read_path(words, assumed)
        if not member and (unread := _unread(path)):
            left_out.append(f"{inside} {unread}")
            continue
        if take is None:
            missing = [name for name, value in _labels(words, assumed).items() if not value]
            options = " and ".join(f"--assume-{name}" for name in missing if name in ASSUMABLE)
            said = f"{words} does not name: {', '.join(missing).replace('number', 'number of the take')}"
            left_out.append(said + (f"; say it by {options}" if options and "number" not in missing else ""))
            continue
        take = replace(take, path=path, member=member)
        before = found.setdefault((take.actor, take.clip), take)
        if before is not take and bool(before.member) == bool(member):
            raise UserError(
                f"{before.path} and {path}{':' + member if member else ''} are both named {take.actor}'s {take.clip}; "
                "move one of them elsewhere"
            )
        if before.member and not member:
            found[take.actor, take.clip] = take
    return sorted(found.values()), left_out


def _unread(path: Path) -> str:
    """Explain why a file is not a loose video; empty where it is one."""
    low = path.name.lower()
    if low.endswith(_PACKED):
        return "is not packed as .tar; unpack it"
    if low.endswith(".tar"):
        return "holds no videos"
    return "" if path.is_file() else "is a link that leads to no file"


def _videos(folder: Path, packed: bool) -> Iterator[tuple[Path, str]]:
    """Yield (video, "") and (archive, member) below a folder, and (archive, "") of archives that have none.

    Links to folders are ignored.
    """
    archives = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(place).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith("."):
                continue
            low = name.lower()
            if low.endswith(_VIDEOS) or (packed and low.endswith(_PACKED) and "audio" not in low):
                yield path, ""
            elif packed and low.endswith(".tar") and "audio" not in low:
                archives.append(path)
    for path in archives:
        yield from ((path, member) for member in members(path) or [""])


def members(archive: Path) -> list[str]:
    """List the videos in an archive.

    Raises:
        UserError: it is damaged, or has links, devices, sparse files, absolute paths or `..`.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            entries = tar.getmembers()
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:  # OSError: seeks by negative sizes
        raise UserError(f"{archive} is not a readable .tar archive ({error}); download it again") from error
    for entry in entries:
        place = PurePosixPath(entry.name)
        # A sparse file is larger than what the archive holds of it; the others are at most that.
        plain = entry.isdir() or (entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not entry.issparse())
        if not plain or place.is_absolute() or ".." in place.parts or not 0 <= entry.size <= _LARGEST:
            raise UserError(
                f"{archive} has {entry.name[:80]!r}, a link, device, sparse file, path out of the archive or file "
                "above 4 GB, as no archive of MEAD has; download it again from the authors"
            )
    videos = (entry.name for entry in entries if entry.isreg() and entry.name.lower().endswith(_VIDEOS))
    return [name for name in videos if not PurePosixPath(name).name.startswith(".")]


def choose(
    takes: Iterable[Take], actors: Collection[str], views: Collection[str], emotions: Collection[str],
    levels: Collection[str],
) -> list[Take]:  # fmt: skip
    """Select the takes of these actors (of all, where none is named), views, emotions and levels.

    Raises:
        UserError: an actor has no video here.
    """
    takes = list(takes)
    absent = sorted(set(actors) - {take.actor for take in takes})
    if absent:
        have = ", ".join(sorted({take.actor for take in takes})) or "nobody"
        raise UserError(f"there is no video of {', '.join(absent)} here; there are: {have}")
    return [
        take for take in takes
        if take.actor in (actors or {take.actor}) and take.view in views and take.emotion in emotions
        and take.level in levels
    ]  # fmt: skip


def draw_test_split(takes: Collection[Take], share: float, seed: int) -> set[Take]:
    """Draw the takes to test on: about `share` of each actor's videos from each view, stratified by emotion.

    The draw sorts digests of seed, actor and clip, so it is the same on every machine. It takes at least one of two.
    """
    result: set[Take] = set()
    for actor, view in sorted({(take.actor, take.view) for take in takes}):
        own = [take for take in takes if (take.actor, take.view) == (actor, view)]
        count = min(max(round(share * len(own)), 1), len(own) - 1) if share > 0 else 0
        drawn = sorted(own, key=lambda take: hashlib.blake2b(f"{seed}/{take.actor}/{take.clip}".encode()).digest())
        rank = {take: [one for one in drawn if one.emotion == take.emotion].index(take) for take in drawn}
        result.update(sorted(drawn, key=rank.__getitem__)[:count])  # the first drawn of each emotion before the second
    return result


def unpack(archive: Path, takes: Iterable[Take], folder: Path, named: Path | None = None) -> dict[Take, Path]:
    """Extract videos of one archive to their paths of the official tree below `folder`; returns these paths.

    A file of the same size that is there already is kept. No folder below `folder` may be a link but for the one that
    the user `named`.

    Raises:
        UserError: the archive is truncated, or a folder on the way is a link.
    """
    places = {take: folder / take.unpacked for take in takes}
    named = (named or folder).absolute()
    for above in {above for place in places.values() for above in place.parents if above.is_relative_to(folder)}:
        if above.is_symlink() and not named.is_relative_to(above.absolute()):
            raise UserError(f"{above} is a link, through which no archive is unpacked; name another folder by --unpack")
    with tarfile.open(archive, "r:") as tar:
        for take, place in places.items():
            entry = tar.getmember(take.member)
            if place.is_file() and place.stat().st_size == entry.size:
                continue
            with atomic_file(place) as temporary, _new(temporary) as out:
                try:
                    shutil.copyfileobj(tar.extractfile(entry) or io.BytesIO(), out)
                except tarfile.TarError as error:
                    raise UserError(f"{archive} ends within '{take.member}' ({error}); download it again") from error
                if out.tell() != entry.size:
                    raise UserError(f"{archive} ends within '{take.member}'; download it again")
    return places


def _new(path: Path) -> BinaryIO:
    """Open a new file, where a link may lie."""
    path.unlink(missing_ok=True)
    return path.open("xb")


def unpack_all(takes: Iterable[Take], folder: Path, chosen: Path | None = None) -> dict[Take, Path]:
    """Unpack the packed videos and return the path of each.

    They go below `chosen`, else below the folder that has the actor's, else below `folder`.
    """
    places = {take: take.path for take in takes if not take.member}
    packed: dict[Path, list[Take]] = {}
    for take in takes:
        if take.member:
            packed.setdefault(take.path, []).append(take)
    for archive, inside in packed.items():
        owner = next((above for above in archive.parents if above.name.upper() == inside[0].actor), None)
        places |= unpack(archive, inside, chosen or (owner.parent if owner else folder), chosen or folder)
    return places
