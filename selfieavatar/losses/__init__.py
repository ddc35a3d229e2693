"""Losses of the paper, one per file; total.py joins them (eq. 7)."""
