"""Training of networks that look at many views of one particle at once."""
