"""Train on one half of an entry and predict the other: `python -m cesped.trainEntry`."""

import sys

if __name__ == "__main__":
    from .cli.main import face

    sys.exit(face("cesped.trainEntry", "train"))
