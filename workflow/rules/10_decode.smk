rule decode:
    input:
        source=wf.source,
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
        ranges=wf.crop_ranges,
        labels=wf.labels,
    message:
        "Decoding {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.decode --settings {params.cfg:q} --threads {threads} --source {input.source:q} {params.cut}"
            " --ranges {params.ranges:q} --labels {params.labels:q} --out-frames {output.frames:q}"
            " --manifest {output.manifest:q}"
        )
