# What the rules ask of one clip: where its footage lies, which of its frames are meant, what it shows. Wiring only.

from pathlib import Path


def clip_of(wildcards):
    """The row of the sheet that the wildcards name."""
    return or_stop(SHEET.clip, wildcards.subject, wildcards.clip)


def source_of(wildcards):
    """Path of the clip's footage, or of the demo actor's video, which a rule makes."""
    clip = clip_of(wildcards)
    if clip.demo_seed is None:
        return str(or_stop(expand, clip.source))
    return f"<results>/{clip.subject}/source/demo-{clip.demo_seed}.mp4"


def source_input(wildcards):
    """Input function: what Snakemake should watch. A missing file gets our error, with its row, not Snakemake's."""
    source = source_of(wildcards)
    clip = clip_of(wildcards)
    if clip.demo_seed is None and not Path(source).exists():
        videos = [one for one in SHEET.clips if one.demo_seed is None]
        others = {one.source for one in videos if not or_stop(expand, one.source).exists()} - {clip.source}
        more = f"; nor do {len(others)} more: {', '.join(sorted(others)[:20])}" if others else ""
        raise WorkflowError(
            f"{SHEET_FILE}: the source '{clip.source}' of subject '{clip.subject}', clip '{clip.clip}' does not "
            f"exist (looked for {Path(source).absolute()}){more}; fix the path, which "
            "counts from the working directory"
        )
    return source


def frame_range(wildcards):
    """Arguments --start and --end of a clip; nothing where the sheet leaves them empty."""
    clip = clip_of(wildcards)
    ends = {"--start": clip.start_frame, "--end": clip.end_frame}
    return " ".join(f"{name} {value}" for name, value in ends.items() if value is not None)


def crop_ranges(wildcards):
    """Frame ranges that decide the crop of the clip's source, as JSON."""
    return canonical_json(SHEET.ranges(wildcards.subject, clip_of(wildcards).source))


def labels(wildcards):
    """What the name of a clip of MEAD says that it shows, as JSON; metrics can be grouped by it."""
    clip = clip_of(wildcards)
    return canonical_json(clip_labels(clip.clip) if clip.dataset == "mead" else {})
