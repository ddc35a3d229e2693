# Two lists of frames: what is trained on (and held out, when the subject has no clip to test on), and what is
# measured on. They are apart so that another test clip does not train the avatar again.


def samples_shell(manifests):
    """Shell command of both rules."""
    return (
        "python -m stages.samples --settings {params.cfg:q} --subject {wildcards.subject} --clips {params.clips}"
        " --decode {input.decode:q} --landmarks {input.landmarks:q} --matting {input.matting:q} --fit {input.fit:q}"
        f" --render {{input.render:q}} {manifests} --out {{output:q}} 2>&1 | tee {{log:q}}"
    )


rule samples:
    input:
        decode=of_clips("<clip>/decode.parquet", train_clips),
        landmarks=of_clips("<clip>/landmarks.parquet", train_clips),
        matting=of_clips("<clip>/matting.parquet", train_clips),
        fit=of_clips("<clip>/fit.parquet", train_clips),
        render=of_clips("<clip>/render.parquet", train_clips),
    output:
        "<subject>/samples.parquet",
    log:
        "<log>/samples.log",
    params:
        cfg=stage_params("samples"),
        code=code_digest("stages.samples"),
        clips=lambda wildcards: " ".join(train_clips(wildcards.subject)),
        role=lambda wildcards: "train" if test_clips(wildcards.subject) else "holdout",
    message:
        "Choosing the training frames of {wildcards.subject}"
    shell:
        samples_shell("--role {params.role}")


rule test_samples:
    input:
        decode=of_clips("<clip>/decode.parquet", test_clips),
        landmarks=of_clips("<clip>/landmarks.parquet", test_clips),
        matting=of_clips("<clip>/matting.parquet", test_clips),
        fit=of_clips("<clip>/fit.parquet", test_clips),
        render=of_clips("<clip>/render.parquet", test_clips),
    output:
        "<subject>/test_samples.parquet",
    log:
        "<log>/test_samples.log",
    params:
        cfg=stage_params("samples"),
        code=code_digest("stages.samples"),
        clips=lambda wildcards: " ".join(test_clips(wildcards.subject)),
    message:
        "Choosing the test frames of {wildcards.subject}"
    shell:
        samples_shell("--role test")
