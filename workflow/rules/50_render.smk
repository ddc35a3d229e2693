rule render:
    input:
        identity="<subject>/identity.npz",
        fit="<clip>/fit.parquet",
    output:
        render=wf.image_folder("<clip>/render"),
        uv=wf.image_folder("<clip>/uv"),
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
        gpu=wf.gpu,
    params:
        cfg=wf.settings("render"),
        code=code_digest("stages.render"),
    message:
        "Rendering {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.render --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
            " --identity {input.identity:q} --fit {input.fit:q} --out-render {output.render:q} --out-uv {output.uv:q}"
            " --manifest {output.manifest:q}"
        )
