"""The page in a real browser: it asks for nothing, logs no error, draws its scene, and turns it."""

import pytest
from browsing import BROWSER, PATIENCE_S, SPY, browser, served
from synthetic_result import synthetic_result

from cesped.report.html import write_report

# After them: count the shades of each surface, turn the first scene, and tell the test.
PROBE = """<script>
const pause = duration => new Promise(done => setTimeout(done, duration));
async function probe() {
  const place = document.getElementById("maps-3d");
  while (place.dataset.drawn !== "yes") await pause(100);
  const image = new Image();
  image.src = await Plotly.toImage(place, {format: "png", width: 400, height: 200});
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 400;
  canvas.height = 200;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const shades = [0, 200].map(left => {
    const pixels = pen.getImageData(left, 40, 200, 150).data;
    const seen = new Set();
    for (let i = 0; i < pixels.length; i += 4) {
      if (pixels[i + 3]) seen.add(pixels.slice(i, i + 3).join());
    }
    return seen.size;
  });
  await Plotly.relayout(place, {"scene.camera": {eye: {x: 0.1, y: 0.2, z: 1.3}}});
  while (place.layout.scene2.camera.eye.z !== 1.3) await pause(100);
  return {shades: shades, followed: true};
}
window.addEventListener("load", () => probe()
  .catch(problem => ({problem: String(problem)}))
  .then(found => fetch("/found", {method: "POST", body: JSON.stringify({...found, noted})})));
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
def test_the_scene_is_drawn_and_turns_without_network_and_without_errors(tmp_path):
    page = write_report(synthetic_result(tmp_path), tmp_path / "report.html")
    text = page.read_text("utf-8").replace("<head>", "<head>" + SPY, 1)
    text = text.replace("</body>", PROBE + "</body>", 1)
    with (
        served(text.encode("utf-8")) as (address, asked, found, told),
        browser(address, tmp_path / "profile"),
    ):
        assert told.wait(PATIENCE_S), "the page never came to its end"
    assert found.get("problem") is None
    assert found["noted"] == []
    assert asked == []
    assert min(found["shades"]) > 20
    assert found["followed"]
