"""Predict one half of an entry with a model of the other: `python -m cesped.inferEntry`."""

import sys

if __name__ == "__main__":
    from .cli.main import face

    sys.exit(face("cesped.inferEntry", "infer"))
