rule demo:
    output:
        video="<subject>/source/demo-{seed}.mp4",
        truth="<subject>/source/demo-{seed}.npz",
    log:
        "<log>/demo-{seed}.log",
    benchmark:
        "<bench>/demo-{seed}.tsv"
    conda:
        "../../environment.yaml"
    threads: 2
    params:
        cfg=wf.settings("demo"),
        code=code_digest("stages.demo"),
    message:
        "Filming the demo actor {wildcards.seed}"
    shell:
        logged(
            "python -m stages.demo --settings {params.cfg:q} --threads {threads} --seed {wildcards.seed}"
            " --out {output.video:q} --truth {output.truth:q}"
        )
