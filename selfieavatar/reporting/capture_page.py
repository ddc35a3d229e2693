"""The page capture.html as text: verdict first, then what to record again, the checks, images and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from selfieavatar.reporting import page

STYLE = """td, th, .checks td { text-align: left; vertical-align: top; white-space: normal } table { width: 100% }
.checks td:nth-child(3) { white-space: nowrap }
small { display: block } .good, .thin, .missing, .unknown { font-weight: 600; border-left: .5em solid }
.good { color: #1d6b3f } .thin { color: #8a5a00 } .missing { color: #a8202f } .unknown { color: #555 }
.sum { font-size: 1.15em; padding: .3em .7em } .wide img { max-width: none; width: 880px }
.row figure { flex: none; width: 9em } .plots img { width: 432px }
@media (max-width: 40em) { .checks td { border-bottom: 0 } .checks td:first-child { grid-column: 1 / -1 }
.checks tr { display: grid; grid-template-columns: 2fr 1fr 1fr; border-bottom: 1px solid #ddd }
.checks tr:first-child { display: none } }
"""
MARKS = {"good": "\u2713", "thin": "\u2248", "missing": "\u2717", "unknown": "?"}
HELD_OUT = (
    "The last $count frames are not judged: they are held out (a gap, then those to measure the avatar on), and "
    "training never sees them. With a second recording of role test, all of this one counts."
)
MEANING = (
    "Good: it suffices. Thin: it works, with flaws that will be seen. Missing: the avatar needs it, and it is not "
    "there. The footage was measured at the size trained at, $size_px&nbsp;px."
)
CLIPS = "Shares are of all frames of a clip, whatever they are for: the lost ones are those of tracking.html."
CLIP_COLUMNS = (
    ("frames", "frames", 0), ("seconds", "s", 1), ("face_source_px", "face, px of the video", 0),
    ("blurred", "blurred, %", 0), ("exposure", "white or black, %", 1), ("lost", "lost, %", 0),
    ("doubtful", "doubtful, %", 0), ("cut", "cut, %", 0), ("frame_rate", "frames/s", 0), ("camera", "camera, %", 1),
)  # fmt: skip


class Image(NamedTuple):
    """An image with its caption; kind: "png" or "jpeg"."""

    caption: str
    data: bytes
    kind: str = "png"

    def image(self) -> page.Html:
        """The image alone."""
        return page.image(self.data, self.caption, self.kind)


def capture_page(
    report: Mapping[str, Any], maps: Sequence[Image], thumbnails: Sequence[Image], curves: Sequence[Image]
) -> str:
    """HTML of the page.

    report: what capture.json holds. maps: of head and sharpness. thumbnails: frames. curves: one for each clip.
    """
    trained = {name: clip for name, clip in report["clips"].items() if clip["role"] == "train"}
    tested = {name: clip for name, clip in report["clips"].items() if clip["role"] != "train"}
    verdict, said = report["verdict"], report["record_again"]
    row = '<div class="row$kind">$shown</div>'
    return page.page(
        f"Footage of {report['subject']}",
        page.fill('<p class="sum $verdict">$mark&nbsp;$verdict: $sentence</p>',
                  verdict=verdict, mark=MARKS[verdict], sentence=report["sentence"]),
        page.fill(f"<p>{MEANING}</p>", size_px=report["size_px"]),
        page.fill(f"<p>{HELD_OUT}</p>", count=report["held_out"]) if report["held_out"] else "",
        page.fill("<h2>What to record again</h2>$said", said=page.items(said)) if said else "",
        page.fill("<h2>Checks</h2>"),
        page.fill('<div class="checks">$rows</div>',
                  rows=page.table(["check", "seen", "advised", "verdict"], map(_check, report["checks"]))),
        page.fill("<h2>Directions of the head, and sharpness</h2>"),
        page.fill(row, kind=" plots", shown=page.joined(shown.image() for shown in maps)),
        page.fill("<h2>Frames to look at</h2>"),
        page.fill(row, kind="", shown=page.joined(page.figure(one.image(), one.caption) for one in thumbnails)),
        *(page.fill('<h2>$caption</h2><div class="wide">$image</div>', caption=one.caption, image=one.image())
          for one in curves),
        *_clips("Clips to train on", trained),
        *_clips("Clips to test on; nothing is demanded of them, and they count nowhere above", tested),
        style=STYLE,
    )  # fmt: skip


def _check(check: Mapping[str, Any]) -> list[Any]:
    """The cells of one check."""
    verdict = check["verdict"] or "unknown"
    small = [page.fill("<small>$told</small>", told=check["told"])]
    if check["advice"]:
        small.append(page.fill('<small class="advice">$advice</small>', advice=check["advice"]))
    if check["note"]:
        small.append(page.fill("<small>$note</small>", note=check["note"]))
    better = "at least" if check["good"] >= check["thin"] else "at most"
    return [
        page.fill("$title$small", title=check["title"], small=page.joined(small, "")),
        _number(check["value"], check["digits"], f" {check['unit']}"),
        page.fill(f"{better} {check['good']:g}<small>thin: {check['thin']:g}</small>"),
        page.fill('<span class="$verdict">&nbsp;$mark&nbsp;$verdict</span>', verdict=verdict, mark=MARKS[verdict]),
    ]


def _clips(title: str, clips: Mapping[str, Mapping[str, Any]]) -> list[page.Html]:
    """A table of clips under its heading; nothing where there are none."""
    rows = [[name, *(_number(clip[key], digits) for key, _, digits in CLIP_COLUMNS)] for name, clip in clips.items()]
    heads = ["clip", *(head for _, head, _ in CLIP_COLUMNS)]
    head = page.fill("<h2>$title</h2><p>$said</p>", title=title, said=CLIPS)
    return [head, page.table(heads, rows)] if rows else []


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "not known" if value is None else f"{value:.{digits}f}{unit}"
