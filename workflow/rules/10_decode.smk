rule decode:
    input:
        source=wf.source,
        # A crop does not see what is held out, the last share of all clips together.
        train=wf.held_out_of,
    output:
        frames=wf.image_folder("<clip>/frames"),
        manifest="<clip>/decode.parquet",
    log:
        "<log>/{clip}.decode.log",
    benchmark:
        "<bench>/{clip}.decode.tsv"
    conda:
        "../../environment.yaml"
    threads: 2
    params:
        cfg=wf.settings("decode"),
        code=code_digest("stages.decode"),
        cut=wf.frame_range,
        images=lambda wildcards: images_digest(wf.source(wildcards), wf.held_out_of(wildcards)),
        ranges=wf.crop_ranges,
        holdout=wf.held_out,
        only=wf.only_trained,
        train_clips=lambda wildcards, input: wf.train_clips(wildcards, input.train),
        labels=wf.labels,
    message:
        "Decoding {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.decode --settings {params.cfg:q} --threads {threads} --source {input.source:q} {params.cut}"
            " --ranges {params.ranges:q} {params.holdout} {params.only} --train-clips {params.train_clips:q} --labels {params.labels:q} --out-frames {output.frames:q}"
            " --manifest {output.manifest:q}"
        )
