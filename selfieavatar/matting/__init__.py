"""Separate the person from the background: segmentation, refinement, recurrent matting, clean plate."""
