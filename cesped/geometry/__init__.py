"""Rotations, Euler angles, in-plane moves, point groups and grids."""
