"""Shards: simulated images of many structures, in files that are written and read as streams."""
