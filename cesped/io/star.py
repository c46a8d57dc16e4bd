"""Star files as named tables of columns; what a column means is in `cesped.data.conventions`."""

from .star_reader import KEY_VALUE, VERSION, read_star
from .star_writer import write_star

__all__ = ["KEY_VALUE", "VERSION", "read_star", "write_star"]
