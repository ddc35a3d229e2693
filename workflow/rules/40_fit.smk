rule identity:
    input:
        decode=wf.clips("decode.parquet", "identity"),
        landmarks=wf.clips("landmarks.parquet", "identity"),
        matting=wf.clips("matting.parquet", "identity"),
        frames=ancient(wf.clips("frames", "identity")),
        alpha=ancient(wf.clips("alpha", "identity")),
        model=wf.face_model,
        coefficients=wf.coefficients_there,
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
        gpu=wf.photometric_gpu,
    params:
        cfg=wf.settings("fit"),
        code=code_digest("stages.identity"),
        coefficients=wf.coefficients,
        files=lambda wildcards: files_digest(wf.face_model(wildcards), wf.coefficients_there(wildcards)),
    message:
        "Learning the identity of {wildcards.subject}"
    shell:
        logged(
            "python -m stages.identity --settings {params.cfg:q} --threads {threads} --decode {input.decode:q}"
            " --landmarks {input.landmarks:q} --frames {input.frames:q} --alpha {input.alpha:q}"
            " --coefficients {params.coefficients:q} --out {output:q} --gpu {resources.gpu}"
        )


rule fit:
    input:
        identity="<subject>/identity.npz",
        decode="<clip>/decode.parquet",
        landmarks="<clip>/landmarks.parquet",
        matting="<clip>/matting.parquet",
        frames=ancient("<clip>/frames"),
        alpha=ancient("<clip>/alpha"),
        model=wf.imported_model,
        coefficients=wf.coefficients_there,
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
        gpu=wf.photometric_gpu,
    params:
        cfg=wf.settings("fit"),
        code=code_digest("stages.fit"),
        coefficients=wf.coefficients,
        files=lambda wildcards: files_digest(wf.imported_model(wildcards), wf.coefficients_there(wildcards)),
    message:
        "Fitting {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.fit --settings {params.cfg:q} --threads {threads} --identity {input.identity:q}"
            " --decode {input.decode:q} --landmarks {input.landmarks:q} --frames {input.frames:q} --alpha {input.alpha:q}"
            " --coefficients {params.coefficients:q} --out {output.manifest:q} --gpu {resources.gpu}"
        )
