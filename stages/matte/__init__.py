"""Soft alpha of the person: segmentation, edge-aware refinement, recurrent matting, clean background plate."""
