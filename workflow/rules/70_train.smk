# {variant} is empty for the avatar itself and /variants/<name> for an ablation: one rule trains both.


rule train:
    input:
        samples="<subject>/samples.parquet",
        identity="<subject>/identity.npz",
        weights=wf.weights("train"),
        counted=comparison.counted,
        start=wf.start_from,
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=wf.clips("decode.parquet", "train"),
        matting=wf.clips("matting.parquet", "train"),
        fit=wf.clips("fit.parquet", "train"),
        renders=wf.clips("render.parquet", "train"),
        frames=ancient(wf.clips("frames", "train")),
        alpha=ancient(wf.clips("alpha", "train")),
        render=ancient(wf.clips("render", "train")),
        uv=ancient(wf.clips("uv", "train")),
    output:
        "<avatar>/avatar.pt",
    log:
        "<avatar>/logs/train.log",
    benchmark:
        "<avatar>/benchmarks/train.tsv"
    priority: 70
    conda:
        "../../environment.yaml"
    threads: wf.training_threads
    resources:
        gpu=wf.gpu,
    params:
        cfg=wf.settings("train"),
        code=code_digest("stages.train"),
        budget=comparison.budget,
        consent=wf.consent,
        avatar=subpath(output[0], parent=True),
        subject=subpath(input.samples, parent=True),
    message:
        "Training the avatar of {wildcards.subject}{wildcards.variant}"
    shell:
        logged(
            "python -m stages.train --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
            " --samples {input.samples:q} --identity {input.identity:q} --clips-dir {params.subject:q}/clips"
            " --train-dir {params.avatar:q}/train --out {output:q} --budget-of {input.counted:q} --budget {params.budget}"
            " --start-from {input.start:q}"
            " --consent {params.consent}"
        )
