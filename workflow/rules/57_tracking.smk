rule tracking:
    input:
        identity="<subject>/identity.npz",
        decode=of_clips("decode.parquet", all_clips),
        landmarks=of_clips("landmarks.parquet", all_clips),
        fit=of_clips("fit.parquet", all_clips),
        sheets=of_clips("contact.png", all_clips),
    output:
        report(
            "<subject>/tracking.html",
            caption="../report/tracking.rst",
            category="1 Tracking",
            subcategory="{subject}",
            labels={"clip": "all", "shows": "page: measures, advice, curves"},
        ),
    log:
        "<log>/tracking.log",
    priority: 57
    conda:
        "../../environment.yaml"
    params:
        code=code_digest("stages.tracking"),
        clips=lambda wildcards: " ".join(all_clips(wildcards.subject)),
    message:
        "Writing the page about the tracking of {wildcards.subject}"
    shell:
        "python -m stages.tracking --subject {wildcards.subject} --identity {input.identity:q} --clips {params.clips}"
        " --decode {input.decode:q} --landmarks {input.landmarks:q} --fit {input.fit:q} --sheet {input.sheets:q}"
        " --out {output:q} 2>&1 | tee -i {log:q}"
