"""Short ways to two reports that differ in one thing, for the tests of differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

import reporting
from pratique.model.finding import Because, Finding, FindingPackage, Severity
from pratique.model.inventory import Location, Package
from pratique.model.report import DatabaseInfo, DatabaseSource, Meta, Report, ReportLayer, Target, Verdict

BASE, APP = "sha256:" + "b" * 64, "sha256:" + "a" * 64
FEEDS = {"osv/npm": "1", "cisa/kev": "1", "epss/current": "1"}


def package(name: str = "lodash", version: str = "4.17.20", layer: str = APP) -> Package:
    """A package of npm."""
    place = Location(f"app/node_modules/{name}/package.json", layer)
    purl = f"pkg:npm/{name}@{version}"
    return Package(name=name, version=version, purl=purl, type="npm", ecosystem="npm", locations=(place,))


def finding(name: str = "CVE-2024-0001", of: Package | None = None, severity: str = "high", **more: Any) -> Finding:
    """A vulnerability of a package, as matching writes it."""
    of = of or package()
    facts: dict[str, Any] = {
        "because": Because(
            source="osv/npm", advisory="GHSA-1", ecosystem="npm", package=of.name, range=">= 4.0.0, < 4.17.21", comparison="so"
        ),
        "fingerprint": f"{name} {of.name}",
        "fixed_in": ("4.17.21",),
        **more,
    }
    about = FindingPackage(purl=of.purl, name=of.name, version=of.version, ecosystem=of.ecosystem)
    return Finding(kind="vulnerability", id=name, title=name, severity=Severity(severity), package=about, **facts)


def report(
    findings: Sequence[Finding] = (),
    packages: Sequence[Package] = (),
    *,
    digest: str = "1",
    feeds: dict[str, str] | None = None,
    version: str = "1.0",
    **more: Any,
) -> Report:
    """A report of an image with two layers; `digest` stands for its content, `feeds` for that of the database."""
    feeds = FEEDS if feeds is None else feeds
    sources = tuple(DatabaseSource(name=name, records=1, digest=f"sha256:{content}") for name, content in sorted(feeds.items()))
    whole = "sha256:" + " ".join(f"{name}={content}" for name, content in sorted(feeds.items()))
    database = DatabaseInfo(built_at="2026-01-01T00:00:00Z", digest=whole, kind="full", sources=sources)
    target = Target(
        reference=more.pop("reference", "reg.example/shop:1"),
        scheme="registry",
        digest=f"sha256:{digest}",
        platform=more.pop("platform", "linux/amd64"),
        distro=more.pop("distro", None),
        layers=(
            ReportLayer("", BASE, "FROM base", 1),
            ReportLayer("", APP if digest == "1" else APP[:-1] + digest[-1], "RUN npm ci", 1),
        ),
    )
    facts: dict[str, Any] = {
        "schema": "urn:pratique:schema:scan-1",
        "complete": True,
        "meta": Meta(version=version, scanned_at=more.pop("now", "2026-11-25T00:00:00Z"), database=database),
        "target": target,
        "problems": (),
        "verdict": Verdict(decision="allow"),
        **more,
    }
    return Report(packages=tuple(packages), findings=tuple(findings), **facts)


def changed(made: Report, **members: Any) -> Report:
    """A report with other members."""
    return msgspec.structs.replace(made, **members)


__all__ = ["APP", "BASE", "FEEDS", "changed", "finding", "package", "report", "reporting"]
