"""MEAD (Wang et al., "MEAD: a large-scale audio-visual dataset for emotional talking-face generation", ECCV 2020).

The official tree is `<actor>/video/<view>/<emotion>/level_<n>/<take>.mp4`, their videos packed as `video.tar`. Some
actors have a level more (`video/1/front/...`), and copies are often flat (`M030_front_angry_level_1_001.mp4`). So what
a video shows is read off the words of its path, in whichever order; of two, the one nearer to the file counts. A clip's
name keeps it:

    <view>_<emotion>_level_<n>_<take>[_part_<p>]        front_angry_level_1_001
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from selfieavatar.errors import UserError
from selfieavatar.io.files import atomic_file

VIEWS = ("front", "down", "top", "left_30", "left_60", "right_30", "right_60")
EMOTIONS = ("angry", "contempt", "disgusted", "fear", "happy", "neutral", "sad", "surprised")
LEVELS = ("1", "2", "3")
_VIEW = re.compile(rf"(?<![a-z])({'|'.join(VIEWS)})(?![a-z0-9])")
_ALSO = {"disgust": "disgusted", "surprise": "surprised"}  # how some copies call an emotion
_EMOTION = re.compile(rf"(?<![a-z])({'|'.join((*EMOTIONS, *_ALSO))})(?![a-z])")
_LEVEL = re.compile(r"(?<![a-z])level_?([123])(?!\d)")
_BARE_LEVEL = re.compile(rf"{_EMOTION.pattern}[_/]([123])(?=[_/])")  # of copies without the word: angry_1_001
_ACTOR = re.compile(r"(?<![A-Za-z0-9])([MW]\d{3})(?![A-Za-z0-9])")
_TAKE = re.compile(r"(?:^|_)(\d{1,5})$")
_PART = re.compile(r"(?:^|/)(\d{1,2})/")
_NAME = re.compile(
    rf"(?P<view>{'|'.join(VIEWS)})_(?P<emotion>{'|'.join(EMOTIONS)})_level_(?P<level>[123])_(?P<take>\d+)(?:_part_\d+)?"
)
_VIDEOS = (".mp4", ".mov", ".avi", ".mkv")
_PACKED = (".tar.gz", ".tgz", ".zip", ".7z", ".rar")  # otherwise than by the authors
_DEEPEST = 8  # folders below the given one
_LARGEST = 4 << 30  # bytes of one video


@dataclass(frozen=True, order=True)
class Take:
    """One video: who, from where, showing what; `path` of the video, or of the archive that holds it as `member`."""

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
        """Name of the clip in the sheet."""
        part = f"_part_{self.part}" if self.part else ""
        return f"{self.view}_{self.emotion}_level_{self.level}_{self.number}{part}"

    @property
    def unpacked(self) -> PurePosixPath:
        """Where the video lies in the official tree, made of what we know of it, never of an archive's own words."""
        place = PurePosixPath(self.actor, "video", self.part, self.view, self.emotion, f"level_{self.level}")
        return place / f"{self.number}{PurePosixPath(self.member).suffix.lower()}"


def clip_labels(clip: str) -> dict[str, str]:
    """{"view", "emotion", "level", "take"} of a clip's name; empty where the name is none of `Take.clip`."""
    found = _NAME.fullmatch(clip)
    return found.groupdict() if found else {}


def read_path(path: str, actor: str = "") -> Take | None:
    """What the words of a video's path say, None where they do not say everything; `actor` if the path does not say."""
    said = _said(path, actor)
    return Take(**said, part=_part(path), path=Path(path)) if all(said.values()) else None


def _said(path: str, actor: str) -> dict[str, str]:
    """actor, view, emotion, level and number of a video by the words of its path, each the last one; else empty."""
    stem = path.rpartition(".")[0]
    low, name = stem.lower(), stem.rpartition("/")[2]
    levels = _LEVEL.findall(low) or [level for _, level in _BARE_LEVEL.findall(low)]
    emotion = (_EMOTION.findall(low) or [""])[-1]
    return {
        "actor": (_ACTOR.findall(stem.replace("_", "/")) or [actor])[-1],
        "view": (_VIEW.findall(low) or [""])[-1],
        "emotion": _ALSO.get(emotion, emotion),
        "level": (levels or [""])[-1],
        "number": (_TAKE.findall(name) or [""])[-1],
    }


def _part(path: str) -> str:
    """The level more of some actors, which stands behind the actor's folder or `video`."""
    stem = path.rpartition(".")[0].lower()
    stem = stem if _LEVEL.search(stem) else _BARE_LEVEL.sub(r"\1", stem)
    part = _PART.search(re.split(r"(?:[mw]\d{3}|video)/", stem)[-1])
    return part[1] if part else ""


