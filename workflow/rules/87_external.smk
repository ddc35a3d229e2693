rule external:
    input:
        samples="<subject>/samples.parquet",
        test=wf.measured_samples,
        identity="<subject>/identity.npz",
        method=comparison.method_images,
        weights=wf.weights_there,
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=wf.clips("decode.parquet", "shown"),
        landmarks=wf.clips("landmarks.parquet", "shown"),
        matting=wf.clips("matting.parquet", "shown"),
        renders=wf.clips("render.parquet", "shown"),
        frames=ancient(wf.clips("frames", "shown")),
        alpha=ancient(wf.clips("alpha", "shown")),
        uv=ancient(wf.clips("uv", "shown")),
    output:
        metrics=report(
            "<subject>/external/{method}/metrics.json",
            caption="../report/metrics.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels={"avatar": "by {method}", "shows": "all metrics as JSON"},
        ),
        table="<subject>/external/{method}/frames.parquet",
    log:
        "<log>/{method}.external.log",
    benchmark:
        "<bench>/{method}.external.tsv"
    wildcard_constraints:
        method=NAME.pattern,
    conda:
        "../../environment.yaml"
    threads: 2
    resources:
        gpu=wf.gpu,
    params:
        cfg=wf.settings("evaluate"),
        code=code_digest("stages.external"),
        subject=subpath(input.samples, parent=True),
        images=subpath(output.metrics, parent=True),
        others=comparison.method_others,
    message:
        "Measuring the images of {wildcards.method} for {wildcards.subject}"
    shell:
        logged(
            "python -m stages.external --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
            " --method {wildcards.method} --pictures {params.images:q} --samples {input.samples:q} {input.test:q}"
            " --clips-dir {params.subject:q}/clips --identity {input.identity:q} --out {output.metrics:q}"
            " --frames-table {output.table:q}"
        )
