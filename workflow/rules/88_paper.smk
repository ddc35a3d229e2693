rule paper:
    input:
        avatars=comparison.avatars("avatar.pt"),
        metrics=comparison.avatars("metrics.json"),
        tables=comparison.avatars("self.parquet"),
        methods=comparison.external("metrics.json"),
        method_tables=comparison.external("frames.parquet"),
        reenacted=comparison.reenacted,
        decode=wf.clips("decode.parquet", "shown"),
        fit=wf.clips("fit.parquet", "shown"),
        matting=wf.clips("matting.parquet", "shown"),
        # The tables change with the images: what is inside a folder is invisible to Snakemake.
        images=ancient(comparison.avatars("self")),
        frames=ancient(wf.clips("frames", "shown")),
        alpha=ancient(wf.clips("alpha", "shown")),
        driver_frames=ancient(comparison.driver_frames),
    output:
        report(
            "<subject>/paper.html",
            caption="../report/paper.rst",
            category="4 Comparison",
            labels={"shows": "{subject}: Table I, Fig. 2 and Fig. 3 of the paper"},
        ),
    log:
        "<log>/paper.log",
    conda:
        "../../environment.yaml"
    threads: 2
    params:
        cfg=wf.settings("paper"),
        code=code_digest("stages.paper"),
        marks=wf.marking,
        folder=subpath(output[0], parent=True),
        variants=comparison.listed(comparison.variants),
        alike=comparison.listed(comparison.alike),
        methods=comparison.listed(comparison.methods),
        drivers=comparison.listed(comparison.drivers),
    message:
        "Writing Table I, Fig. 2 and Fig. 3 of {wildcards.subject}"
    shell:
        logged(
            "python -m stages.paper --settings {params.cfg:q} --threads {threads} --folder {params.folder:q}"
            " --variants {params.variants} --alike {params.alike} --methods {params.methods} --drivers {params.drivers}"
            " --driver-frames {input.driver_frames:q} --out {output:q}"
            " {params.marks}"
        )
