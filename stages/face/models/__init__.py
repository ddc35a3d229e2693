"""Morphable models that speak the interface of stages.face.morphable."""
