"""Particle tables, benchmark entries and the dataset."""
