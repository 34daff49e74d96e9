"""What GitHub takes: its own description of the API, and a submission through the classes that its users submit with.

`sh tests/report/fetch-github.sh FOLDER` fetches both (npm packages); PRATIQUE_TEST_NPM names the folder.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema_rs
import msgspec
import pytest

import hostilereport
import loopback
import reporting
from pratique.model.report import Report
from pratique.report import github

PUBLISHED = Path(os.environ.get("PRATIQUE_TEST_NPM") or "/var/cache/pratique-tests/npm")
TOOLKIT = PUBLISHED / "node_modules" / "@github" / "dependency-submission-toolkit"
HEAD, MERGE = "a" * 40, "b" * 40
ACTIONS = {
    "GITHUB_SHA": MERGE,
    "GITHUB_REF": "refs/pull/1/merge",
    "GITHUB_WORKFLOW": "ci",
    "GITHUB_JOB": "scan",
    "GITHUB_RUN_ID": "77",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "o/r",
}


def many() -> Report:
    """Make a report of packages of every kind, with names that are written with escapes in a purl."""
    purls = (
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12",
        "pkg:npm/%40babel/core@7.0.0", "pkg:golang/golang.org/x/net@v0.1.0", "pkg:maven/org.a/b@1.0", "pkg:gem/x@1",
        "pkg:rpm/redhat/openssl@3.0.7-1.el9?arch=x86_64&epoch=1", "pkg:composer/a/b@1.0", "pkg:nuget/A.B@1.0", "pkg:cargo/x@1.0",
        "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64", "pkg:generic/x@1.0", "pkg:pypi/ruamel-yaml@0.17",
    )  # fmt: skip
    base = reporting.pypi("x")
    packages = tuple(msgspec.structs.replace(base, purl=purl, name=f"p{number}") for number, purl in enumerate(purls))
    return reporting.report(packages=packages)


REPORTS = {**hostilereport.REPORTS, "many": many}


def written(report: Report) -> bytes:
    """Write a report."""
    out = io.BytesIO()
    github.REPORTER.write(report, out)
    return out.getvalue()


@pytest.fixture(scope="module")
def accepts() -> Any:
    """Return what checks a document by GitHub's OpenAPI description."""
    path = PUBLISHED / "api.github.com.json"
    if not path.is_file():
        pytest.skip(f"needs GitHub's OpenAPI description: sh tests/report/fetch-github.sh {PUBLISHED}")
    whole = json.loads(path.read_bytes())
    snapshot = whole["paths"]["/repos/{owner}/{repo}/dependency-graph/snapshots"]["post"]
    asked = snapshot["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator({"components": whole["components"], **asked}, validate_formats=True)


@pytest.mark.parametrize("kind", REPORTS)
@pytest.mark.parametrize("inside", [True, False])
def test_the_description(accepts: Any, monkeypatch: pytest.MonkeyPatch, kind: str, *, inside: bool) -> None:
    """The body is what the API asks for, inside of GitHub Actions and elsewhere."""
    for name, value in ACTIONS.items():
        monkeypatch.setenv(name, value) if inside else monkeypatch.delenv(name, raising=False)
    document = json.loads(written(REPORTS[kind]()))
    assert [error.message for error in accepts.iter_errors(document)] == []
    damages: tuple[dict[str, Any], ...] = (
        {"sha": "1"}, {"ref": "main"}, {"more": 1}, {"job": {"id": "1"}}, {"manifests": {"a": {}}}, {"scanned": "now"},
    )  # fmt: skip
    for damage in damages:
        assert not accepts.is_valid({**document, **damage}), damage


class Api(BaseHTTPRequestHandler):
    """GitHub's API, as far as a submission sees it."""

    bodies: list[tuple[str, Any]]

    def do_POST(self) -> None:
        """Take a submission."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append((self.path, json.loads(body)))
        answer = json.dumps({"id": 1, "created_at": "2026-01-01T00:00:00Z", "result": "SUCCESS", "message": ""}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Serve the API on loopback; yield its address and what it was sent."""
    bodies: list[tuple[str, Any]] = []
    with loopback.Server(("127.0.0.1", 0), type("_Api", (Api,), {"bodies": bodies})) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
        server.shutdown()
        thread.join()


@pytest.mark.needs("node")
@pytest.mark.parametrize("kind", ["empty", "rich", "many"])
def test_the_toolkit_submits_it(api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """GitHub's own classes read every package URL and make the same snapshot of it, and what they send arrives."""
    if not TOOLKIT.is_dir():
        pytest.skip(f"needs GitHub's toolkit: sh tests/report/fetch-github.sh {PUBLISHED}")
    for name, value in ACTIONS.items():
        monkeypatch.setenv(name, value)
    document = tmp_path / "snapshot.json"
    document.write_bytes(written(REPORTS[kind]()))
    address, bodies = api
    environment = {
        "PATH": os.environ["PATH"], "GITHUB_API_URL": address, "INPUT_TOKEN": "t", "GITHUB_REPOSITORY": "o/r",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
    }  # fmt: skip
    (tmp_path / "output").touch()
    script = Path(__file__).with_name("submit.mjs")
    done = subprocess.run(
        ["node", script, PUBLISHED, document], env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr + done.stdout
    ((path, sent),) = bodies
    assert path == "/repos/o/r/dependency-graph/snapshots"
    ours = json.loads(document.read_bytes())
    assert {name: sent[name] for name in ("version", "job", "sha", "ref", "detector")} == {
        name: ours[name] for name in ("version", "job", "sha", "ref", "detector")
    }
    for name, manifest in ours["manifests"].items():
        theirs = sent["manifests"][name]
        assert theirs["file"] == manifest["file"]
        assert list(theirs["resolved"].values()) == list(manifest["resolved"].values())
    assert sent["manifests"].keys() == ours["manifests"].keys()


def test_a_pull_request(tmp_path: Path) -> None:
    """The head of its branch is submitted, not the merge that GITHUB_SHA names; an event that says nothing changes nothing."""
    event = tmp_path / "event.json"
    environment = {**ACTIONS, "GITHUB_EVENT_PATH": str(event), "GITHUB_EVENT_NAME": "pull_request"}
    for content, expected in (
        (json.dumps({"pull_request": {"head": {"sha": HEAD, "ref": "x"}, "number": 1}}), HEAD),
        (json.dumps({"pull_request": {"head": {"sha": "main"}}}), MERGE), (json.dumps({"pull_request": {}}), MERGE),
        ("{", MERGE), ("[]", MERGE), ("[" * 100_000, MERGE), ('{"pull_request": {"head": {"sha": "\\ud800"}}}', MERGE),
    ):  # fmt: skip
        event.write_text(content)
        assert github.snapshot(hostilereport.rich(), environment)["sha"] == expected
    event.write_text(json.dumps({"pull_request": {"head": {"sha": HEAD}}}))
    assert github.snapshot(hostilereport.rich(), {**environment, "GITHUB_EVENT_NAME": "push"})["sha"] == MERGE
    event.unlink()
    assert github.snapshot(hostilereport.rich(), environment)["sha"] == MERGE


def test_the_page_of_the_run() -> None:
    """It is named where there is one."""
    assert github.snapshot(hostilereport.rich(), ACTIONS)["job"]["html_url"] == "https://github.com/o/r/actions/runs/77"
    assert "html_url" not in github.snapshot(hostilereport.rich(), {**ACTIONS, "GITHUB_RUN_ID": ""})["job"]
    assert "html_url" not in github.snapshot(hostilereport.rich(), {**ACTIONS, "GITHUB_SERVER_URL": "javascript:"})["job"]
