"""Networks of the avatar and of its losses."""
