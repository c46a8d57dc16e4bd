"""Train on one half of an entry and predict the other: `python -m cesped.trainEntry`."""

import sys

from .cli.main import face

if __name__ == "__main__":
    sys.exit(face("cesped.trainEntry", "train"))
