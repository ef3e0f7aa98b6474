"""``testbed serve``: what it shows, that it goes on showing it, and what it keeps from whoever asks for more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from testbed.errors import UserError
from testbed.serve.server import Server
from testbed.serve.shelf import Shelf
from testbed.study.trials import Trial, TrialStore

SECRET = "what nobody may read"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run and a study, as they leave their directories, a secret beside them, and ways that lead to it."""
    (tmp_path / "secret").write_text(SECRET)
    folder = tmp_path / "runs"
    run = folder / "crash"
    (run / "events").mkdir(parents=True)
    meta = {"format": "oae-testbed run 4", "finished": True, "engine": "sim", "complete": True, "why": "", "meta": {}}
    (run / "meta.json").write_text(json.dumps(meta))
    rounds = {"rounds": 9, "broken_rounds": [4]}
    verdicts = {"bisynchrony": rounds, "fidelity": {"answer": "trusted"}, "name": "crash", "seed": 7}
    (run / "verdicts.json").write_text(json.dumps(verdicts))
    (run / "report.html").write_text("<h1>the report</h1>")
    (run / "events" / "sent.parquet").write_bytes(b"PAR1\x00\xff")
    (run / "out").symlink_to(tmp_path)
    (run / "leak").symlink_to(tmp_path / "secret")
    (run / ".hidden").write_text(SECRET)
    (folder / "latest").symlink_to("crash")
    os.mkfifo(run / "pipe")
    return folder


@pytest.fixture
def server(runs: Path) -> Iterator[Server]:
    with Server(Shelf(runs), "127.0.0.1", 0) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode("latin-1")
    connection.close()
    return answer, text


def test_the_first_page_lists_what_there_is_and_what_came_of_it(server: Server) -> None:
    answer, text = ask(server, "/")
    assert answer.status == 200
    assert 'href="/crash/"' in text
    assert "crash on sim, seed 7: 1 of 9 rounds broken, trusted" in text
    assert "ended" in text
    assert "latest" not in text, "the same run once"


@pytest.mark.parametrize("path", ["/crash/", "/crash/report.html", "/latest/"])
def test_a_run_is_its_report(server: Server, path: str) -> None:
    assert ask(server, path)[1] == "<h1>the report</h1>"


def test_files_are_had_as_they_are(server: Server, runs: Path) -> None:
    answer, text = ask(server, "/crash/events/sent.parquet")
    assert text.encode("latin-1") == (runs / "crash/events/sent.parquet").read_bytes()
    assert answer.headers["Content-Type"] == "application/octet-stream"
    listed = ask(server, "/crash/?files")[1]
    assert 'href="plan.json"' not in listed
    assert 'href="verdicts.json"' in listed
    assert ".hidden" not in listed
    assert 'href="sent.parquet"' in ask(server, "/crash/events/")[1]
    moved, _ = ask(server, "/crash/events")
    assert (moved.status, moved.headers["Location"]) == (301, "/crash/events/")


def test_a_head_is_the_same_without_its_body(server: Server) -> None:
    answer, text = ask(server, "/crash/report.html", method="HEAD")
    assert (answer.status, answer.headers["Content-Length"], text) == (200, "19", "")


@pytest.mark.parametrize(
    "path",
    [
        *("/../secret", "/crash/../../secret", "/%2e%2e/secret", "/crash/%2e%2e/%2e%2e/secret", "/..%2fsecret"),
        *("/crash/..%2f..%2fsecret", "/crash/..%5c..%5csecret", "/.%2e/secret", "/crash/out/secret", "/crash/leak"),
        *(
            "/crash/pipe",
            "/crash/.hidden",
            "/crash/out",
            "/crash/report.html%00.txt",
            "//etc/passwd",
            "/%2fetc%2fpasswd",
        ),
        *("//[/", "/crash//report.html", "/nothing", "/crash/report.html/", f"/{'a' * 5000}", "/%ff%fe"),
    ],
)
def test_nothing_is_read_outside_of_the_folder(server: Server, path: str) -> None:
    answer, text = ask(server, path)
    assert answer.status == 404
    assert SECRET not in text
    assert "root:" not in text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil.example:{port}", ""]
)
def test_a_name_that_another_made_to_lead_here_is_not_answered_to(server: Server, host: str) -> None:
    answer, text = ask(server, "/", host.format(port=server.server_port) if host else "")
    assert answer.status == 421
    assert "crash" not in text


def test_names_of_loopback_are_answered_to(server: Server) -> None:
    for name in ("localhost", "LOCALHOST", "[::1]"):
        assert ask(server, "/", f"{name}:{server.server_port}")[0].status == 200


def test_pages_may_load_nothing_from_elsewhere_nor_stand_inside_others(server: Server) -> None:
    for path in ("/", "/crash/", "/nothing"):
        headers = ask(server, path)[0].headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(server: Server, runs: Path, method: str) -> None:
    assert ask(server, "/crash/report.html", method=method)[0].status == 501
    assert (runs / "crash/report.html").read_text() == "<h1>the report</h1>"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "192.168.0.1", ""])
def test_only_loopback_is_served(runs: Path, host: str) -> None:
    with pytest.raises(UserError, match=r"only 127\.0\.0\.1 and ::1 are served"):
        Server(Shelf(runs), host, 0)


def test_a_port_that_is_taken_is_said_to_be(server: Server, runs: Path) -> None:
    with pytest.raises(UserError, match=f"port {server.server_port} is taken; name another one, or --port 0"):
        Server(Shelf(runs), "127.0.0.1", server.server_port)


def test_a_folder_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        Server(Shelf(tmp_path / "nothing"), "127.0.0.1", 0)


def test_a_study_is_followed_while_it_runs(server: Server, runs: Path) -> None:
    directory = runs / "study"
    with TrialStore(directory) as store:
        store.add(Trial("a", "deep", "sim", 5.0, (1,), rounds=500, broken=20, seconds=1.5))
        text = ask(server, "/study/")[1]
        assert "Goes on" in text
        assert "20 of 500" in text
        store.add(Trial("b", "deep", "sim", 6.0, (2,), rounds=500, broken=30, seconds=1.5))
        assert "50 of 1\u202f000".encode().decode("latin-1") in ask(server, "/study/")[1]
        assert "goes on" in ask(server, "/")[1]
    assert "Interrupted" in ask(server, "/study/")[1]
    (directory / "results.json").write_text("{}")
    (directory / "report.html").write_text("<h1>its report</h1>")
    assert ask(server, "/study/")[1] == "<h1>its report</h1>"
    with TrialStore(directory) as store:  # again, edited, and interrupted: the report is of an earlier time
        store.add(Trial("c", "deep", "sim", 6.0, (3,), rounds=500, broken=30, seconds=1.5))
    os.utime(directory / "results.json", ns=(0, 0))
    assert "report of an earlier time" in " ".join(ask(server, "/study/")[1].split())


def test_looking_does_not_take_the_lock_that_a_study_wants(server: Server, runs: Path) -> None:
    with TrialStore(runs / "study"):
        pass
    for _ in range(20):
        ask(server, "/study/")
        with TrialStore(runs / "study"):
            pass


def test_a_command_serves_until_it_is_interrupted(runs: Path) -> None:
    command = [sys.executable, "-m", "testbed.cli.main", "serve", str(runs), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = ""
        while "}" not in told:
            told += process.stdout.readline()
        port = int(json.loads(told)["url"].rstrip("/").rpartition(":")[2])
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
