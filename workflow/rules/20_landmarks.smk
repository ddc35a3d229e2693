rule landmarks:
    input:
        source=source_input,
        decode="<clip>/decode.parquet",
        weights=weights_of("landmarks"),
    output:
        manifest="<clip>/landmarks.parquet",
    log:
        "<log>/{clip}.landmarks.log",
    benchmark:
        "<bench>/{clip}.landmarks.tsv"
    priority: 20
    conda:
        "../../environment.yaml"
    threads: 1
    params:
        cfg=stage_params("landmarks"),
        code=code_digest("stages.landmarks"),
        cut=frame_range,
    message:
        "Finding landmarks in {wildcards.subject}/{wildcards.clip}"
    shell:
        "python -m stages.landmarks --settings {params.cfg:q} --threads {threads} --source {input.source:q} {params.cut}"
        " --decode {input.decode:q} --manifest {output.manifest:q} 2>&1 | tee -i {log:q}"
