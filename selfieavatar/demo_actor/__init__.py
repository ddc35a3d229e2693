"""Model and render the procedural demo actor with its ground truth."""
