"""The page in a real browser without a network: it draws its scene and logs no error."""

import re
import shutil
import subprocess

import pytest
from synthetic_result import synthetic_result

from cesped.report.html import write_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

# Ahead of all other scripts: errors go where --dump-dom can see them.
SPY = """<script>
const noted = [];
const note = text => {
  noted.push(String(text));
  document.documentElement.dataset.errors = noted.join(" | ");
};
window.addEventListener("error", event => note(event.message || "resource failed"), true);
window.addEventListener("unhandledrejection", event => note(event.reason));
const logged = console.error;
console.error = (...words) => { note(words.join(" ")); logged(...words); };
</script>"""

# After it: both scenes hold a canvas with more than one colour, and turning one turns the other.
PROBE = """<script>
addEventListener("load", () => setTimeout(async () => {
  const place = document.getElementById("maps-3d");
  const picture = await Plotly.toImage(place, {format: "png", width: 400, height: 200});
  const image = new Image();
  image.src = picture;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 400; canvas.height = 200;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  for (const [side, x] of [["left", 0], ["right", 200]]) {
    const pixels = pen.getImageData(x, 40, 200, 150).data;
    const colours = new Set();
    for (let i = 0; i < pixels.length; i += 4) {
      if (pixels[i + 3]) colours.add(pixels.slice(i, i + 3).join());
    }
    place.dataset[side] = colours.size;
  }
  const eye = {x: 0.1, y: 0.2, z: 1.3};
  await Plotly.relayout(place, {"scene.camera": {eye: eye}});
  setTimeout(() => { place.dataset.followed = place.layout.scene2.camera.eye.z; }, 300);
}, 1500));
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_the_scene_is_drawn_without_network_and_without_errors(tmp_path):
    page = write_report(synthetic_result(tmp_path), tmp_path / "report.html")
    text = page.read_text("utf-8").replace("<head>", "<head>" + SPY, 1)
    page.write_text(text.replace("</body>", PROBE + "</body>", 1), "utf-8")
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu-sandbox",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=90000",
        "--dump-dom",
        page.as_uri(),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    dom = re.sub(r"<script.*?</script>", "", finished.stdout, flags=re.DOTALL)
    assert "data-errors" not in dom, re.findall(r'data-errors="[^"]*"', dom)
    assert 'data-drawn="yes"' in dom
    for side in ("left", "right"):
        assert int(re.search(rf'data-{side}="(\d+)"', dom).group(1)) > 20  # shades of a surface
    assert 'data-followed="1.3"' in dom
