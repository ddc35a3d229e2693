"""Export a tracked subject to the formats of other methods, and import their images."""
