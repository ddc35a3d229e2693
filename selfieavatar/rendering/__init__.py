"""Rasterise, shade and texture the fitted face."""
