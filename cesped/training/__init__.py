"""Learning one half-set."""
