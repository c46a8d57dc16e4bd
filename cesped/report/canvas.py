"""Sheets to draw on: one style for all figures, and the ways they leave the program."""

import base64
import functools
import html
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..errors import MissingExtraError, OptionError
from ..io.files import check_writable, write_bytes_atomic
from .palette import GREY, INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PNG_DPI = 150
_PAGE_PX_PER_INCH = 96  # so that letters have one size in all figures of a page
_STYLE: Any = {  # a typed mapping of matplotlib's names where it is installed
    "font.size": 10.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.5,
    "svg.hashsalt": "cesped",  # the same evaluation writes the same bytes
}


P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let `draw` work in the style of the package, whatever the user's own matplotlib style is.

    The decorated function raises `MissingExtraError` if matplotlib is not installed.
    """

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            import matplotlib
        except ImportError as error:
            raise MissingExtraError(
                "figures need matplotlib; install it with: pip install 'cesped[plots]'"
            ) from error
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return in_style


def new_figure(width_inch: float, height_inch: float) -> "Figure":
    """Return an empty figure that no window system and no global state knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), layout="constrained")


def svg_element(figure: "Figure", description: str) -> str:
    """Return an `<img>` that holds `figure` as SVG; `description` is read to blind readers."""
    return _element(figure, _svg(figure), "svg+xml", description)


def png_element(figure: "Figure", description: str) -> str:
    """Return an `<img>` that holds `figure` as PNG; `description` is read to blind readers."""
    return _element(figure, _png(figure), "png", description)


def check_png_path(path: str | os.PathLike[str]) -> None:
    """Raise unless a PNG can be written to `path`: to be asked before long work, not after.

    Raises
    ------
    OptionError
        If the name is that of another kind of file.
    UnwritableError
        If no file can be written there.
    """
    target = Path(path)
    if not target.is_dir() and target.suffix.lower() != ".png":
        raise OptionError(
            f"{target} is not the name of a PNG picture, which is all that is written; name it "
            f"{target.with_suffix('.png').name}"
        )
    check_writable(target)


def write_png(figure: "Figure", path: str | os.PathLike[str]) -> Path:
    """Write `figure` to `path` as PNG and return the path; raises as `check_png_path` does."""
    target = Path(path)
    check_png_path(target)
    write_bytes_atomic(target, _png(figure))
    return target


@styled
def _svg(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with _laid_out(figure, figure.dpi):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


@styled
def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with _laid_out(figure, _PNG_DPI):
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(buffer)
    return buffer.getvalue()


@contextmanager
def _laid_out(figure: "Figure", dpi: float) -> Iterator[None]:
    """Lay the figure out once, and let it be drawn as it is inside the block.

    `savefig` draws a figure twice, the first time for the layout alone.
    """
    engine, own_dpi = figure.get_layout_engine(), figure.dpi
    figure.set_dpi(dpi)
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        figure.set_layout_engine(engine)
        figure.set_dpi(own_dpi)


def _element(figure: "Figure", data: bytes, kind: str, description: str) -> str:
    encoded = base64.b64encode(data).decode("ascii")
    width = round(figure.get_figwidth() * _PAGE_PX_PER_INCH)
    alt = html.escape(description)
    return f'<img width="{width}" src="data:image/{kind};base64,{encoded}" alt="{alt}">'
