# Two lists of frames: what is trained on (and held out, when the subject has no clip to test on), and what is
# measured on. They are apart so that another test clip does not train the avatar again.


rule samples:
    input:
        decode=of_clips("decode.parquet", train_clips),
        landmarks=of_clips("landmarks.parquet", train_clips),
        matting=of_clips("matting.parquet", train_clips),
        fit=of_clips("fit.parquet", train_clips),
        render=of_clips("render.parquet", train_clips),
    output:
        "<subject>/samples.parquet",
    log:
        "<log>/samples.log",
    priority: 60
    conda:
        "../../environment.yaml"
    params:
        cfg=stage_params("samples"),
        code=code_digest("stages.samples"),
        clips=lambda wildcards: " ".join(train_clips(wildcards.subject)),
        role=lambda wildcards: "train" if to_test(wildcards.subject) else "holdout",
    message:
        "Choosing the training frames of {wildcards.subject}"
    shell:
        "python -m stages.samples --settings {params.cfg:q} --role {params.role} --subject {wildcards.subject}"
        " --clips {params.clips} --decode {input.decode:q} --landmarks {input.landmarks:q} --matting {input.matting:q}"
        " --fit {input.fit:q} --render {input.render:q} --out {output:q} 2>&1 | tee -i {log:q}"


use rule samples as test_samples with:
    input:
        decode=of_clips("decode.parquet", to_test),
        landmarks=of_clips("landmarks.parquet", to_test),
        matting=of_clips("matting.parquet", to_test),
        fit=of_clips("fit.parquet", to_test),
        render=of_clips("render.parquet", to_test),
    output:
        "<subject>/test_samples.parquet",
    log:
        "<log>/test_samples.log",
    params:
        cfg=stage_params("samples"),
        code=code_digest("stages.samples"),
        clips=lambda wildcards: " ".join(to_test(wildcards.subject)),
        role="test",
    message:
        "Choosing the test frames of {wildcards.subject}"
