"""Whole jobs, from particles to a report."""
