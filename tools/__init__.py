"""Commands that are run by hand, outside the workflow."""
