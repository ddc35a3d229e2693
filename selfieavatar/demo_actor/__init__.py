"""Model and film the procedural demo actor, with known truth."""
