rule landmarks:
    input:
        source=wf.source,
        decode="<clip>/decode.parquet",
        weights=wf.weights("landmarks"),
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
        cfg=wf.settings("landmarks"),
        code=code_digest("stages.landmarks"),
        cut=wf.frame_range,
        images=lambda wildcards: images_digest(wf.source(wildcards)),
    message:
        "Finding landmarks in {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.landmarks --settings {params.cfg:q} --threads {threads}"
            " --source {input.source:q} {params.cut} --decode {input.decode:q} --manifest {output.manifest:q}"
        )
