"""Finding the face, and fitting a morphable model to it."""
