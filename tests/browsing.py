"""A page in a real browser that finds no network, and a small server that hears what it does."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S = 600

# Ahead of all other scripts: what goes wrong is kept.
SPY = """<script>
const noted = [];
window.addEventListener("error", e => noted.push(e.message || "resource failed"), true);
window.addEventListener("unhandledrejection", e => noted.push(String(e.reason)));
const logged = console.error;
console.error = (...words) => { noted.push(words.join(" ")); logged(...words); };
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
        "--disable-dev-shm-usage",  # which is small in containers
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
