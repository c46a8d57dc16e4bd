"""A server on 127.0.0.1 that speaks Zenodo's records, and misbehaves where it is told to."""

import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

RECORDS = "/api/records"


@dataclass
class Fault:
    """What happens to the next requests for a file; zero or None is what an honest server does."""

    times: int = 1
    status: int = 0
    headers: dict = field(default_factory=dict)
    cut_after: int | None = None
    stall_after: int | None = None
    corrupt: bool = False
    ignore_range: bool = False
    claimed_size: int | None = None
    other_content: bytes | None = None
    without_length: bool = False


@dataclass
class Request:
    """What was asked for, and how much of it was sent."""

    name: str
    start: int
    sent: int = 0


class RecordServer(ThreadingHTTPServer):
    """Holds `records[number][name] = bytes`; `answers[number]` replaces the JSON of a record."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address=("127.0.0.1", 0)):
        super().__init__(address, _Handler)
        self.records = {}
        self.answers = {}
        self.faults = {}  # by file name or record number
        self.requests = []
        self.names = ("key", "size")  # the other spelling: ("filename", "filesize")
        self.bytes_per_s = None
        self.on_sent = lambda name, position: None
        self.stopped = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}{RECORDS}"

    def answer(self, number):
        if number in self.answers:
            return self.answers[number]
        key, size = self.names
        files = [
            {
                key: name,
                size: len(content),
                "checksum": "md5:" + hashlib.md5(content).hexdigest(),
                "links": {"self": f"https://zenodo.org{RECORDS}/{number}/files/{name}/content"},
            }
            for name, content in self.records[number].items()
        ]
        return {"id": number, "metadata": {"title": "a record"}, "files": files}

    def next_fault(self, name):
        with self.lock:
            waiting = self.faults.get(name, [])
            if not waiting:
                return Fault()
            waiting[0].times -= 1
            return waiting[0] if waiting[0].times else waiting.pop(0)

    def sent_of(self, name):
        """Return the bytes sent of all files whose name begins so."""
        return sum(request.sent for request in self.requests if request.name.startswith(name))

    def handle_error(self, request, client_address):
        """Say nothing of clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        parts = [unquote(part) for part in self.path.split("?")[0].split("/") if part]
        number = int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else None
        known = number in self.server.records or number in self.server.answers
        if parts[:2] != ["api", "records"] or not known:
            return self.refuse(404)
        if len(parts) == 3:
            return self.send_record(number)
        return self.send_file(number, parts[4])

    def refuse(self, status, headers=None):
        body = b'{"message": "no"}'
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_record(self, number):
        fault = self.server.next_fault(number)
        self.server.requests.append(Request(str(number), 0))
        if fault.status:
            return self.refuse(fault.status, fault.headers)
        answer = self.server.answer(number)
        body = fault.other_content or (
            answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, number, name):
        content = self.server.records[number].get(name)
        if content is None:
            return self.refuse(404)
        fault = self.server.next_fault(name)
        if fault.status:
            self.server.requests.append(Request(name, -1))
            return self.refuse(fault.status, fault.headers)
        content = fault.other_content or content
        if fault.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 0xFF])
        start, end = self.wanted_range(len(content), fault)
        if start >= len(content):
            return self.refuse(416, {"Content-Range": f"bytes */{len(content)}"})
        total = fault.claimed_size or len(content)
        ranged = "Range" in self.headers and not fault.ignore_range
        request = Request(name, start)
        self.server.requests.append(request)  # before the client can see an answer
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
        if fault.without_length:
            self.send_header("Connection", "close")
        else:
            whole = total if not ranged else end - start
            self.send_header("Content-Length", str(whole))
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            self.send_bytes(content[start:end], fault, request)

    def wanted_range(self, length, fault):
        wanted = self.headers.get("Range")
        if wanted is None or fault.ignore_range:
            return 0, length
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(first), min(length, int(last) + 1) if last else length

    def send_bytes(self, body, fault, request):
        rate = self.server.bytes_per_s
        step = 1 << 16 if rate is None else max(256, int(rate * 0.01))
        for position in range(0, len(body), step):
            block = body[position : position + step]
            if fault.stall_after is not None and position + len(block) > fault.stall_after:
                self.wfile.write(block[: fault.stall_after - position])
                self.wfile.flush()
                self.server.stopped.wait(30)
                return
            if fault.cut_after is not None and position + len(block) > fault.cut_after:
                block = block[: fault.cut_after - position]
                request.sent += len(block)
                self.wfile.write(block)
                return
            request.sent += len(block)  # first: the one who asked may look as soon as it has them
            self.wfile.write(block)
            self.server.on_sent(request.name, request.start + request.sent)
            if rate is not None:
                time.sleep(step / rate)


@contextlib.contextmanager
def running(server):
    """Let `server` answer inside the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if hasattr(server, "stopped"):
            server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
