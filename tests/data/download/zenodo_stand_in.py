"""zenodo.org as programs see it: https through a proxy, both on this machine.

A proxy leads every connection to one server, whose certificate is for zenodo.org and signed by
itself; programs are told to trust it. So the real zenodo-get runs, as it is installed.
"""

import contextlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading

from record_server import RecordServer

HOST = "zenodo.org"


def make_certificate(folder):
    """Return the files of a certificate for zenodo.org and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


def can_make_certificates():
    return shutil.which("openssl") is not None


class TlsRecordServer(RecordServer):
    """The server of records, encrypted."""

    def __init__(self, certificate, key):
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    def finish_request(self, request, client_address):
        with contextlib.suppress(OSError):
            encrypted = self.context.wrap_socket(request, server_side=True)
            super().finish_request(encrypted, client_address)
            encrypted.close()


class Tunnel(socketserver.ThreadingTCPServer):
    """A proxy that knows CONNECT, and leads everywhere to `port` on this machine."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, port):
        super().__init__(("127.0.0.1", 0), _Connect)
        self.port = port
        self.wanted = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Connect(socketserver.StreamRequestHandler):
    def handle(self):
        words = self.rfile.readline().split()
        while self.rfile.readline().strip():
            pass
        self.server.wanted.append(words[1].decode())
        with socket.create_connection(("127.0.0.1", self.server.port)) as inner:
            self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(inner, self.connection), daemon=True)
            back.start()
            _pump(self.connection, inner)
            back.join(5)


def _pump(source, target):
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
