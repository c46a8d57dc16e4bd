"""Figures and the HTML report of one evaluation."""
