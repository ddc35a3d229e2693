"""The summary of a batch for people: a page, and a few lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from selfieavatar.io.schemas import STAGES
from selfieavatar.reporting import page
from selfieavatar.reporting.jobs import KINDS, Subject, counted, worst_first

STYLE = """body { max-width: 90em } .wide a { overflow-wrap: anywhere } .remark { color: #a60 }
.wide td, .wide th { vertical-align: top; padding: .2em .4em } .wide th { vertical-align: bottom }
.wide .text { text-align: left; white-space: normal } td.text { overflow-wrap: anywhere; min-width: 4em }
td.look { min-width: 9em } .stages { font-size: .85em }
.failed { color: #a23; font-weight: bold } .running, .waiting { color: #a60 } .not { color: #999 }
.wide .shown { white-space: nowrap } .shown img { display: inline; max-width: none } img.face { height: 44px }
img.sheet { width: 66px; height: 44px; object-fit: cover; object-position: left top }
"""
SUBJECTS = """<h2>Subjects</h2>
<p>Frames are those trained on, measured on and left out (point at the number for the reasons). PSNR and SSIM compare
the avatar with frames that training never saw, over the whole image and over the face; higher is better. Waiting
means asked for but not made: the same command goes on with it.</p>
<div class="wide"><table><tr><th>subject</th><th class="text">state</th><th class="text">tracked, avatar</th>
<th>clips</th><th>trained on</th><th>measured on</th><th>left out</th><th>minutes</th><th>of training</th>
<th>PSNR, dB</th><th>SSIM</th><th>face: PSNR, dB</th><th>face: SSIM</th><th class="text">to look at</th></tr>
$rows</table></div>"""
STAGES_HEAD = "<h2>Stages</h2><p>Minutes that each stage has taken, over all clips of the subject.</p>"
STAGES_TABLE = '<div class="stages">$table</div>'
DISK_HEAD = """<h2>Disk</h2>
<p>Images are the frames, alpha, render and uv of the clips; <code>storage.keep_pictures: false</code> does without
them. Training is what trainings keep; <code>python -m tools.prune</code> lists what of it is old. Videos include the
avatar's own images.</p>"""


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


def summary_page(subjects: Sequence[Subject], beside: Iterable[str], when: str, table: str = "") -> str:
    """HTML of the whole summary, failed subjects first.

    Args:
        beside: names of files in the folder of the page, to be linked.
        when: date and time in words.
        table: why there is no table of all subjects, if it has failed.
    """
    ordered = worst_first(subjects)
    stages = [stage for stage in STAGES if any(job.stage == stage for subject in ordered for job in subject.jobs)]
    links = page.joined((page.link(name, name) for name in beside), page.Html(" &middot; "))
    sizes = {kind: [subject.sizes.get(kind, 0) for subject in ordered] for kind in KINDS}
    in_all = sum(map(sum, sizes.values()))
    return page.page(
        title(ordered),
        page.fill("<p>Written $when. $disk on the disk.$beside</p>", when=when, disk=bytes_in_words(in_all),
                  beside=page.fill(" Beside this page: $links.", links=links) if links else ""),
        page.fill('<p class="remark">$table</p>', table=table) if table else page.Html(""),
        *_failures(ordered),
        page.fill(SUBJECTS, rows=page.joined(map(_subject_row, ordered))),
        page.fill(STAGES_HEAD),
        page.fill(STAGES_TABLE, table=page.table(["subject", *stages], (_stage_row(one, stages) for one in ordered))),
        page.fill(DISK_HEAD),
        page.table(["subject", *KINDS, "in all"], [
            *(_size_row(subject.name, [sizes[kind][k] for kind in KINDS]) for k, subject in enumerate(ordered)),
            _size_row("all", [sum(sizes[kind]) for kind in KINDS]),
        ]),
        style=STYLE,
    )  # fmt: skip


def _failures(subjects: Sequence[Subject]) -> list[page.Html]:
    row = '<tr><td>$subject</td><td class="text">$stage $of</td><td class="text">$why</td><td>$log</td></tr>'
    rows = page.joined(
        page.fill(row, subject=subject.name, stage=job.stage, of=job.of, why=job.reason, log=page.link(job.log, "log"))
        for subject in subjects
        for job in subject.failures
    )
    head = '<tr><th>subject</th><th class="text">stage</th><th class="text">why</th><th></th></tr>'
    table = f'<h2>What has failed</h2><div class="wide"><table>{head}$rows</table></div>'
    return [page.fill(table, rows=rows)] if rows else []


def _subject_row(subject: Subject) -> page.Html:
    image = '<img class="$kind" loading="lazy" src="$path" alt="$kind">'
    shown = page.joined(
        page.link(path, page.fill(image, kind=kind, path=page.address(path))) for kind, path in subject.images
    )
    reasons = ", ".join(f"{count} {reason}" for reason, count in subject.left_out.items())
    left_out = number(subject.frames.get("left_out", math.nan), 0)
    trained = subject.frames.get("train", math.nan) + subject.frames.get("val", 0)
    cells = [
        str(subject.clips),
        number(trained, 0),
        number(subject.frames.get("test", math.nan), 0),
        page.fill('<span title="$reasons">$left_out</span>', reasons=reasons, left_out=left_out),
        number(subject.minutes(), 1),
        number(subject.minutes("train"), 1),
        *(
            number(subject.figures.get(name, math.nan), digits)
            for name, digits in (("psnr_db_full", 1), ("ssim_full", 3), ("psnr_db_face", 1), ("ssim_face", 3))
        ),
    ]
    row = """<tr id="$name"><td>$name</td><td class="text $state">$state</td><td class="text shown">$shown</td>$cells
<td class="text look">$links</td></tr>"""
    remark = '<tr><td></td><td class="text remark" colspan="13">$remark</td></tr>'
    filled = page.fill(
        row, name=subject.name, state=subject.state, shown=shown,
        cells=page.joined((page.fill("<td>$cell</td>", cell=cell) for cell in cells), ""),
        links=page.joined((page.link(path, words) for words, path in subject.links), ", "),
    )  # fmt: skip
    return page.joined([filled, *(page.fill(remark, remark=words) for words in subject.all_remarks)])


def _stage_row(subject: Subject, stages: Sequence[str]) -> list[page.Html | str]:
    cells: list[page.Html | str] = [subject.name]
    for stage in stages:
        state, minutes = subject.stage_state(stage), number(subject.minutes(stage), 1)
        shown = (minutes or "done") if state == "done" else state
        cells.append(page.fill('<span class="$state">$shown</span>', state=state, shown=shown))
    return cells


def _size_row(name: str, sizes: Sequence[int]) -> list[str]:
    return [name, *(bytes_in_words(size) if size else "" for size in (*sizes, sum(sizes)))]


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
            lines += [f"  {'':{width}}  {remark}" for remark in subject.all_remarks]
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
