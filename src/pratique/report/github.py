"""Report in, the body of GitHub's dependency submission out.

https://docs.github.com/rest/dependency-graph/dependency-submission
Commit, reference and job are those that GitHub Actions states.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

from pratique.model.inventory import Package
from pratique.model.report import Report
from pratique.report.document import encode, name_of
from pratique.report.text import safe

UNKNOWN_COMMIT = "0" * 40  # outside of GitHub Actions: whoever submits the document fills it in
DETECTOR_URL = "https://pypi.org/project/pratique/"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class _GitHub:
    name = "github"
    media_type = "application/json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write one manifest a file that packages were found in."""
        out.write(encode(snapshot(report, os.environ)))


def snapshot(report: Report, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the document; `environment` has GITHUB_SHA and its like, or not."""
    sha = environment.get("GITHUB_SHA", "")
    ref = environment.get("GITHUB_REF", "")
    parts = (environment.get("GITHUB_WORKFLOW", ""), environment.get("GITHUB_JOB", ""), name_of(report.target))
    return {
        "version": 0,
        "job": {
            "id": environment.get("GITHUB_RUN_ID", "") or "0",
            "correlator": safe("_".join(part for part in ("pratique", *parts) if part)),
        },
        "sha": sha if _COMMIT.fullmatch(sha) else UNKNOWN_COMMIT,
        "ref": ref if ref.startswith("refs/") else "refs/heads/main",
        "detector": {"name": "pratique", "version": report.meta.version, "url": DETECTOR_URL},
        "scanned": report.meta.scanned_at,
        "metadata": {"pratique:target": safe(name_of(report.target)), "pratique:digest": report.target.digest},
        "manifests": _manifests(report),
    }


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
