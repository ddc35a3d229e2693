"""The page capture.html as text: verdict first, then what to record again, the checks, pictures and clips.

One file without anything from elsewhere; every string that comes from outside is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Footage of $subject</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 1em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { padding: .3em .5em; text-align: left; vertical-align: top;
border-bottom: 1px solid #ddd } small { color: #555; display: block } img { max-width: 100% }
.good, .thin, .missing, .unknown { white-space: nowrap; font-weight: 600; border-left: .5em solid }
.good { color: #1d6b3f } .thin { color: #8a5a00 } .missing { color: #a8202f } .unknown { color: #555 }
.sum { font-size: 1.15em; padding: .3em .7em; white-space: normal } .advice { color: #a8202f }
.wide { overflow-x: auto } .wide img { max-width: none; width: 880px }
.row { display: flex; flex-wrap: wrap; gap: .8em } figure { margin: 0; width: 9em } figure img { width: 9em }
figcaption { font-size: .8em; color: #555 } .plots img { width: 432px }
@media (max-width: 40em) { .checks td { border-bottom: 0 } .checks td:first-child { grid-column: 1 / -1 }
.checks tr { display: grid; grid-template-columns: 2fr 1fr 1fr; border-bottom: 1px solid #ddd }
.checks tr:first-child { display: none } }
</style></head><body>
<h1>Footage of $subject</h1>
<p class="sum $verdict">$mark $verdict: $sentence</p>
<p>Good: it suffices. Thin: it works, with flaws that will be seen. Missing: the avatar needs it, and it is not there.
The footage was measured at the size trained at, $size_px&nbsp;px, and nothing has been trained yet.</p>
$again
<h2>Checks</h2>
<table class="checks"><tr><th>check</th><th>seen</th><th>advised</th><th>verdict</th></tr>
$rows</table>
<h2>Directions of the head, and sharpness</h2>
<div class="row plots">$maps</div>
<h2>Frames to look at</h2>
<div class="row">$thumbnails</div>
$curves
$clips
</body></html>
""")
MARKS = {"good": "&#10003;", "thin": "&#8776;", "missing": "&#10007;", "unknown": "?"}
CLIP_COLUMNS = (
    ("frames", "frames", 0), ("seconds", "s", 1), ("face_source_px", "face, px of the video", 0),
    ("blurred", "blurred, %", 0), ("exposure", "white or black, %", 1), ("lost", "lost, %", 0), ("cut", "cut, %", 0),
    ("frame_rate", "frames/s", 0), ("camera", "camera, %", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An embedded picture: caption, bytes, "png" or "jpeg"."""

    caption: str
    data: bytes
    kind: str = "png"

    def tag(self) -> str:
        """The img element."""
        data = base64.b64encode(self.data).decode()
        return f'<img alt="{escape(self.caption)}" src="data:image/{self.kind};base64,{data}">'

    def figure(self) -> str:
        """The picture above its caption."""
        return f"<figure>{self.tag()}<figcaption>{escape(self.caption)}</figcaption></figure>\n"


def capture_page(
    report: Mapping[str, Any], maps: Sequence[Picture], thumbnails: Sequence[Picture], curves: Sequence[Picture]
) -> str:
    """HTML of the page.

    report: what capture.json holds. maps: of head and sharpness. thumbnails: frames. curves: one for each clip.
    """
    trained = {name: clip for name, clip in report["clips"].items() if clip["role"] == "train"}
    tested = {name: clip for name, clip in report["clips"].items() if clip["role"] != "train"}
    said = report["record_again"]
    again = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in said)
    return PAGE.substitute(
        subject=escape(report["subject"]), verdict=report["verdict"], mark=MARKS[report["verdict"]],
        sentence=escape(report["sentence"]), size_px=report["size_px"],
        again=f"<h2>What to record again</h2>\n<ol>\n{again}</ol>" if said else "",
        rows="".join(_row(check) for check in report["checks"]),
        maps="".join(picture.tag() + "\n" for picture in maps),
        thumbnails="".join(picture.figure() for picture in thumbnails),
        curves="".join(f'<h2>{escape(p.caption)}</h2>\n<div class="wide">{p.tag()}</div>\n' for p in curves),
        clips=_clips("Clips to train on", trained)
        + _clips("Clips to test on; nothing is demanded of them, and they count nowhere above", tested),
    )  # fmt: skip


def _row(check: Mapping[str, Any]) -> str:
    """One check as a row of the table."""
    verdict = check["verdict"] or "unknown"
    advice = f'<small class="advice">{escape(check["advice"])}</small>' if check["advice"] else ""
    note = f"<small>{escape(check['note'])}</small>" if check["note"] else ""
    better = "at least" if check["good"] >= check["thin"] else "at most"
    return (
        f"<tr><td>{escape(check['title'])}<small>{escape(check['told'])}</small>{advice}{note}</td>"
        f"<td>{_number(check['value'], check['digits'], ' ' + escape(check['unit']))}</td>"
        f"<td>{better} {check['good']:g}<small>thin: {check['thin']:g}</small></td>"
        f'<td class="{verdict}">{MARKS[verdict]} {verdict}</td></tr>\n'
    )


def _clips(title: str, clips: Mapping[str, Mapping[str, Any]]) -> str:
    """A table of clips; nothing where there are none."""
    if not clips:
        return ""
    heads = "".join(f"<th>{escape(head)}</th>" for _, head, _ in CLIP_COLUMNS)
    rows = "".join(
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{_number(clip[key], digits)}</td>" for key, _, digits in CLIP_COLUMNS)
        + "</tr>\n"
        for name, clip in clips.items()
    )
    return f'<h2>{title}</h2>\n<div class="wide"><table><tr><th>clip</th>{heads}</tr>\n{rows}</table></div>\n'


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "not known" if value is None else f"{value:.{digits}f}{unit}"
