rule matting:
    input:
        source=wf.source,
        decode="<clip>/decode.parquet",
        weights=wf.weights("matting"),
        masks=wf.given_masks,
    output:
        alpha=wf.image_folder("<clip>/alpha"),
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
        cfg=wf.settings("matting"),
        code=code_digest("stages.matting"),
        cut=wf.frame_range,
        images=lambda wildcards: images_digest(wf.source(wildcards), wf.given_masks(wildcards)),
        given=wf.masks_folder,
        plate=subpath(output.manifest, parent=True),
    message:
        "Matting {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.matting --settings {params.cfg:q} --threads {threads}"
            " --source {input.source:q} {params.cut} --decode {input.decode:q} --out-alpha {output.alpha:q}"
            " --manifest {output.manifest:q} --plate {params.plate:q}/plate.png --given {params.given:q}"
        )
