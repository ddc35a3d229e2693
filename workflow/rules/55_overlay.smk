rule overlay:
    input:
        identity="<subject>/identity.npz",
        decode="<clip>/decode.parquet",
        landmarks="<clip>/landmarks.parquet",
        matting="<clip>/matting.parquet",
        fit="<clip>/fit.parquet",
        render="<clip>/render.parquet",
        frames=ancient("<clip>/frames"),
        alpha=ancient("<clip>/alpha"),
        images=ancient("<clip>/render"),
        uv=ancient("<clip>/uv"),
    output:
        video=report(
            "<clip>/overlay.mp4",
            caption="../report/overlay.rst",
            category="1 Tracking",
            subcategory="{subject}",
            labels={"clip": "{clip}", "shows": "video: landmarks, mesh, normals, UV"},
        ),
        sheet=report(
            "<clip>/contact.png",
            caption="../report/contact.rst",
            category="1 Tracking",
            subcategory="{subject}",
            labels={"clip": "{clip}", "shows": "contact sheet"},
        ),
    log:
        "<log>/{clip}.overlay.log",
    benchmark:
        "<bench>/{clip}.overlay.tsv"
    priority: 55
    conda:
        "../../environment.yaml"
    threads: 1
    params:
        cfg=wf.settings("overlay"),
        code=code_digest("stages.overlay"),
    message:
        "Drawing the overlay of {wildcards.subject}/{wildcards.clip}"
    shell:
        logged(
            "python -m stages.overlay --settings {params.cfg:q} --threads {threads} --identity {input.identity:q}"
            " --decode {input.decode:q} --landmarks {input.landmarks:q} --matting {input.matting:q} --fit {input.fit:q}"
            " --render {input.render:q} --frames {input.frames:q} --alpha {input.alpha:q}"
            " --render-pictures {input.images:q} --uv-pictures {input.uv:q} --out-video {output.video:q}"
            " --out-sheet {output.sheet:q}"
        )
