"""Training of the avatar: data, loop, resume state, monitoring."""
