# Two lists of frames: what is trained on (and held out, when the subject has no clip to test on), and what is
# measured on. They are apart so that another test clip does not train the avatar again.


rule samples:
    input:
        decode=wf.clips("decode.parquet", "train"),
        landmarks=wf.clips("landmarks.parquet", "train"),
        matting=wf.clips("matting.parquet", "train"),
        fit=wf.clips("fit.parquet", "train"),
        render=wf.clips("render.parquet", "train"),
    output:
        "<subject>/samples.parquet",
    log:
        "<log>/samples.log",
    priority: 60
    conda:
        "../../environment.yaml"
    params:
        cfg=wf.settings("samples"),
        code=code_digest("stages.samples"),
        clips=wf.names("train"),
        role=wf.role_of_samples,
        trained="{}",
    message:
        "Choosing the training frames of {wildcards.subject}"
    shell:
        logged(
            "python -m stages.samples --settings {params.cfg:q} --role {params.role} --subject {wildcards.subject}"
            " --clips {params.clips} --decode {input.decode:q} --landmarks {input.landmarks:q} --matting {input.matting:q}"
            " --fit {input.fit:q} --render {input.render:q} --trained {params.trained:q} --out {output:q}"
        )


use rule samples as test_samples with:
    input:
        decode=wf.clips("decode.parquet", "test"),
        landmarks=wf.clips("landmarks.parquet", "test"),
        matting=wf.clips("matting.parquet", "test"),
        fit=wf.clips("fit.parquet", "test"),
        render=wf.clips("render.parquet", "test"),
    output:
        "<subject>/test_samples.parquet",
    log:
        "<log>/test_samples.log",
    params:
        cfg=wf.settings("samples"),
        code=code_digest("stages.samples"),
        clips=wf.names("test"),
        role="test",
        trained=wf.trained_ranges,
    message:
        "Choosing the test frames of {wildcards.subject}"
