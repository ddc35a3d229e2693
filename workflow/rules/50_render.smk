rule render:
    input:
        identity="<subject>/identity.npz",
        fit="<clip>/fit.parquet",
    output:
        render=image_folder("<clip>/render"),
        uv=image_folder("<clip>/uv"),
        manifest="<clip>/render.parquet",
    log:
        "<log>/{clip}.render.log",
    benchmark:
        "<bench>/{clip}.render.tsv"
    priority: 50
    conda:
        "../../environment.yaml"
    threads: 1
    resources:
        gpu=gpu_need,
    params:
        cfg=stage_params("render"),
        code=code_digest("stages.render"),
    message:
        "Rendering {wildcards.subject}/{wildcards.clip}"
    shell:
        "python -m stages.render --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
        " --identity {input.identity:q} --fit {input.fit:q} --out-render {output.render:q} --out-uv {output.uv:q}"
        " --manifest {output.manifest:q} 2>&1 | tee -i {log:q}"
