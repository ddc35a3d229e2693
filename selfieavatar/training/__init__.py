"""Train the networks of an avatar."""
