rule external:
    input:
        samples="<subject>/samples.parquet",
        test=lambda wildcards: "<subject>/test_samples.parquet" if to_test(wildcards.subject) else [],
        identity="<subject>/identity.npz",
        method=pictures_of_method,
        weights=weights_there,
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=of_clips("decode.parquet", shown_clips),
        landmarks=of_clips("landmarks.parquet", shown_clips),
        matting=of_clips("matting.parquet", shown_clips),
        renders=of_clips("render.parquet", shown_clips),
        frames=ancient(of_clips("frames", shown_clips)),
        alpha=ancient(of_clips("alpha", shown_clips)),
        uv=ancient(of_clips("uv", shown_clips)),
    output:
        metrics=report(
            "<subject>/external/{method}/metrics.json",
            caption="../report/metrics.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels={"avatar": "by {method}", "shows": "all figures as JSON"},
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
        gpu=gpu_need,
    params:
        cfg=stage_params("evaluate"),
        code=code_digest("stages.external"),
        subject=subpath(input.samples, parent=True),
        images=subpath(output.metrics, parent=True),
        others=others_of_method,
    message:
        "Measuring the images of {wildcards.method} for {wildcards.subject}"
    shell:
        "python -m stages.external --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
        " --method {wildcards.method} --pictures {params.images:q} --samples {input.samples:q} {input.test:q}"
        " --clips-dir {params.subject:q}/clips --identity {input.identity:q} --out {output.metrics:q}"
        " --frames-table {output.table:q} 2>&1 | tee -i {log:q}"
