# The workflow is defined in workflow/Snakefile, where Snakemake and its catalogue look for it.


include: "workflow/Snakefile"


workflow.default_target = "all"  # Snakemake takes none from a file that is included
