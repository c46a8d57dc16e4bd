"""Simulated particles: what is drawn, how images are made of it, and the entries they become."""
