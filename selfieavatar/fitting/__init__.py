"""Fit a morphable model to a clip: pose, expression, gaze, light."""
