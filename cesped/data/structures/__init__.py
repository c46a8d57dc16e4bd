"""Structures of atoms: which of them, and which of their atoms, images are simulated from."""
