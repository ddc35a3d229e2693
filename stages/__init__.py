"""Run the stages of the workflow as commands: one module per stage, `python -m stages.<stage> --help`."""
