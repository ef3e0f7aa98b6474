"""The server: GET and HEAD, on loopback alone, for whoever asks for it by a name of loopback; nothing is changed.

A page of another site that a browser has open can make it send requests here. It must not read the answers: no header
lets it, a name of its own that it has made to lead here (DNS rebinding) is refused by the Host header, and what a
page here may load is said by its Content-Security-Policy.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from testbed.errors import UserError
from testbed.report.listing import folder_page, listing_page, progress_page
from testbed.serve.shelf import REPORT, Shelf

LOOPBACK = ("127.0.0.1", "::1")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    **dict.fromkeys((".yaml", ".jsonl", ".txt", ".log"), "text/plain; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_TIMEOUT_S = 30


class Server(ThreadingHTTPServer):
    """Shows what is on a shelf. host: one of LOOPBACK; port: 0 for any that is free. Raises UserError."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, shelf: Shelf, host: str, port: int) -> None:
        if host not in LOOPBACK:
            raise UserError(f"--host {host}: only {' and '.join(LOOPBACK)} are served, which nobody else can reach")
        if not shelf.root.is_dir():
            raise UserError(f"{shelf.root}: there is no such folder; runs lie in runs/, where testbed run was called")
        self.shelf = shelf
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UserError(f"can't listen on {host}, port {port}: {error.strerror or error}") from None
            raise UserError(f"port {port} is taken; name another one, or --port 0 for any that is free") from None

    def server_bind(self) -> None:
        """Without a look-up of this host's name, which may ask the network."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where it is."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}/"

    def answers_to(self, host: str) -> bool:
        """Whether this is a name of ours in a Host header."""
        names = ("127.0.0.1", "localhost", "[::1]")
        return host.lower() in {f"{name}:{self.server_port}" for name in names}


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "testbed", ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        if not self.server.answers_to(self.headers.get("Host", "")):
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to 127.0.0.1 and localhost only")
            return
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except (OSError, ValueError):
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing of that name here")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        path = found(self.server.shelf.root, parts)
        if path == self.server.shelf.root.resolve():
            self._page(listing_page(str(self.server.shelf.root), self.server.shelf.items()))
        elif path.is_dir() and parts[-1]:
            self._redirect(url.path.rstrip("/") + "/")
        elif path.is_dir():
            self._directory(path, "/".join(parts[:-1]), url.query == "files" or len(parts) > 2)
        else:
            self._file(path)

    def _directory(self, path: Path, name: str, files: bool) -> None:
        """A run's or study's report, or how far it is; else, or when asked for, its files."""
        item = next((item for item in self.server.shelf.items() if item.name == path.name), None)
        if item is None or files or (item.kind == "run" and not item.report):
            self._page(folder_page(name, _contents(path)))
        elif item.report and item.state == "ended":
            self._file(path / REPORT)
        else:
            self._page(progress_page(item, self.server.shelf.progress(path)))

    def _file(self, path: Path) -> None:
        with open_plain(path) as file:
            self._head(
                HTTPStatus.OK, _TYPES.get(path.suffix, "application/octet-stream"), os.fstat(file.fileno()).st_size
            )
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile)

    def _page(self, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        data = text.encode()
        self._head(status, _TYPES[".html"], len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _redirect(self, where: str) -> None:
        self.send_response(HTTPStatus.MOVED_PERMANENTLY)
        self.send_header("Location", "/" + where.lstrip("/"))  # never //host, which is another's
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        data = f"{why}\n".encode()
        self.close_connection = True
        self._head(status, "text/plain; charset=utf-8", len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: HTTPStatus, kind: str, size: int) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whoever watches wants their terminal."""


def found(root: Path, parts: list[str]) -> Path:
    """What a request names, links followed. Raises FileNotFoundError for what is not below ``root``, hidden or not one
    plain name after the other."""
    if any(part.startswith(".") or "/" in part or "\\" in part or "\0" in part for part in parts):
        raise FileNotFoundError
    if "" in parts[:-1]:
        raise FileNotFoundError
    whole, path = root.resolve(), root.joinpath(*parts).resolve(strict=True)
    if not path.is_relative_to(whole) or (parts and not parts[-1] and not path.is_dir()):
        raise FileNotFoundError
    return path


def open_plain(path: Path) -> BinaryIO:
    """A plain file, opened. Raises FileNotFoundError for anything else: a pipe would keep us waiting."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileNotFoundError
    return file


def _contents(path: Path) -> list[tuple[str, str]]:
    """(name, size) of what is in a directory and not hidden; folders end in a slash."""
    entries = sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=lambda one: one.name)
    return [(f"{one.name}/", "") if one.is_dir() else (one.name, f"{one.lstat().st_size} bytes") for one in entries]
