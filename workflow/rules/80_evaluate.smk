rule evaluate:
    input:
        avatar="<avatar>/avatar.pt",
        samples="<subject>/samples.parquet",
        test=wf.measured_samples,
        weights=wf.weights_there,
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=wf.clips("decode.parquet", "measured"),
        landmarks=wf.clips("landmarks.parquet", "measured"),
        matting=wf.clips("matting.parquet", "measured"),
        fit=wf.clips("fit.parquet", "measured"),
        renders=wf.clips("render.parquet", "measured"),
        frames=ancient(wf.clips("frames", "measured")),
        alpha=ancient(wf.clips("alpha", "measured")),
        render=ancient(wf.clips("render", "measured")),
        uv=ancient(wf.clips("uv", "measured")),
    output:
        metrics=report(
            "<avatar>/metrics.json",
            caption="../report/metrics.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels=wf.avatar_labels("all metrics as JSON"),
        ),
        table="<avatar>/self.parquet",
        video=report(
            "<avatar>/self.mp4",
            caption="../report/self.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels=wf.avatar_labels("video: truth, render, alpha, avatar, error"),
        ),
        images=directory("<avatar>/self"),
    log:
        "<avatar>/logs/evaluate.log",
    benchmark:
        "<avatar>/benchmarks/evaluate.tsv"
    priority: 80
    conda:
        "../../environment.yaml"
    threads: 2
    resources:
        gpu=wf.gpu,
    params:
        cfg=wf.settings("evaluate"),
        code=code_digest("stages.evaluate"),
        marks=wf.marking,
        subject=subpath(input.samples, parent=True),
        variant=lambda wildcards: wf.variant(wildcards) or "default",
    message:
        "Measuring the avatar of {wildcards.subject}{wildcards.variant}"
    shell:
        logged(
            "python -m stages.evaluate --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
            " --avatar {input.avatar:q} --samples {input.samples:q} {input.test:q} --clips-dir {params.subject:q}/clips"
            " --variant {params.variant} --out {output.metrics:q} --frames-table {output.table:q} --video {output.video:q}"
            " --out-pictures {output.images:q}"
            " {params.marks}"
        )
