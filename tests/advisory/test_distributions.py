"""A tiny image and a fixture feed of each distribution, from the file to the finding."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from feedsim import CASES, archive, record, tarball
from imagebuilder import docker_archive, layer
from pratique import api
from pratique.advisory.update import Options, update
from pratique.model.report import Report

NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
Packages = Sequence[tuple[str, str, str]]  # name, version, source package with its version ("" for none)


def _records(case: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (CASES / case / "records").iterdir()}


def _dpkg(packages: Packages) -> dict[str, str]:
    stanzas = []
    for name, version, source in packages:
        origin = f"Source: {source}\n" if source else ""
        stanzas.append(
            f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\n{origin}Version: {version}\n"
            f"Maintainer: x\nDescription: x\n"
        )
    return {"var/lib/dpkg/status": "\n".join(stanzas)}


def _apk(packages: Packages) -> dict[str, str]:
    return {
        "lib/apk/db/installed": "".join(f"P:{name}\nV:{version}\nA:x86_64\no:{origin}\n\n" for name, version, origin in packages)
    }


def _rpm(packages: Packages) -> dict[str, str]:
    lines = []
    for name, full, source in packages:
        epoch, _, version = full.rpartition(":")
        lines.append(
            f"{name}\t{version}\t1\t1\tx\t{epoch or '(none)'}\t1\tx86_64\t{epoch or 0}\t{source or f'{name}-{version}'}.src.rpm"
        )
    return {"var/lib/rpmmanifest/container-manifest-2": "\n".join(lines) + "\n"}


_WRITERS = {"dpkg": _dpkg, "apk": _apk, "rpm": _rpm}


def _scan(folder: Path, release: str, database: Mapping[str, str], feeds: Mapping[str, bytes]) -> Report:
    mirror = folder / "mirror"
    for path, content in feeds.items():
        place = mirror / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    target = folder / "image.tar"
    target.write_bytes(docker_archive([layer({"etc/os-release": release, **database})]))
    return api.scan(f"docker-archive:{target}", offline=True, mirror=f"file://{mirror}", cache_dir=folder / "cache", now=NOW)


def _found(report: Report) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [
        (one.id, one.package.name if one.package else "", one.severity.value, one.fixed_in)
        for one in report.findings
        if one.kind == "vulnerability"
    ]


class Case(NamedTuple):
    """One distribution: its os-release, packages, feeds and what is to be found."""

    release: str
    kind: str
    packages: Packages
    feeds: Mapping[str, bytes]
    found: list[tuple[str, str, str, tuple[str, ...]]]


def _os(identifier: str, version: str, **more: str) -> str:
    words = {"ID": identifier, "VERSION_ID": version, **more}
    return "".join(f'{key}="{value}"\n' for key, value in words.items())


def _osv(ecosystem: str, *records: dict[str, Any]) -> dict[str, bytes]:
    return {f"osv/{ecosystem}/all.zip": archive(list(records))}


def _notice(identifier: str, name: str, version: str, cve: str) -> bytes:
    package = f'<package name="{name}" version="{version}" release="2.amzn2" epoch="0"/>'
    references = f'<references><reference id="{cve}" type="cve"/></references><severity>Important</severity>'
    inner = f"<id>{identifier}</id>{references}<pkglist><collection>{package}</collection></pkglist>"
    return gzip.compress(f'<updates><update type="security">{inner}</update></updates>'.encode())


_BASE = "SUSE:Linux Enterprise Module for Basesystem 15 SP6"
_CASES = {
    "ubuntu-18.04": Case(
        _os("ubuntu", "18.04"),
        "dpkg",
        [("libwayland-client0", "1.16.0-1ubuntu1.1~18.04.3", "wayland")],
        {"osv/Ubuntu/all.zip": archive(_records("osv/Ubuntu"))},
        [("CVE-2021-3782", "libwayland-client0", "medium", ("1.16.0-1ubuntu1.1~18.04.4",))],
    ),
    "ubuntu-18.04-fixed": Case(
        _os("ubuntu", "18.04"),
        "dpkg",
        [("libwayland-client0", "1.16.0-1ubuntu1.1~18.04.4", "wayland")],
        {"osv/Ubuntu/all.zip": archive(_records("osv/Ubuntu"))},
        [],
    ),
    "ubuntu-16.04-fix-for-subscribers": Case(
        _os("ubuntu", "16.04"),
        "dpkg",
        [("libwayland-client0", "1.12.0-1~ubuntu16.04.3", "wayland"), ("libc6", "2.23-0ubuntu11", "glibc")],
        {"osv/Ubuntu/all.zip": archive(_records("osv/Ubuntu"))},
        [
            ("CVE-2016-20013", "libc6", "negligible", ()),
            ("CVE-2021-3782", "libwayland-client0", "medium", ("1.12.0-1~ubuntu16.04.3+esm1",)),
        ],
    ),
    "amazon-2-extras": Case(
        _os("amzn", "2"),
        "rpm",
        [("kernel", "4.14.200-155.322.amzn2", ""), ("docker", "20.10.4-1.amzn2", "")],
        {
            "amazon/2/extras/kernel-5.10/updateinfo.xml.gz": _notice(
                "ALAS2KERNEL-5.10-2024-1", "kernel", "5.10.50", "CVE-2024-1001"
            ),
            "amazon/2/extras/docker/updateinfo.xml.gz": _notice("ALAS2DOCKER-2024-2", "docker", "20.10.7", "CVE-2024-1002"),
            "amazon/2/updateinfo.xml.gz": _notice("ALAS2-2024-3", "kernel", "4.14.209", "CVE-2024-1003"),
        },
        [("CVE-2024-1002", "docker", "high", ("20.10.7-2.amzn2",)), ("CVE-2024-1003", "kernel", "high", ("4.14.209-2.amzn2",))],
    ),
    "suse-not-mended-yet": Case(
        _os("sles", "15.6"),
        "rpm",
        [("libxml2", "2.10.3-150600.1.1", ""), ("curl", "8.6.0-150600.1.1", ""), ("python3-cryptography", "3.3.2-1", "")],
        {
            "suse/oval/suse.linux.enterprise.15-sp6-affected.xml.gz": gzip.compress(
                (CASES / "suse/documented/feed").read_bytes()
            ),
            **_osv(
                "SUSE",
                record("SUSE-SU-2026:1-1", "curl", "8.6.0-150600.4.9.2", _BASE, related=["CVE-2026-20002"]),
                record(
                    "SUSE-SU-2026:2-1",
                    "python3-cryptography",
                    "9-1",
                    "SUSE:Linux Enterprise Server 15 SP6",
                    related=["CVE-2026-20003"],
                ),
            ),
        },
        [
            ("CVE-2026-20001", "libxml2", "high", ("2.10.3-150600.5.17.1",)),
            ("CVE-2026-20002", "curl", "unknown", ("8.6.0-150600.4.9.2",)),
        ],
    ),
    "ubuntu-fips": Case(
        _os("ubuntu", "22.04"),
        "dpkg",
        [("libssl3", "3.0.2-0ubuntu1.9+Fips1", "openssl"), ("zlib1g", "1:1.2.11", "zlib")],
        _osv(
            "Ubuntu",
            record("UBUNTU-CVE-2024-1", "openssl", "3.0.2-0ubuntu1.15", "Ubuntu:22.04:LTS", upstream=["CVE-2024-1"]),
            record("UBUNTU-CVE-2024-2", "openssl", "3.0.2-0ubuntu1.10+Fips1", "Ubuntu:Pro:FIPS-updates:22.04:LTS"),
        ),
        [("UBUNTU-CVE-2024-2", "libssl3", "unknown", ("3.0.2-0ubuntu1.10+Fips1",))],
    ),
    "almalinux": Case(
        _os("almalinux", "9.4"),
        "rpm",
        [("openssl-libs", "1:3.0.7-24.el9", "openssl-3.0.7-24.el9")],
        _osv(
            "AlmaLinux",
            record("ALSA-2024:1", "openssl-libs", "1:3.0.7-27.el9", "AlmaLinux:9", related=["CVE-2024-1", "CVE-2024-2"]),
        ),
        [
            ("CVE-2024-1", "openssl-libs", "unknown", ("1:3.0.7-27.el9",)),
            ("CVE-2024-2", "openssl-libs", "unknown", ("1:3.0.7-27.el9",)),
        ],
    ),
    "rocky": Case(
        _os("rocky", "9.4"),
        "rpm",
        [("openssl-libs", "1:3.0.7-24.el9", "")],
        _osv(
            "Rocky Linux",
            record("RLSA-2024:1", "openssl-libs", "1:3.0.7-27.el9", "Rocky Linux:9", related=["CVE-2024-1"]),
        ),
        [("CVE-2024-1", "openssl-libs", "unknown", ("1:3.0.7-27.el9",))],
    ),
    "suse": Case(
        _os("sles", "15.7"),
        "rpm",
        [("gzip", "1.10-150000.4.12.1", "")],
        {"osv/SUSE/all.zip": archive(_records("osv/SUSE"))},
        [("CVE-2022-1271", "gzip", "unknown", ("1.10-150000.4.15.1",))],
    ),
    "opensuse": Case(
        _os("opensuse-leap", "15.6"),
        "rpm",
        [("gzip", "1.10-150000.4.12.1", "")],
        {"osv/openSUSE/all.zip": archive(_records("osv/openSUSE"))},
        [("CVE-2022-1271", "gzip", "unknown", ("1.10-150000.4.15.1",))],
    ),
    "azurelinux": Case(
        _os("azurelinux", "3.0"),
        "rpm",
        [("zlib-devel", "1.3.0-1.azl3", "zlib-1.3.0-1.azl3")],
        {"osv/Azure Linux/all.zip": archive(_records("osv/Azure_Linux"))},
        [("CVE-2023-45853", "zlib-devel", "critical", ("1.3.1-1",))],
    ),
    "minimos": Case(
        _os("minimos", "20250101"),
        "apk",
        [("nginx", "1.27.0-r0", "nginx")],
        {"osv/MinimOS/all.zip": archive(_records("osv/MinimOS"))},
        [("CVE-2024-7347", "nginx", "medium", ("1.27.1-r0",))],
    ),
    "wolfi": Case(
        _os("wolfi", "20230201"),
        "apk",
        [("nginx", "1.27.0-r0", "nginx")],
        {
            "wolfi/os/security.json": json.dumps(
                {"packages": [{"pkg": {"name": "nginx", "secfixes": {"1.27.1-r0": ["CVE-2024-7347"]}}}]}
            ).encode()
        },
        [("CVE-2024-7347", "nginx", "medium", ("1.27.1-r0",))],
    ),
    "photon": Case(
        _os("photon", "5.0"),
        "rpm",
        [("curl-libs", "8.1.2-1.ph5", "curl-8.1.2-1.ph5"), ("zlib", "1.2.13-1.ph5", "")],
        {"photon/photon_cve_metadata/cve_data_photon5.0.json": (CASES / "photon/documented/feed").read_bytes()},
        [("CVE-2023-38545", "curl-libs", "critical", ("8.1.2-4.ph5",))],
    ),
    "amazon": Case(
        _os("amzn", "2023"),
        "rpm",
        [("openssl-libs", "1:3.0.8-1.amzn2023.0.9", ""), ("openssh-server", "8.7p1-12.amzn2023.0.3", "")],
        {"amazon/2023/updateinfo.xml.gz": gzip.compress((CASES / "amazon/documented/feed").read_bytes())},
        [
            ("CVE-2024-6387", "openssl-libs", "high", ("1:3.0.8-1.amzn2023.0.10",)),
            ("CVE-2024-6388", "openssl-libs", "high", ("1:3.0.8-1.amzn2023.0.10",)),
        ],
    ),
    "oracle": Case(
        _os("ol", "7.9"),
        "rpm",
        [("rsyslog", "8.24.0-57.el7", "")],
        {"oracle/oval/com.oracle.elsa-all.xml.bz2": bz2.compress((CASES / "oracle/real/feed").read_bytes())},
        [("CVE-2022-24903", "rsyslog", "high", ("8.24.0-57.0.1.el7_9.3",))],
    ),
    "oracle-ksplice": Case(
        _os("ol", "8.9"),
        "rpm",
        [("openssl", "2:1.1.1g-12.ksplice1.el8_3", "")],
        {"oracle/oval/com.oracle.elsa-all.xml.bz2": bz2.compress((CASES / "oracle/real/feed").read_bytes())},
        [
            ("CVE-2021-3449", "openssl", "high", ("2:1.1.1g-15.ksplice1.el8_3",)),
            ("CVE-2021-3450", "openssl", "high", ("2:1.1.1g-15.ksplice1.el8_3",)),
        ],
    ),
    "oracle-other-channel": Case(
        _os("ol", "8.9"),
        "rpm",
        [("openssl", "1:1.1.1g-12.el8_3", "")],
        {"oracle/oval/com.oracle.elsa-all.xml.bz2": bz2.compress((CASES / "oracle/real/feed").read_bytes())},
        [],
    ),
    "redhat-later-minor-release": Case(
        _os("rhel", "9.3"),
        "rpm",
        [("libcurl", "7.76.1-26.el9_3.1", "curl-7.76.1-26.el9_3.1")],
        {"rhel/csaf/v2/vex-feed/archive_latest.tar.zst": tarball(_records("redhat/real"))},
        [("CVE-2023-38545", "libcurl", "high", ("7.76.1-26.el9_3.2",))],
    ),
    "redhat-fixed-in-earlier-minor-release": Case(
        _os("rhel", "9.2"),
        "rpm",
        [("libcurl", "7.76.1-23.el9_2.5", "curl-7.76.1-23.el9_2.5")],
        {"rhel/csaf/v2/vex-feed/archive_latest.tar.zst": tarball(_records("redhat/real"))},
        [],
    ),
    "redhat-source-packages": Case(
        _os("rhel", "10.1"),
        "rpm",
        [
            ("glibc-common", "2.39-58.el10_1", "glibc-2.39-58.el10_1"),
            ("bind-libs", "32:9.18.33-3.el10", "bind-9.18.33-3.el10"),
        ],
        {"rhel/csaf/v2/vex-feed/archive_latest.tar.zst": tarball(_records("redhat/form_of_2026"))},
        [
            ("CVE-2026-90001", "bind-libs", "medium", ("32:9.18.33-4.el10_0",)),
            ("CVE-2026-90001", "glibc-common", "medium", ()),
        ],
    ),
    "redhat-states": Case(
        _os("rhel", "9.7"),
        "rpm",
        [
            ("expat", "2.5.0-5.el9", ""),
            ("sqlite-libs", "3.34.1-8.el9", "sqlite-3.34.1-8.el9"),
            ("krb5-libs", "1.21.1-8.el9", "krb5-1.21.1-8.el9"),
            ("krb5-server", "1.21.1-8.el9", "krb5-1.21.1-8.el9"),
        ],
        {"rhel/csaf/v2/vex-feed/archive_latest.tar.zst": tarball(_records("redhat/form_of_2026"))},
        [("CVE-2026-90002", "expat", "low", ()), ("CVE-2026-90002", "krb5-server", "medium", ())],
    ),
    "redhat-without-a-feed": Case(
        _os("rhel", "9.4"),
        "rpm",
        [("openssl-libs", "1:3.0.7-24.el9", "openssl-3.0.7-24.el9")],
        {},
        [],
    ),
}


@pytest.mark.parametrize("name", sorted(_CASES))
def test_an_image_is_matched_with_its_distribution(name: str, tmp_path: Path) -> None:
    """Release, package names, channels and severities come together."""
    case = _CASES[name]
    report = _scan(tmp_path, case.release, _WRITERS[case.kind](case.packages), case.feeds)
    assert _found(report) == case.found
    gaps = {gap.code for gap in report.problems}
    if case.feeds:
        assert not gaps & {
            "advisories.unsupported-release",
            "advisories.unsupported-distribution",
            "advisories.unsupported-ecosystem",
        }
    else:
        assert "advisories.missing-source" in gaps


def test_notices_stand_in_while_vex_was_never_had(tmp_path: Path) -> None:
    """OSV's Red Hat notices name repositories; the image is asked without."""
    content = archive(_records("osv/Red_Hat"))
    mirror = tmp_path / "mirror/osv/Red Hat"
    mirror.mkdir(parents=True)
    (mirror / "all.zip").write_bytes(content)
    update(tmp_path / "cache", ["osv/Red Hat"], Options(mirror=f"file://{tmp_path}/mirror"))
    packages = [("openssl-libs", "1:3.0.7-24.el9", "openssl-3.0.7-24.el9")]
    assert _found(_scan(tmp_path, _os("rhel", "9.4"), _rpm(packages), {})) == [
        ("CVE-2024-0001", "openssl-libs", "unknown", ("1:3.0.7-28.el9_4",))
    ]


