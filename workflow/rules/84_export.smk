# Asked for by name. avatar.int8.onnx is written, too, where its images keep 40 dB.


rule export:
    input:
        avatar="<avatar>/avatar.pt",
        fit=wf.clips("fit.parquet", "train"),
    output:
        graph="<avatar>/avatar.onnx",
        half="<avatar>/avatar.fp16.onnx",
        identity="<avatar>/avatar.onnx.npz",
        description="<avatar>/avatar.onnx.json",
    log:
        "<avatar>/logs/export.log",
    priority: 84
    conda:
        "../../environment.yaml"
    threads: 2
    params:
        code=code_digest("stages.export"),
    message:
        "Exporting the avatar of {wildcards.subject}{wildcards.variant}"
    shell:
        logged(
            "python -m stages.export --threads {threads} --avatar {input.avatar:q} --fit {input.fit:q}"
            " --out {output.graph:q}"
        )
