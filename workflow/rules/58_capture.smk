rule capture:
    input:
        identity="<subject>/identity.npz",
        # The manifests hold the images' hashes: what is inside a folder is invisible to Snakemake.
        decode=of_clips("decode.parquet", measured_clips),
        landmarks=of_clips("landmarks.parquet", measured_clips),
        matting=of_clips("matting.parquet", measured_clips),
        fit=of_clips("fit.parquet", measured_clips),
        frames=ancient(of_clips("frames", measured_clips)),
        alpha=ancient(of_clips("alpha", measured_clips)),
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
        cfg=stage_params("capture"),
        code=code_digest("stages.capture"),
        clips=lambda wildcards: " ".join(measured_clips(wildcards.subject)),
        roles=lambda wildcards: " ".join(roles_of_measured(wildcards.subject)),
        holdout=held_out,
    message:
        "Looking at the footage of {wildcards.subject}"
    shell:
        "python -m stages.capture --settings {params.cfg:q} --threads {threads} --subject {wildcards.subject}"
        " --identity {input.identity:q} --clips {params.clips} --roles {params.roles} --decode {input.decode:q}"
        " --landmarks {input.landmarks:q} --matting {input.matting:q} --fit {input.fit:q} --frames {input.frames:q}"
        " --alpha {input.alpha:q} {params.holdout} --out {output.page:q} --out-json {output.figures:q} 2>&1 | tee -i {log:q}"
