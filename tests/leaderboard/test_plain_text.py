"""What strangers write is only text, wherever it is shown."""

import csv
import html
import io
import unicodedata
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cesped.leaderboard.plain_text import (
    for_csv,
    for_html,
    for_markdown,
    path_link,
    plain,
    safe_link,
)

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[x](javascript:alert(1)) | **b** `c`",
    "\x1b]0;owned\x07\x1b[31mred\x1b[2J",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd",
    "line\nbreak\r\n| a | b |\n|---|---|",
    "&lt;b&gt; &amp; &#x3c;",
    "![x](http://evil.example/track.png)",
)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))


@given(st.text())
def test_plain_text_has_one_line_of_printable_letters(text):
    line = plain(text, 50)
    assert len(line) <= 50
    assert all(not unicodedata.category(letter).startswith("C") for letter in line)
    assert line.isprintable()
    assert plain(line, 50) == line


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Z" + "\u0335\u0321\u0302" * 40 + "algo", "\u1e90\u0335\u0335algo"),  # over other lines
        ("e\u0301e\u0301", "\u00e9\u00e9"),
        ("\u3164\u115f\uffa0\u2800", ""),  # letters by name, and nothing to see
        ("a\ufe0fb\u034fc\u180bd", "abcd"),
        ("\U000e0041\U000e0042x", "x"),  # tags
    ],
)
def test_letters_that_nobody_sees_or_that_leave_their_line_go(text, seen):
    assert plain(text) == seen


@pytest.mark.parametrize("name", ["a](javascript:alert(1))", '"><b>', "a b", "..%2f", "x#y?z=1"])
def test_no_name_of_a_folder_leaves_its_link(name):
    link = path_link(f"{name}/rescored/DEMO.json")
    assert not set(link) & set(" \"'<>()[]#?\\`|")
    assert unquote(link) == f"{name}/rescored/DEMO.json"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_tag_comes_through_html(text):
    tags = Tags()
    tags.feed(f'<td title="{for_html(text)}">{for_html(text)}</td>')
    assert [tag for tag, _ in tags.found] == ["td"]
    assert [name for name, _ in tags.found[0][1]] == ["title"]
    assert html.unescape(for_html(text)) == plain(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_mark_comes_through_markdown(text):
    shown = for_markdown(text)
    bare = shown.replace("\\\\", "")
    for mark in ("`", "*", "_", "[", "]", "<", ">", "|", "!", "&", "@", "#", "://", "www."):
        assert bare.count(mark) == bare.count("\\" + mark)
    assert "\n" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_no_formula_comes_through_a_table_file(text):
    sheet = io.StringIO()
    csv.writer(sheet).writerow([for_csv(text), "next"])
    ((cell, after),) = csv.reader(io.StringIO(sheet.getvalue()))
    assert cell[:1] not in "=+-@\t\r|%"
    assert after == "next"


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
        ("10.1103/PhysRevResearch.6.023245", "https://doi.org/10.1103/PhysRevResearch.6.023245"),
        ("doi:10.1/x", None),
        ("http://example.org/(a)'b", "http://example.org/%28a%29%27b"),
        ('https://e.org/"onclick=', "https://e.org/%22onclick="),
        ("https://e.org/<b>", "https://e.org/%3Cb%3E"),
        ("javascript:alert(1)", None),
        ("JAVASCRIPT://x.org/%0aalert(1)", None),
        ("data:text/html,x", None),
        ("file:///etc/passwd", None),
        ("//example.org", None),
        ("https://", None),
        ("https://user:pass@example.org", None),
        ("https://exa mple.org", None),
        ("https://e.org/\x1b[2J", None),
        ("https://[", None),
        ("https://e.org/" + "a" * 600, None),
        ("", None),
        (None, None),
    ],
)
def test_only_addresses_of_the_web_become_links(address, link):
    assert safe_link(address) == link
