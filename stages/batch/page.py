"""The summary of a batch for people: a page, and a few lines for the terminal. Everything from files is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from string import Template
from urllib.parse import quote

from stages.batch.jobs import JOBS, KINDS, Subject, counted, worst_first

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90em; margin: 2em auto; padding: 0 1em; color: #222 }
a { overflow-wrap: anywhere } .remark { color: #a60 }
table { border-collapse: collapse } td, th { padding: .2em .7em; text-align: right; border-bottom: 1px solid #ddd }
th { vertical-align: bottom } td { vertical-align: top }
td.text, th.text, th:first-child, td:first-child { text-align: left } .scroll { overflow-x: auto }
.failed { color: #a23; font-weight: bold } .running, .waiting { color: #a60 } .not { color: #999 }
td.shown { white-space: nowrap } img.face { height: 44px }
img.sheet { width: 176px; height: 44px; object-fit: cover; object-position: left top }
</style></head><body>
<h1>$title</h1>
<p>Written $when. $disk on the disk.$beside</p>
$failures<h2>Subjects</h2>
<p>Frames are those trained on, measured on and left out (point at the number for the reasons). PSNR and SSIM compare
the avatar with frames that training never saw, over the whole picture and over the face; higher is better. Waiting
means asked for but not made: the same command goes on with it.</p>
<div class="scroll"><table><tr><th>subject</th><th class="text">state</th><th class="text">tracked, avatar</th>
<th>clips</th><th>trained on</th><th>measured on</th><th>left out</th><th>minutes</th><th>of training</th>
<th>PSNR, dB</th><th>SSIM</th><th>face: PSNR, dB</th><th>face: SSIM</th><th class="text">to look at</th></tr>
$subjects</table></div>
<h2>Stages</h2>
<p>Minutes that each stage has taken, over all clips of the subject.</p>
<div class="scroll"><table><tr><th>subject</th>$stages</tr>
$states</table></div>
<h2>Disk</h2>
<p>Pictures are the frames, alpha, render and uv of the clips; <code>storage.keep_pictures: false</code> does without
them. Training is what trainings keep; <code>python -m stages.prune</code> lists what of it is old. Videos include the
avatar's own pictures.</p>
<table><tr><th>subject</th>$kinds<th>in all</th></tr>
$sizes</table>
</body></html>
""")


