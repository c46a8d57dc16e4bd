"""Text of strangers, made harmless for the place where it is shown.

Names of methods, notes and links come from whoever sends a submission. A terminal acts on control
characters, a browser on tags, Markdown on its own marks, a spreadsheet on cells that begin like a
formula: each place has its own way of being told that this is only text.
"""

import html
import re
import unicodedata
from urllib.parse import quote, urlsplit

LONGEST_NAME = 120
LONGEST_TEXT = 2000

# at the begin of a line others would mean something too: texts never stand there
_MARKDOWN_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&@!$]|:(?=//)|(?<=www)\.)")
_FORMULA = re.compile(r"^[=+\-@\t\r|%]")
_DOI = re.compile(r"10\.\d{4,9}/[-._;()/:A-Za-z0-9]{1,200}")
_LONGEST_LINK = 500
_MOST_ACCENTS = 2
#: Letters by their category that are drawn as nothing: fillers of Hangul, the blank of Braille.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")
#: Accents that are drawn as nothing: they only choose a shape of the letter before.
_SELECTORS = frozenset(map(chr, (0x034F, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10))))


def plain(text: object, longest: int = LONGEST_TEXT) -> str:
    """Return `text` as one printable line of at most `longest` characters.

    Control characters, marks that turn the direction of writing, and characters that no reader
    sees (Unicode categories Cc, Cf, Cs, Co, Cn, and letters that are blank) become spaces; so do
    line ends. Of accents piled on one letter, which would be drawn over the lines around it, two
    stay.

    Examples
    --------
    >>> plain("a\\x1b[2J b\\n\\u202ec")
    'a [2J b c'
    """
    seen = "".join(
        " " if _is_blank(letter) else letter
        for letter in str(text)[: 4 * longest]
        if letter not in _SELECTORS
    )
    kept, piled = [], 0
    for letter in unicodedata.normalize("NFC", " ".join(seen.split())):
        piled = piled + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        kept += [letter] if piled <= _MOST_ACCENTS else []
    line = "".join(kept)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _is_blank(letter: str) -> bool:
    return unicodedata.category(letter).startswith(("C", "Z")) or letter in _BLANK_LETTERS


def for_html(text: object, longest: int = LONGEST_TEXT) -> str:
    """Return `text` for the content or a quoted attribute of an HTML element."""
    return html.escape(plain(text, longest), quote=True)


def for_markdown(text: object, longest: int = LONGEST_TEXT) -> str:
    r"""Return `text` for a cell of a Markdown table: no mark in it means anything.

    Examples
    --------
    >>> print(for_markdown("<b>x</b> | [y](z)"))
    \<b\>x\</b\> \| \[y\](z)
    """
    return _MARKDOWN_MARKS.sub(r"\\\1", plain(text, longest))


def for_csv(text: object, longest: int = LONGEST_TEXT) -> str:
    """Return `text` for a cell of a table file: a formula is quoted by an apostrophe.

    Examples
    --------
    >>> for_csv('=HYPERLINK("http://x")')
    '\\'=HYPERLINK("http://x")'
    """
    line = plain(text, longest)
    return f"'{line}" if _FORMULA.match(line) else line


def path_link(path: str) -> str:
    """Return a relative path for a link in Markdown or HTML, whatever its folders are called.

    Examples
    --------
    >>> path_link("a](javascript:x) <b>/score.json")
    'a%5D%28javascript%3Ax%29%20%3Cb%3E/score.json'
    """
    return quote(path, safe="/-._+")


def safe_link(address: str | None) -> str | None:
    """Return an address that may stand in a link, or None if it may not.

    Web addresses (http, https) with a host, and DOIs, which become one. Whatever could end the
    attribute or the Markdown link that it is written into is percent-encoded.

    Examples
    --------
    >>> safe_link("10.1103/PhysRevResearch.6.023245")
    'https://doi.org/10.1103/PhysRevResearch.6.023245'
    >>> safe_link("javascript:alert(1)") is None
    True
    """
    text = (address or "").strip()
    if not text or len(text) > _LONGEST_LINK or plain(text) != text or " " in text:
        return None
    bare = text.removeprefix("doi:")
    if _DOI.fullmatch(bare):
        return f"https://doi.org/{quote(bare, safe='/.-_;:')}"
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return None
    return quote(text, safe=":/?#=&%;,.-_~+")
