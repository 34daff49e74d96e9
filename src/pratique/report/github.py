"""Report in, the body of GitHub's dependency submission out.

https://docs.github.com/rest/dependency-graph/dependency-submission
Commit, reference and job are those that GitHub Actions states. Of a pull request GITHUB_SHA is a merge that nobody has made yet:
what the dependency review compares is the head of its branch, which stands in the event.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from pratique.model.inventory import Package
from pratique.model.report import Report
from pratique.report.document import encode, is_link, name_of
from pratique.report.text import safe

UNKNOWN_COMMIT = "0" * 40  # outside of GitHub Actions: whoever submits the document fills it in
DETECTOR_URL = "https://pypi.org/project/pratique/"
MAX_EVENT = 16 << 20  # bytes; GitHub delivers at most 25 MB, and events of pull requests have some 30 kB
_PULLS = frozenset(("pull_request", "pull_request_comment", "pull_request_review", "pull_request_review_comment"))
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class _GitHub:
    name = "github"
    media_type = "application/json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one manifest a file that packages were found in."""
        out.write(encode(snapshot(report, os.environ)))


def snapshot(report: Report, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the document; `environment` has GITHUB_SHA and its like, or not."""
    sha = _head(environment) or environment.get("GITHUB_SHA", "")
    ref = environment.get("GITHUB_REF", "")
    parts = (environment.get("GITHUB_WORKFLOW", ""), environment.get("GITHUB_JOB", ""), name_of(report.target))
    run = environment.get("GITHUB_RUN_ID", "")
    job = {"id": run or "0", "correlator": safe("_".join(part for part in ("pratique", *parts) if part))}
    server, repository = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
    if run and repository and is_link(page := f"{server}/{repository}/actions/runs/{run}"):
        job["html_url"] = page
    return {
        "version": 0,
        "job": job,
        "sha": sha if _COMMIT.fullmatch(sha) else UNKNOWN_COMMIT,
        "ref": ref if ref.startswith("refs/") else "refs/heads/main",
        "detector": {"name": "pratique", "version": report.meta.version, "url": DETECTOR_URL},
        "scanned": report.meta.scanned_at,
        "metadata": {"pratique:target": safe(name_of(report.target)), "pratique:digest": report.target.digest},
        "manifests": _manifests(report),
    }


def _head(environment: Mapping[str, str]) -> str:
    """Return the commit that a pull request ends with, "" for any other event and for one that cannot be read."""
    path = environment.get("GITHUB_EVENT_PATH", "")
    if environment.get("GITHUB_EVENT_NAME", "") not in _PULLS or not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            event = msgspec.json.decode(file.read(MAX_EVENT), type=_Event)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return ""
    return event.pull_request.head.sha if _COMMIT.fullmatch(event.pull_request.head.sha) else ""


class _Head(msgspec.Struct):
    sha: str = ""


class _Pull(msgspec.Struct):
    head: _Head


class _Event(msgspec.Struct):
    pull_request: _Pull


def _manifests(report: Report) -> dict[str, Any]:
    manifests: dict[str, Any] = {}
    for package in report.packages:
        path = safe(package.locations[0].path) if package.locations else "packages"
        manifest = manifests.setdefault(path, {"name": path, "file": {"source_location": path}, "resolved": {}})
        manifest["resolved"][package.purl] = _resolved(package)
    return dict(sorted(manifests.items()))


def _resolved(package: Package) -> dict[str, Any]:
    return {
        "package_url": package.purl,
        "relationship": "indirect" if package.owner else "direct",
        "scope": "development" if package.role == "dev" else "runtime",
        "dependencies": [],
    }


REPORTER = _GitHub()
