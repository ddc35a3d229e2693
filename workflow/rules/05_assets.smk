rule asset:
    output:
        "<assets>/{file}",
    wildcard_constraints:
        file="|".join(asset.file.replace(".", "[.]") for asset in ASSETS.values()),
    log:
        "<assets>/logs/{file}.log",
    cache: "omit-software"
    retries: 3
    message:
        "Downloading {wildcards.file}"
    shell:
        "python -m stages.assets {wildcards.file:q} --out {output:q} 2>&1 | tee {log:q}"
