rule capture:
    input:
        identity="<subject>/identity.npz",
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=wf.clips("decode.parquet", "measured"),
        landmarks=wf.clips("landmarks.parquet", "measured"),
        matting=wf.clips("matting.parquet", "measured"),
        fit=wf.clips("fit.parquet", "measured"),
        frames=ancient(wf.clips("frames", "measured")),
        alpha=ancient(wf.clips("alpha", "measured")),
    output:
        page=report(
            "<subject>/capture.html",
            caption="../report/capture.rst",
            category="1 Tracking",
            subcategory="{subject}",
            labels={"clip": "all", "shows": "page: does the footage suffice?"},
        ),
        figures="<subject>/capture.json",
    log:
        "<log>/capture.log",
    priority: 58
    conda:
        "../../environment.yaml"
    threads: 2
    params:
        cfg=wf.settings("capture"),
        code=code_digest("stages.capture"),
        clips=wf.names("measured"),
        roles=wf.roles("measured"),
    message:
        "Looking at the footage of {wildcards.subject}"
    shell:
        logged(
            "python -m stages.capture --settings {params.cfg:q} --threads {threads} --subject {wildcards.subject}"
            " --identity {input.identity:q} --clips {params.clips} --roles {params.roles} --decode {input.decode:q}"
            " --landmarks {input.landmarks:q} --matting {input.matting:q} --fit {input.fit:q} --frames {input.frames:q}"
            " --alpha {input.alpha:q} --out {output.page:q} --out-json {output.figures:q}"
        )
