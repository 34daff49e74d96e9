"""Reports made by hand, for the tests of their formats."""

from __future__ import annotations

from typing import Any

import msgspec

from pratique.model.finding import Because, Cvss, Epss, Finding, FindingLocation, FindingPackage, Severity
from pratique.model.inventory import Gap, Location, Package, SourcePackage
from pratique.model.report import DatabaseInfo, DatabaseSource, Meta, Report, ReportDistro, ReportLayer, Target, Verdict

LAYERS = (
    ReportLayer("sha256:aa", "sha256:1111111111111111", "ADD rootfs.tar /", 1000),
    ReportLayer("", "sha256:2222222222222222", "RUN pip install things", 2000),
)


def deb(name: str, source: str = "openssl", version: str = "3.0.11-1") -> Package:
    """Make a Debian package."""
    return Package(
        name=name,
        version=version,
        purl=f"pkg:deb/debian/{name}@{version}",
        type="deb",
        ecosystem="Debian",
        source=SourcePackage(source, version),
        locations=(Location("var/lib/dpkg/status", LAYERS[0].diff_id),),
    )


def pypi(name: str, version: str = "1.0") -> Package:
    """Make a Python package."""
    place = Location(f"usr/lib/python3/{name}", LAYERS[1].diff_id)
    return Package(
        name=name, version=version, purl=f"pkg:pypi/{name}@{version}", type="pypi", ecosystem="PyPI", locations=(place,)
    )


def finding(identifier: str, package: Package | None, severity: str = "high", **more: Any) -> Finding:
    """Make a finding about a package."""
    about = None
    if package is not None:
        source = package.source.name if package.source else ""
        about = FindingPackage(
            purl=package.purl, name=package.name, version=package.version, ecosystem=package.ecosystem, source=source
        )
    where = package.locations[0] if package is not None else Location("etc/shadow")
    facts: dict[str, Any] = {
        "kind": "vulnerability",
        "title": f"title of {identifier}",
        "fingerprint": f"print-of-{identifier}",
        "location": FindingLocation(path=where.path, layer=where.layer, instruction="RUN x"),
        **more,
    }
    return Finding(id=identifier, severity=Severity(severity), package=about, **facts)


def full(identifier: str, package: Package) -> Finding:
    """Make a finding with every member."""
    because = Because(
        source="osv/x", advisory="A-1", ecosystem="PyPI", package="x", range="< 2", comparison="1 < 2", state="wont-fix", also=()
    )
    return finding(
        identifier,
        package,
        references=("https://example.org/1",),
        aliases=("GHSA-1",),
        fixed_in=("2.0",),
        cvss=(Cvss("3.1", "CVSS:3.1/x", 9.8, "osv"),),
        epss=Epss(0.5, 0.9, "2026-01-01"),
        kev=True,
        published="2024-01-01T00:00:00Z",
        message="x",
        because=msgspec.structs.replace(because, also=(because,)),
        waiver={"id": "w-1"},
    )


def report(*findings: Finding, packages: tuple[Package, ...] = (), problems: tuple[Gap, ...] = (), **more: Any) -> Report:
    """Make a report of a Debian image with two layers."""
    target = Target(
        reference=more.pop("reference", "image.tar"),
        scheme="docker-archive",
        digest="sha256:dd",
        platform="linux/amd64",
        distro=ReportDistro("debian", "12", "2028-06-30"),
        layers=LAYERS,
    )
    sources = (DatabaseSource(name="osv/PyPI", records=3, fetched_at="2026-11-23T00:00:00Z"),)
    database = DatabaseInfo(built_at="2026-11-24T00:00:00Z", digest="sha256:ee", kind="full", sources=sources)
    facts: dict[str, Any] = {
        "schema": "urn:pratique:schema:scan-1",
        "complete": True,
        "meta": Meta(version="1", scanned_at="2026-11-25T06:00:00Z", database=database),
        "target": target,
        "verdict": Verdict(decision="allow"),
        **more,
    }
    return Report(packages=packages, findings=findings, problems=problems, **facts)
