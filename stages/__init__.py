"""The stages of SelfieAvatar: one command-line module per stage above libraries of pure functions."""
