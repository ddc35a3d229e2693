rule identity:
    input:
        decode=of_clips("decode.parquet", identity_clips),
        landmarks=of_clips("landmarks.parquet", identity_clips),
        matting=of_clips("matting.parquet", identity_clips),
        frames=ancient(of_clips("frames", identity_clips)),
        alpha=ancient(of_clips("alpha", identity_clips)),
        model=face_model,
        coefficients=all_coefficients(coefficients_file),
    output:
        "<subject>/identity.npz",
    log:
        "<log>/identity.log",
    benchmark:
        "<bench>/identity.tsv"
    priority: 40
    conda:
        "../../environment.yaml"
    threads: 2
    resources:
        gpu=photometric_gpu,
    params:
        cfg=stage_params("fit"),
        code=code_digest("stages.identity"),
        holdout=held_out,
        coefficients=all_coefficients(coefficients_path),
    message:
        "Learning the identity of {wildcards.subject}"
    shell:
        "python -m stages.identity --settings {params.cfg:q} --threads {threads} --decode {input.decode:q}"
        " --landmarks {input.landmarks:q} --frames {input.frames:q} --alpha {input.alpha:q} {params.holdout}"
        " --coefficients {params.coefficients:q} --out {output:q} --gpu {resources.gpu} 2>&1 | tee -i {log:q}"


rule fit:
    input:
        identity="<subject>/identity.npz",
        decode="<clip>/decode.parquet",
        landmarks="<clip>/landmarks.parquet",
        matting="<clip>/matting.parquet",
        frames=ancient("<clip>/frames"),
        alpha=ancient("<clip>/alpha"),
        model=imported_model,
        coefficients=coefficients(coefficients_file),
    output:
        manifest="<clip>/fit.parquet",
    log:
        "<log>/{clip}.fit.log",
    benchmark:
        "<bench>/{clip}.fit.tsv"
    priority: 40
    conda:
        "../../environment.yaml"
    threads: 2
    resources:
        gpu=photometric_gpu,
    params:
        cfg=stage_params("fit"),
        code=code_digest("stages.fit"),
        coefficients=coefficients(coefficients_path),
    message:
        "Fitting {wildcards.subject}/{wildcards.clip}"
    shell:
        "python -m stages.fit --settings {params.cfg:q} --threads {threads} --identity {input.identity:q}"
        " --decode {input.decode:q} --landmarks {input.landmarks:q} --frames {input.frames:q} --alpha {input.alpha:q}"
        " --coefficients {params.coefficients:q} --out {output.manifest:q} --gpu {resources.gpu} 2>&1 | tee -i {log:q}"
