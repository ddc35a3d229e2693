rule tracking:
    input:
        identity="<subject>/identity.npz",
        decode=wf.clips("decode.parquet", "all"),
        landmarks=wf.clips("landmarks.parquet", "all"),
        fit=wf.clips("fit.parquet", "all"),
        sheets=wf.clips("contact.png", "all"),
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
        clips=wf.names("all"),
    message:
        "Writing the page about the tracking of {wildcards.subject}"
    shell:
        logged(
            "python -m stages.tracking --subject {wildcards.subject} --identity {input.identity:q} --clips {params.clips}"
            " --decode {input.decode:q} --landmarks {input.landmarks:q} --fit {input.fit:q} --sheet {input.sheets:q}"
            " --out {output:q}"
        )