def test_a_cve_without_a_severity_gets_that_of_nvd(tmp_path: Path) -> None:
    """Vectors of the year's feed rate what the distribution does not."""
    mirror = tmp_path / "mirror/nvd"
    mirror.mkdir(parents=True)
    (mirror / "nvdcve-2.0-2024.json.gz").write_bytes(gzip.compress((CASES / "nvd/real/feed").read_bytes()))
    update(tmp_path / "cache", ["nvd/2024"], Options(mirror=f"file://{tmp_path}/mirror"))
    secdb = {"packages": [{"pkg": {"name": "xz", "secfixes": {"5.6.1-r2": ["CVE-2024-3094"]}}}]}
    feeds = {"alpine/v3.20/main.json": json.dumps(secdb).encode(), "alpine/v3.20/community.json": b'{"packages": []}'}
    report = _scan(tmp_path, _os("alpine", "3.20.3"), _apk([("xz-libs", "5.6.1-r1", "xz")]), feeds)
    assert _found(report) == [("CVE-2024-3094", "xz-libs", "critical", ("5.6.1-r2",))]
    assert [vector.source for vector in report.findings[-1].cvss] == ["nvd/2024"]
    assert "nvd/2024" in [source.name for source in report.meta.database.sources]


def test_a_malicious_package_is_malware(tmp_path: Path) -> None:
    """OSV's records of malicious packages come with their ecosystem, and weigh most."""
    malicious = record("MAL-2024-1", "evil-pad", "9", "npm")
    del malicious["affected"][0]["ranges"]
    malicious["affected"][0]["versions"] = ["1.0.0"]
    manifest = {"srv/app/node_modules/evil-pad/package.json": '{"name": "evil-pad", "version": "1.0.0"}'}
    report = _scan(tmp_path, _os("debian", "12"), manifest, {"osv/npm/all.zip": archive([malicious])})
    assert [(one.kind, one.id, one.severity.value) for one in report.findings] == [("malware", "MAL-2024-1", "critical")]
