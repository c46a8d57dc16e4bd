"""Particles and poses in, volume out."""
