"""Pieces of HTML that every part of the page uses."""

import html
from collections.abc import Iterable, Mapping


def table(
    heads: tuple[str, ...], rows: Iterable[tuple[str, ...]], number_columns: tuple[int, ...] = ()
) -> str:
    """Return a table; the cells of `rows` are already HTML."""
    kinds = ["n" if column in number_columns else "word" for column in range(len(heads))]
    head = "".join(
        f'<th class="{k}">{html.escape(h)}</th>' for h, k in zip(heads, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{cell}</td>' for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table>{inner}</table></div>'


def details(title: str, content: str) -> str:
    """Return `content`, which is already HTML, to be opened by clicking on `title`."""
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def fact(value: object) -> str:
    """Return a stamp as HTML: lists as lines, nested facts as `name: value` pairs."""
    if isinstance(value, Mapping):
        pairs = (f"{html.escape(str(key))}: {fact(item)}" for key, item in value.items())
        return "; ".join(pairs)
    if isinstance(value, list | tuple):
        return "<br>".join(fact(item) for item in value)
    return "–" if value is None else html.escape(str(value))
