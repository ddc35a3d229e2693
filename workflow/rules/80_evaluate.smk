rule evaluate:
    input:
        avatar="<avatar>/avatar.pt",
        samples="<subject>/samples.parquet",
        test=lambda wildcards: "<subject>/test_samples.parquet" if to_test(wildcards.subject) else [],
        weights=weights_there,
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=of_clips("decode.parquet", measured_clips),
        landmarks=of_clips("landmarks.parquet", measured_clips),
        matting=of_clips("matting.parquet", measured_clips),
        renders=of_clips("render.parquet", measured_clips),
        frames=ancient(of_clips("frames", measured_clips)),
        alpha=ancient(of_clips("alpha", measured_clips)),
        render=ancient(of_clips("render", measured_clips)),
        uv=ancient(of_clips("uv", measured_clips)),
    output:
        metrics=report(
            "<avatar>/metrics.json",
            caption="../report/metrics.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels=avatar_labels("all figures as JSON"),
        ),
        table="<avatar>/self.parquet",
        video=report(
            "<avatar>/self.mp4",
            caption="../report/self.rst",
            category="2 Avatar",
            subcategory="{subject}",
            labels=avatar_labels("video: truth, render, alpha, avatar, error"),
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
        gpu=gpu_need,
    params:
        cfg=stage_params("evaluate"),
        code=code_digest("stages.evaluate"),
        subject=subpath(input.samples, parent=True),
        variant=lambda wildcards: variant_of(wildcards) or "default",
    message:
        "Measuring the avatar of {wildcards.subject}{wildcards.variant}"
    shell:
        "python -m stages.evaluate --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
        " --avatar {input.avatar:q} --samples {input.samples:q} {input.test:q} --clips-dir {params.subject:q}/clips"
        " --variant {params.variant} --out {output.metrics:q} --frames-table {output.table:q} --video {output.video:q}"
        " --out-pictures {output.images:q} 2>&1 | tee -i {log:q}"