def bytes_in_words(count: float) -> str:
    """1234567 -> "1.2 MB"; thousands, not 1024."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def number(value: float, digits: int) -> str:
    """Empty where it is not known."""
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def title(subjects: Sequence[Subject]) -> str:
    """ "4 subjects: 1 failed, 3 done"."""
    word = "subject" if len(subjects) == 1 else "subjects"
    return f"{len(subjects)} {word}: " + ", ".join(f"{count} {state}" for state, count in counted(subjects).items())


def summary_page(subjects: Sequence[Subject], beside: Iterable[str], when: str) -> str:
    """HTML of the whole summary, failed subjects first.

    Args:
        beside: names of files in the folder of the page, to be linked.
        when: date and time in words.
    """
    ordered = worst_first(subjects)
    stages = [stage for stage in JOBS if any(job.stage == stage for subject in ordered for job in subject.jobs)]
    links = " &middot; ".join(_link(name, name) for name in beside)
    return PAGE.substitute(
        title=escape(title(ordered)),
        when=escape(when),
        disk=bytes_in_words(sum(sum(subject.sizes.values()) for subject in ordered)),
        beside=f" Beside this page: {links}." if links else "",
        failures=_failures(ordered),
        subjects="".join(_subject_row(subject) for subject in ordered),
        stages="".join(f"<th>{stage}</th>" for stage in stages),
        states="".join(_stage_row(subject, stages) for subject in ordered),
        kinds="".join(f"<th>{kind}</th>" for kind in KINDS),
        sizes="".join(_size_row(subject.name, [subject.sizes.get(kind, 0) for kind in KINDS]) for subject in ordered)
        + _size_row("all", [sum(subject.sizes.get(kind, 0) for subject in ordered) for kind in KINDS]),
    )


def _failures(subjects: Sequence[Subject]) -> str:
    rows = "".join(
        f'<tr><td>{escape(subject.name)}</td><td class="text">{escape(f"{job.stage} {job.of}")}</td>'
        f'<td class="text">{escape(job.reason)}</td><td class="text">{_link("log", job.log)}</td></tr>\n'
        for subject in subjects
        for job in subject.failures
    )
    head = '<tr><th>subject</th><th class="text">stage</th><th class="text">why</th><th></th></tr>\n'
    return f"<h2>What has failed</h2>\n<table>{head}{rows}</table>\n" if rows else ""


def _subject_row(subject: Subject) -> str:
    shown = " ".join(
        f'<a href="{_address(path)}"><img class="{kind}" loading="lazy" src="{_address(path)}" alt="{kind}"></a>'
        for kind, path in subject.pictures
    )
    reasons = ", ".join(f"{count} {reason}" for reason, count in subject.left_out.items())
    trained = subject.frames.get("train", math.nan) + subject.frames.get("val", 0)
    cells = [
        str(subject.clips),
        number(trained, 0),
        number(subject.frames.get("test", math.nan), 0),
        f'<span title="{escape(reasons)}">{number(subject.frames.get("left_out", math.nan), 0)}</span>',
        number(subject.minutes(), 1),
        number(subject.minutes("train"), 1),
        *(
            number(subject.figures.get(name, math.nan), digits)
            for name, digits in (("psnr_db_full", 1), ("ssim_full", 3), ("psnr_db_face", 1), ("ssim_face", 3))
        ),
    ]
    links = ", ".join(_link(words, path) for words, path in subject.links)
    return (
        f'<tr id="{escape(subject.name)}"><td>{escape(subject.name)}</td>'
        f'<td class="text {subject.state}">{subject.state}</td><td class="text shown">{shown}</td>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + f'<td class="text">{links}</td></tr>\n'
        + "".join(
            f'<tr><td></td><td class="text remark" colspan="13">{escape(remark)}</td></tr>\n'
            for remark in subject.remarks
        )
    )


def _stage_row(subject: Subject, stages: Sequence[str]) -> str:
    cells = []
    for stage in stages:
        state, minutes = subject.stage_state(stage), number(subject.minutes(stage), 1)
        cells.append(f'<td class="{state}">{(minutes or "done") if state == "done" else state}</td>')
    return f"<tr><td>{escape(subject.name)}</td>{''.join(cells)}</tr>\n"


def _size_row(name: str, sizes: Sequence[int]) -> str:
    cells = "".join(f"<td>{bytes_in_words(size) if size else ''}</td>" for size in (*sizes, sum(sizes)))
    return f"<tr><td>{escape(name)}</td>{cells}</tr>\n"


def _link(words: str, path: str) -> str:
    return f'<a href="{_address(path)}">{escape(words)}</a>'


def _address(path: str) -> str:
    return escape(quote(path))


def terminal_lines(subjects: Sequence[Subject], most: int = 30) -> list[str]:
    """The summary in a few lines, the worst first; at most about `most` subjects are named."""
    ordered = worst_first(subjects)
    named = [subject for subject in ordered if subject.state != "not asked"]
    size = bytes_in_words(sum(sum(subject.sizes.values()) for subject in ordered))
    lines = [f"{title(ordered)}; {size}"]
    width = max((len(subject.name) for subject in named[:most]), default=0)
    for subject in named[:most]:
        name = f"  {subject.name:{width}}"
        lines += [f"{name}  failed at {f'{job.stage} {job.of}'.strip()}: {job.reason}" for job in subject.failures]
        if not subject.failures:
            lines.append(f"{name}  {subject.state}{_in_short(subject)}")
            lines += [f"  {'':{width}}  {remark}" for remark in subject.remarks]
    if len(named) > most:
        lines.append(f"  and {len(named) - most} more")
    return lines


def _in_short(subject: Subject) -> str:
    psnr, ssim = (subject.figures.get(name, math.nan) for name in ("psnr_db_face", "ssim_face"))
    parts = [
        f"face {psnr:.1f} dB, SSIM {ssim:.2f}" if math.isfinite(psnr) and math.isfinite(ssim) else "",
        f"{minutes:.0f} min" if math.isfinite(minutes := subject.minutes()) else "",
        bytes_in_words(total) if (total := sum(subject.sizes.values())) else "",
    ]
    return "".join(f"  {part}" for part in parts if part)
