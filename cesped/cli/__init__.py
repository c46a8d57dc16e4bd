"""Parse, call, print, exit code."""
