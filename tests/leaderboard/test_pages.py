"""The pages: what is committed is what is built, strangers' texts stay texts, and it sorts."""

import base64
import csv
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from browsing import BROWSER, PATIENCE_S, SPY, browser, served

from cesped.cli.main import main
from cesped.leaderboard.charts import Line, Point, fsc_chart, pareto_chart, pareto_front
from cesped.leaderboard.manifest import MANIFEST_NAME
from cesped.workflows.leaderboard import MARKDOWN_NAME, PAGE_NAME, SHEET_NAME, build_leaderboard

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HOSTILE = '<script>noted.push("run")</script><b>=1+1|[x](javascript:a)`\x1b[2J\u202e"onload="x'


@pytest.fixture(scope="module")
def results(made_submission, tmp_path_factory):
    """A folder with an honest submission, better ones, one of no known metric, and wrong ones."""
    folder = tmp_path_factory.mktemp("results")
    for name, factor, version in (
        ("turner", 1.0, 1),
        ("better", 0.5, 1),
        ("worse", 9.0, 1),
        ("future", 0.1, 7),
    ):
        copy = shutil.copytree(made_submission, folder / name)
        change_score(copy, factor, version)
        rename(copy, HOSTILE if name == "worse" else name.capitalize())
    leaking = folder / "leaking" / MANIFEST_NAME
    shutil.copytree(made_submission, leaking.parent)
    leaking.write_text(leaking.read_text().replace("learned_on = [1, 0]", "learned_on = [1, 1]"))
    shutil.copytree(made_submission, folder / "contradictory")
    change_entry_name(folder / "contradictory")
    (folder / "broken").mkdir()
    (folder / "broken" / MANIFEST_NAME).write_text("format = ")
    (folder / "LONELY.json").write_text("{}")
    (folder / "link").symlink_to(folder / "turner")
    (folder / "better" / "rescored").mkdir()
    move_images(shutil.copytree(made_submission, folder / "other_images"))
    for name in ("FAKE.json", "FAKE.errors.csv"):
        shutil.move(folder / "better" / "results" / name, folder / "better" / "rescored")
    return folder


def change_score(folder, factor, version):
    path = folder / "results" / "FAKE.json"
    document = json.loads(path.read_text())
    document["cesped"]["stamps"]["metric_version"] = version
    for row in document["cesped"]["rows"]:
        if row["unit"] == "deg":
            value = row["value"] = factor * row["value"]
            row["interval"] = [value - 0.1, value + 0.1]
    path.write_text(json.dumps(document))
    errors = path.with_name("FAKE.errors.csv")
    table = pd.read_csv(errors)
    table["angular_error_deg"] *= factor
    table.to_csv(errors, index=False)


def move_images(folder):
    """Make a score one of other images under the same names."""
    path = folder / "results" / "FAKE.json"
    document = json.loads(path.read_text())
    for file in document["cesped"]["stamps"]["image_files"]:
        file["checksum"] = "sha256:" + "0" * 64
    path.write_text(json.dumps(document))
    rename(folder, "Otherwise")


def rename(folder, name):
    path = folder / MANIFEST_NAME
    text = path.read_text().replace('"Turner"', json.dumps(name))
    path.write_text(text.replace("Turns the labels", f"Turns {json.dumps(name)[1:-1]} labels"))


def change_entry_name(folder):
    path = folder / MANIFEST_NAME
    path.write_text(path.read_text().replace('name = "FAKE"', 'name = "10280"'))


@pytest.fixture(scope="module")
def built(results, tmp_path_factory):
    return build_leaderboard(results, tmp_path_factory.mktemp("pages"))


def text_of(built, name):
    return next(path for path in built.files if path.name == name).read_text("utf-8")


@pytest.mark.parametrize("name", [MARKDOWN_NAME, PAGE_NAME, SHEET_NAME])
def test_the_committed_pages_are_those_that_the_results_make(tmp_path, name):
    """After a change of results or layout: `cesped leaderboard build`."""
    build_leaderboard(BENCHMARKS / "results", tmp_path)
    assert (tmp_path / name).read_text("utf-8") == (BENCHMARKS / name).read_text("utf-8")


def test_links_of_the_committed_table_lead_to_files():
    text = (BENCHMARKS / MARKDOWN_NAME).read_text("utf-8")
    targets = re.findall(r"\]\(((?!https?:)[^)]+)\)", text)
    assert any(target.startswith("results/") for target in targets)
    assert all((BENCHMARKS / target).exists() for target in targets)


def test_what_cannot_be_shown_is_named_with_its_reason(built):
    reasons = {item.name: item.reason for item in built.left_out}
    assert set(reasons) == {
        "LONELY.json",
        "broken",
        "contradictory, 10280",
        "future, FAKE",
        "leaking, FAKE",
    }
    assert "learned on half 1 (`learned_on`)" in reasons["leaking, FAKE"]
    assert "of metric version 7, which cesped" in reasons["future, FAKE"]
    assert "without a manifest" in reasons["LONELY.json"]
    assert reasons["broken"].startswith("broken/manifest.toml is no TOML")
    assert "score of another entry: FAKE" in reasons["contradictory, 10280"]
    for name in (MARKDOWN_NAME, PAGE_NAME):
        assert "another entry: FAKE" in text_of(built, name)


