"""Define the networks of the avatar and of its losses."""
