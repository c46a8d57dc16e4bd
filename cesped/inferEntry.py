"""Predict one half of an entry with a model of the other: `python -m cesped.inferEntry`."""

import sys

from .cli.main import face

if __name__ == "__main__":
    sys.exit(face("cesped.inferEntry", "infer"))
