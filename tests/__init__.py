"""Tests; a package by name, since a dependency installs another one called `tests`."""
