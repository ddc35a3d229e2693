# The stage finds out by itself what was made and what is missing: called by hand, it makes the table of an unfinished
# batch, too.


rule compare:
    input:
        metrics=comparison.table_metrics,
        # Another row for a driver changes nothing in the table; what does is among the metrics and the params.
        sheet=local(ancient(str(wf.sheet_file))),
    output:
        page=report(
            "<results>/table.md",
            caption="../report/table.rst",
            category="4 Comparison",
            labels={"shows": "table of subjects and methods"},
        ),
        table="<results>/table.parquet",
    log:
        "<results>/logs/compare.log",
    conda:
        "../../environment.yaml"
    params:
        code=code_digest("stages.compare"),
        rules=lambda wildcards: str(RULES),  # the table says which of them has not run
        results=subpath(output.page, parent=True),
        datasets=comparison.datasets,
    message:
        "Comparing all that was measured"
    shell:
        logged("python -m stages.compare --results {params.results:q} --subjects {input.sheet:q}")
