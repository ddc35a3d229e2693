rule figures:
    input:
        avatar="<avatar>/avatar.pt",
        metrics="<avatar>/metrics.json",
        table="<avatar>/self.parquet",
        decode=wf.clips("decode.parquet", "shown"),
        # The table changes with the images: what is inside a folder is invisible to Snakemake.
        images=ancient("<avatar>/self"),
        frames=ancient(wf.clips("frames", "shown")),
        # The page links to it, but holds nothing of it.
        video=ancient("<avatar>/self.mp4"),
        samples=ancient("<subject>/samples.parquet"),
    output:
        report(
            "<avatar>/figures.html",
            caption="../report/figures.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels=wf.avatar_labels("page: scores, frames, curves"),
        ),
    log:
        "<avatar>/logs/figures.log",
    conda:
        "../../environment.yaml"
    params:
        code=code_digest("stages.figures"),
        marks=wf.marking,
        subject=subpath(input.samples, parent=True),
    message:
        "Writing the page about the avatar of {wildcards.subject}{wildcards.variant}"
    shell:
        logged(
            "python -m stages.figures --avatar {input.avatar:q} --metrics {input.metrics:q}"
            " --frames-table {input.table:q} --pictures {input.images:q} --video {input.video:q}"
            " --clips-dir {params.subject:q}/clips --out {output:q}"
            " {params.marks}"
        )
