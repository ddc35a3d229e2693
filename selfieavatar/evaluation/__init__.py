"""Measure an avatar: metrics, one file per family, and the frames that they are taken over."""
