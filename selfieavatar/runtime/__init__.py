"""Drive exported avatars without torch, and choose what paints fastest on this machine."""
