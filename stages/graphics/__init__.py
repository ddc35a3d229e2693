"""Rasterising, shading, textures and the small picture operations that everything else draws with."""
