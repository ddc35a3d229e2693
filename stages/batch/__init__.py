"""What became of a batch of subjects, and a page about it."""
