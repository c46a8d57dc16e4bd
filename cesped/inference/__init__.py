"""Predicting the poses of one half-set."""
