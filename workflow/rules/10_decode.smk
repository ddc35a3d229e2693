rule decode:
    input:
        source=source_input,
    output:
        frames=image_folder("<clip>/frames"),
        manifest="<clip>/decode.parquet",
    log:
        "<log>/{clip}.decode.log",
    benchmark:
        "<bench>/{clip}.decode.tsv"
    conda:
        "../../environment.yaml"
    threads: 2
    params:
        cfg=stage_params("decode"),
        code=code_digest("stages.decode"),
        cut=frame_range,
        ranges=crop_ranges,
        labels=labels,
    message:
        "Decoding {wildcards.subject}/{wildcards.clip}"
    shell:
        "python -m stages.decode --settings {params.cfg:q} --threads {threads} --source {input.source:q} {params.cut}"
        " --ranges {params.ranges:q} --labels {params.labels:q} --out-frames {output.frames:q} --manifest {output.manifest:q} 2>&1 | tee -i {log:q}"
