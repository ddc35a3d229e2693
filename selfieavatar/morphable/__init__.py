"""Morphable face models behind one interface, and the landmarks on them."""