def test_the_ranks_of_the_table(built):
    text = text_of(built, MARKDOWN_NAME)
    section = text[text.index("### FAKE") : text.index("## The published means")]
    ranks = re.findall(r"^\| (\d) \| (?:([a-z]) \| )?(\\<script|\w+)", section, re.MULTILINE)
    assert ranks == [
        ("1", "a", "Better"),
        ("2", "b", "Turner"),
        ("3", "c", "\\<script"),
        ("1", "", "Otherwise"),  # of other images: apart
    ]
    difference = r"not ranked with the rows above: images sha256:\w{12} instead of sha256:\w{12}"
    assert re.search(difference, section)
    assert "[re-scored](results/better/rescored/FAKE.json)" in section
    assert "[as submitted, not re-scored](results/turner/results/FAKE.json)" in section


def test_published_figures_come_first_and_simulated_entries_are_marked(built):
    text = text_of(built, MARKDOWN_NAME)
    assert text.index("As published, not re-scored") < text.index("### FAKE")
    assert "simulated\\_10648 (simulated)" in text
    assert "means over seven entries; its angular errors are those of all eight rows" in text
    assert "| Table III, eight rows | 28.7 (12.7) | 23.9 (12.2) | 0.059 (0.033) |" in text


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.links = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src")]


def test_no_text_of_a_stranger_becomes_part_of_the_page(built):
    page = Elements()
    page.feed(text_of(built, PAGE_NAME))
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert all(re.match(r"https?://|#|results/|data:,", link) for link in page.links)
    for name in (MARKDOWN_NAME, PAGE_NAME, SHEET_NAME):
        text = text_of(built, name)
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script>" not in text_of(built, MARKDOWN_NAME).replace("\\<script\\>", "")


def test_the_table_file_holds_every_row_and_no_formula(built):
    rows = list(csv.DictReader(text_of(built, SHEET_NAME).splitlines()))
    assert len(rows) == 10 + 4
    assert all(cell[:1] not in "=+@\t" for row in rows for cell in row.values() if cell)
    better = next(row for row in rows if row["method"] == "Better")
    assert better["rank"] == "1"
    assert float(better["weighted_mean_angular_error_deg"]) == pytest.approx(1.5, abs=0.01)


def test_reports_are_linked_where_they_are(results, tmp_path):
    report = tmp_path / "reports" / "turner" / "FAKE" / "report.html"
    report.parent.mkdir(parents=True)
    report.touch()
    built = build_leaderboard(results, tmp_path / "pages", tmp_path / "reports")
    assert 'href="../reports/turner/FAKE/report.html"' in text_of(built, PAGE_NAME)


def test_the_command_says_what_it_did(results, tmp_path, capsys):
    words = ["leaderboard", "build", "--results", str(results), "--outdir", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "14 rows of 11 entries" in shown
    assert "left out: LONELY.json: a score without a manifest" in shown
    assert f"Wrote {tmp_path / MARKDOWN_NAME}" in shown
    assert main(["leaderboard", "build", "--results", str(tmp_path / "none")]) == 1
    assert "name the folder of results" in capsys.readouterr().err


def test_a_front_has_no_point_that_another_beats():
    points = [Point(str(n), x, y) for n, (x, y) in enumerate([(1, 9), (2, 9), (3, 4), (3, 5)])]
    assert pareto_front(points) == [0, 2]
    assert pareto_front([]) == []


def test_charts_survive_absurd_figures():
    points = [Point(HOSTILE, 1e-9, 1e9), Point("b", 1e9, -5.0)]
    for chart in (
        pareto_chart(points, "x", "y"),
        fsc_chart([Line(HOSTILE, [0.1, 0.2], [float("nan"), 900.0])]),
    ):
        elements = Elements()
        elements.feed(chart)
        assert "script" not in elements.tags
        assert "nan" not in chart.replace("nan,", "")


PROBE = """<script>
window.addEventListener("load", () => {
  const found = {};
  const table = [...document.querySelectorAll("section")].at(-3).querySelectorAll("table")[0];
  const methods = () => [...table.tBodies[0].rows].map(row => row.children[2].dataset.key);
  const heads = [...table.querySelectorAll("th")];
  const head = heads.find(cell => cell.textContent.startsWith("wMAnE"));
  found.start = methods();
  head.firstChild.click();
  found.rising = methods();
  found.sort = head.getAttribute("aria-sort");
  head.firstChild.click();
  found.falling = methods();
  found.charts = document.querySelectorAll("svg polyline").length;
  found.wide = document.documentElement.scrollWidth <= window.innerWidth;
  fetch("/found", {method: "POST", body: JSON.stringify({...found, noted})});
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_the_page_sorts_in_a_browser_and_asks_for_nothing(built, tmp_path):
    text = text_of(built, PAGE_NAME)
    assert re.search(r"script-src 'sha256-[\w+/=]+'\"", text)
    text = re.sub(r"<meta http-equiv=[^>]+>", "", text)  # or the probe could not run either
    text = text.replace("<head>", "<head>" + SPY, 1).replace("</body>", PROBE + "</body>", 1)
    with (
        served(text.encode("utf-8")) as (address, asked, found, told),
        browser(address, tmp_path / "profile"),
    ):
        assert told.wait(PATIENCE_S), "the page never came to its end"
    assert found["noted"] == []
    assert asked == []
    assert found["start"][:2] == found["rising"][:2] == ["Better", "Turner"]
    assert found["rising"] == found["falling"][::-1]
    assert found["sort"] == "ascending"
    assert found["charts"] > 3
    assert found["wide"]


def test_the_policy_names_the_script_of_the_page(built):
    text = text_of(built, PAGE_NAME)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_no_other_script_runs(built, tmp_path):
    page = tmp_path / "page.html"
    intruder = "<script>document.title = 'intruded'</script></body>"
    page.write_text(text_of(built, PAGE_NAME).replace("</body>", intruder))
    shown = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--disable-dev-shm-usage", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    ).stdout
    assert "<title>cesped leaderboard</title>" in shown
