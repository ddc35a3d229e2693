"""Show the summary of a batch to people: summary.html, and a few lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from selfieavatar.io.paths import STAGES
from selfieavatar.reporting.job_states import KINDS, Subject, counted, worst_first
from selfieavatar.reporting.page_templates import render


def bytes_in_words(count: float) -> str:
    """Write a number of bytes in words, such as "1.2 MB"; thousands, not 1024."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def title(subjects: Sequence[Subject]) -> str:
    """Count the states, as in "4 subjects: 1 failed, 3 done"."""
    word = "subject" if len(subjects) == 1 else "subjects"
    return f"{len(subjects)} {word}: " + ", ".join(f"{count} {state}" for state, count in counted(subjects).items())


def summary_page(subjects: Sequence[Subject], beside: Iterable[str], when: str, table: str = "") -> str:
    """Render the whole summary, failed subjects first.

    Args:
        subjects: in any order.
        beside: names of files in the folder of the page, to be linked.
        when: date and time in words.
        table: why there is no table of all subjects, if it has failed.
    """
    ordered = worst_first(subjects)
    stages = [stage for stage in STAGES if any(job.stage == stage for subject in ordered for job in subject.jobs)]
    disk = [[subject.sizes.get(kind, 0) for kind in KINDS] for subject in ordered]
    return render(
        "summary.html.j2", title=title(ordered), subjects=ordered, stages=stages, kinds=KINDS, disk=disk,
        totals=[sum(of_kind) for of_kind in zip(*disk, strict=True)], bytes_in_words=bytes_in_words,
        beside=list(beside), when=when, table=table,
    )  # fmt: skip


def terminal_lines(subjects: Sequence[Subject], most: int = 30) -> list[str]:
    """Say the summary in a few lines, the worst first; at most about `most` subjects are named."""
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
    psnr, ssim = (subject.metrics.get(name, math.nan) for name in ("psnr_db_face", "ssim_face"))
    parts = [
        f"face {psnr:.1f} dB, SSIM {ssim:.2f}" if math.isfinite(psnr) and math.isfinite(ssim) else "",
        f"{minutes:.0f} min" if math.isfinite(minutes := subject.minutes()) else "",
        bytes_in_words(total) if (total := sum(subject.sizes.values())) else "",
    ]
    return "".join(f"  {part}" for part in parts if part)
