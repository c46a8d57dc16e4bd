"""Scoring predicted poses against the truth."""
