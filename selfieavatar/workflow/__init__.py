"""The workflow: what its rules ask for, of which files, and by which commands."""
