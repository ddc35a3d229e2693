"""Cameras, rotations, poses and mesh normals."""
