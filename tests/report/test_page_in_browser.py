"""The page in a real browser: it asks for nothing, logs no error, draws its scene, and turns it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from synthetic_result import synthetic_result

from cesped.report.html import write_report

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S = 120

# Ahead of all other scripts: what goes wrong is kept.
SPY = """<script>
const noted = [];
window.addEventListener("error", e => noted.push(e.message || "resource failed"), true);
window.addEventListener("unhandledrejection", e => noted.push(String(e.reason)));
const logged = console.error;
console.error = (...words) => { noted.push(words.join(" ")); logged(...words); };
</script>"""

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


@contextlib.contextmanager
def served(page):
    """Serve `page` on this machine; yield its address, what else was asked, and what came back."""
    asked, found, told = [], {}, threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/":
                asked.append(self.path)
            self.send_response(200 if self.path == "/" else 404)
            self.end_headers()
            if self.path == "/":
                self.wfile.write(page)

        def do_POST(self):
            found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            told.set()

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked, found, told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def browser(address, profile):
    """Open `address` in a browser that can find no other host, and close it afterwards."""
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--no-first-run",
        "--disable-background-networking",
        "--enable-unsafe-swiftshader",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",  # keeps it open
        address,
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **quiet) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


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
