rule asset:
    output:
        local("<assets>/{file}"),
    log:
        "<assets>/logs/{file}.log",
    wildcard_constraints:
        file="|".join(asset.file.replace(".", "[.]") for asset in ASSETS.values()),
    cache: "omit-software"
    retries: 3
    conda:
        "../../environment.yaml"
    message:
        "Downloading {wildcards.file}"
    shell:
        logged("python -m stages.assets {wildcards.file:q} --out {output:q}")
