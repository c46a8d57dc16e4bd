"""`python -m cesped`, the same as the console script `cesped`."""

from .cli.main import run

if __name__ == "__main__":
    run()
