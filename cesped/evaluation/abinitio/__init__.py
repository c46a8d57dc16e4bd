"""Scoring poses that were found without a reference: in a frame and hand of their own."""
