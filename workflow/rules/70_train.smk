# {variant} is empty for the avatar itself and /variants/<name> for an ablation: one rule trains both.


rule train:
    input:
        samples="<subject>/samples.parquet",
        identity="<subject>/identity.npz",
        weights=weights_of("train"),
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=of_clips("decode.parquet", train_clips),
        matting=of_clips("matting.parquet", train_clips),
        renders=of_clips("render.parquet", train_clips),
        frames=ancient(of_clips("frames", train_clips)),
        alpha=ancient(of_clips("alpha", train_clips)),
        render=ancient(of_clips("render", train_clips)),
        uv=ancient(of_clips("uv", train_clips)),
    output:
        "<avatar>/avatar.pt",
    log:
        "<avatar>/logs/train.log",
    benchmark:
        "<avatar>/benchmarks/train.tsv"
    priority: 70
    conda:
        "../../environment.yaml"
    threads: training_threads
    resources:
        gpu=gpu_need,
    params:
        cfg=stage_params("train"),
        code=code_digest("stages.train"),
        avatar=subpath(output[0], parent=True),
        subject=subpath(input.samples, parent=True),
    message:
        "Training the avatar of {wildcards.subject}{wildcards.variant}"
    shell:
        "python -m stages.train --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
        " --samples {input.samples:q} --identity {input.identity:q} --clips-dir {params.subject:q}/clips"
        " --train-dir {params.avatar:q}/train --out {output:q} 2>&1 | tee -i {log:q}"
