"""Submissions, their checks, ranks and pages."""
