"""Figures of merit, one file per family; registry.py lists them."""
