"""Carry one person's motion over to another person's model."""
