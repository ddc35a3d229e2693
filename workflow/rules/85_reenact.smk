rule reenact:
    input:
        avatar="<avatar>/avatar.pt",
        identity=wf.driver("identity.npz"),
        decode=wf.driver("{clip}/decode.parquet"),
        fit=wf.driver("{clip}/fit.parquet"),
        frames=ancient(wf.driver("{clip}/frames")),
        # The person as filmed, to compare the painted face with, where the network for it is given.
        samples=wf.for_identity("<subject>/samples.parquet"),
        person=ancient(wf.for_identity(wf.clips("frames", "train"))),
        uv=ancient(wf.for_identity(wf.clips("uv", "train"))),
    output:
        video=report(
            "<avatar>/reenact/{driver}.mp4",
            caption="../report/reenact.rst",
            category="3 Driven by somebody else",
            subcategory="{subject}",
            labels=wf.driver_labels("video: driver, avatar"),
        ),
        manifest="<avatar>/reenact/{driver}.parquet",
    log:
        "<avatar>/logs/{driver}.reenact.log",
    benchmark:
        "<avatar>/benchmarks/{driver}.reenact.tsv"
    wildcard_constraints:
        driver=f"{NAME.pattern}--{NAME.pattern}",
    priority: 85
    conda:
        "../../environment.yaml"
    threads: 2
    resources:
        gpu=wf.gpu,
    params:
        cfg=wf.settings("reenact"),
        code=code_digest("stages.reenact_clip"),
        marks=wf.marking,
        subject=lambda wildcards: str(wf.results / wildcards.subject),
    message:
        "The avatar of {wildcards.subject}{wildcards.variant} follows {wildcards.driver}"
    shell:
        logged(
            "python -m stages.reenact_clip --settings {params.cfg:q} --threads {threads} --gpu {resources.gpu}"
            " --avatar {input.avatar:q} --driver {wildcards.driver:q} --identity {input.identity:q}"
            " --decode {input.decode:q} --fit {input.fit:q} --frames {input.frames:q} --clips-dir {params.subject:q}/clips"
            " --samples {input.samples:q} --out-video {output.video:q} --manifest {output.manifest:q}"
            " {params.marks}"
        )
