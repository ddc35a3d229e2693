"""The commands of the workflow: one module per stage, `python -m stages.<stage> --help`."""