def find_takes(folder: Path, packed: bool = True) -> tuple[list[Take], list[str]]:
    """All videos below a folder, loose or in `.tar` archives, sorted, and what was left out, with the reason of each.

    A video that lies there both loose and packed counts once, loose.

    Raises:
        UserError: no such folder, a damaged or a hostile archive, or two videos that say the same.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give MEAD's folder, or that of one actor")
    owner = next((part for part in reversed(folder.absolute().parts) if re.fullmatch(r"[MW]\d{3}", part)), "")
    found: dict[tuple[str, str], Take] = {}
    left_out = []
    for path, member in _videos(folder, packed):
        inside = path.relative_to(folder).as_posix()
        words = f"{inside.rpartition('/')[0]}/{member}".lstrip("/") if member else inside
        take = read_path(words, owner)
        if not member and (unread := _unread(path)):
            left_out.append(f"{inside} {unread}")
            continue
        if take is None:
            missing = ", ".join(name for name, value in _said(words, owner).items() if not value)
            left_out.append(f"{words} does not say: {missing.replace('number', 'number of the take')}")
            continue
        take = replace(take, path=path, member=member)
        before = found.setdefault((take.actor, take.clip), take)
        if before is not take and bool(before.member) == bool(member):
            raise UserError(
                f"{before.path} and {path}{':' + member if member else ''} both say that they are {take.actor}'s "
                f"{take.clip}; move one of them elsewhere"
            )
        if before.member and not member:
            found[take.actor, take.clip] = take
    return sorted(found.values()), left_out


def _unread(path: Path) -> str:
    """Why a file is no video by itself; empty where it is one."""
    low = path.name.lower()
    if low.endswith(_PACKED):
        return "is packed otherwise than as .tar; unpack it"
    if low.endswith(".tar"):
        return "holds no videos"
    return "" if path.is_file() else "is a link that leads to no file"


def _videos(folder: Path, packed: bool) -> Iterator[tuple[Path, str]]:
    """(video, "") and (archive, member) below a folder, and (archive, "") of those without a video or of other kinds;
    links to folders are not followed."""
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
    """Names of the videos in an archive.

    Raises:
        UserError: it is damaged, or holds what no data set needs: links, devices, absolute paths or `..`.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            entries = tar.getmembers()
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:  # OSError: sizes below 0 lead out of it
        raise UserError(f"{archive} is no readable .tar archive ({error}); download it again") from error
    for entry in entries:
        place = PurePosixPath(entry.name)
        plain = entry.isdir() or entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if not plain or place.is_absolute() or ".." in place.parts or not 0 <= entry.size <= _LARGEST:
            raise UserError(
                f"{archive} holds '{entry.name[:80]}', a link, device, path out of the archive or file above 4 GB: it "
                "is not MEAD's own; download it again from the authors"
            )
    videos = (entry.name for entry in entries if entry.isreg() and entry.name.lower().endswith(_VIDEOS))
    return [name for name in videos if not PurePosixPath(name).name.startswith(".")]


def choose(
    takes: Iterable[Take], actors: Collection[str], views: Collection[str], emotions: Collection[str],
    levels: Collection[str],
) -> list[Take]:  # fmt: skip
    """The takes of these actors (none named: of all), views, emotions and levels.

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


def tested(takes: Collection[Take], share: float, seed: int) -> set[Take]:
    """The takes to measure on: about `share` of each actor's videos from each view, spread over the emotions.

    Which, is drawn by a digest of seed, actor and clip: the same on every machine. At least one of two.
    """
    result: set[Take] = set()
    for actor, view in sorted({(take.actor, take.view) for take in takes}):
        own = [take for take in takes if (take.actor, take.view) == (actor, view)]
        count = min(max(round(share * len(own)), 1), len(own) - 1) if share > 0 else 0
        drawn = sorted(own, key=lambda take: hashlib.blake2b(f"{seed}/{take.actor}/{take.clip}".encode()).digest())
        rank = {take: [one for one in drawn if one.emotion == take.emotion].index(take) for take in drawn}
        result.update(sorted(drawn, key=rank.get)[:count])  # the first drawn of each emotion before the second
    return result


def unpack(archive: Path, takes: Iterable[Take], folder: Path) -> dict[Take, Path]:
    """Copy videos of one archive to their places of the official tree below `folder`; returns these places.

    What lies there already, of the same size, stays.

    Raises:
        UserError: the archive ends too early.
    """
    places = {take: folder / take.unpacked for take in takes}
    with tarfile.open(archive, "r:") as tar:
        for take, place in places.items():
            entry = tar.getmember(take.member)
            if place.is_file() and place.stat().st_size == entry.size:
                continue
            with atomic_file(place) as temporary, temporary.open("wb") as out, tar.extractfile(entry) as video:
                try:
                    shutil.copyfileobj(video, out)
                except tarfile.TarError as error:
                    raise UserError(f"{archive} ends within '{take.member}' ({error}); download it again") from error
                if out.tell() != entry.size:
                    raise UserError(f"{archive} ends within '{take.member}'; download it again")
    return places


def unpack_all(takes: Iterable[Take], folder: Path, chosen: Path | None = None) -> dict[Take, Path]:
    """Where each video lies, packed ones after `unpack`: below `chosen`, else in the folder that holds the actor's,
    else below `folder`.
    """
    places = {take: take.path for take in takes if not take.member}
    packed: dict[Path, list[Take]] = {}
    for take in takes:
        if take.member:
            packed.setdefault(take.path, []).append(take)
    for archive, inside in packed.items():
        owner = next((above for above in archive.parents if above.name == inside[0].actor), None)
        places |= unpack(archive, inside, chosen or (owner.parent if owner else folder))
    return places
