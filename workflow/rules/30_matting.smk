rule matting:
    input:
        source=source_input,
        decode="<clip>/decode.parquet",
        weights=weights_of("matting"),
        masks=given_masks,
    output:
        alpha=image_folder("<clip>/alpha"),
        manifest="<clip>/matting.parquet",
    log:
        "<log>/{clip}.matting.log",
    benchmark:
        "<bench>/{clip}.matting.tsv"
    priority: 30
    conda:
        "../../environment.yaml"
    threads: 1
    params:
        cfg=stage_params("matting"),
        code=code_digest("stages.matting"),
        cut=frame_range,
        given=masks_folder,
        plate=subpath(output.manifest, parent=True),
    message:
        "Matting {wildcards.subject}/{wildcards.clip}"
    shell:
        "python -m stages.matting --settings {params.cfg:q} --threads {threads} --source {input.source:q} {params.cut}"
        " --decode {input.decode:q} --out-alpha {output.alpha:q} --manifest {output.manifest:q}"
        " --plate {params.plate:q}/plate.png --given {params.given:q} 2>&1 | tee -i {log:q}"
