"""Preprocessed images kept on disk, so that they are prepared once and read many times."""
