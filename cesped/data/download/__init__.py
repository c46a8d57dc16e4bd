"""Fetching published entries: records, transfers that go on where they stopped, checks."""
