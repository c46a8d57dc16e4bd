"""Image formation and its inverse as functions on arrays."""
