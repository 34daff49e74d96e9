"""Documents that do not say who installed what: place and name tell it as far as they can, and no further."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pratique.inventory.sbom.read import read_bill
from pratique.inventory.sbom.settle import settle

DEBIAN = "pkg:deb/debian/{}@{}?arch=amd64&distro=debian-13"
ROCKY = "pkg:rpm/rocky/{}@{}?arch=x86_64&distro=rocky-9.3"
ALPINE = "pkg:apk/alpine/{}@{}?arch=x86_64&distro=alpine-3.18.4"


def owner(purl: str, path: str, system: str, *installed: str, tool: str = "syft") -> str:
    """Return the name of the package of the system that a package is said to have come with, "" for none."""
    components: list[dict[str, Any]] = [
        {"type": "library", "name": "x", "purl": system.format(*one.split(" ")), "version": one.split(" ")[1]}
        for one in installed
    ]
    place = [{"name": "syft:location:0:path", "value": f"/{path}"}]
    components.append({"type": "library", "name": "x", "purl": purl, "properties": place})
    tools = {"components": [{"type": "application", "name": tool}]}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"tools": tools}, "components": components}
    packages = {package.purl: package for package in settle(read_bill(json.dumps(document).encode())).packages}
    found = packages[purl].owner
    return packages[found].name if found else ""


@pytest.mark.parametrize(
    ("purl", "path", "installed", "expected"),
    [
        ("pkg:pypi/requests@2.32", "usr/lib/python3/dist-packages/requests-2.32.dist-info/METADATA",
         ("python3 3.13-1", "python3-requests 2.32+dfsg-1"), "python3-requests"),
        ("pkg:pypi/pyyaml@6.0", "usr/lib/python3/dist-packages/PyYAML-6.0.dist-info/METADATA",
         ("python3-yaml 6.0-1",), "python3-yaml"),
        ("pkg:pypi/pygobject@3.50.0", "usr/lib/python3/dist-packages/pygobject-3.50.0.dist-info/METADATA",
         ("python3-gi 3.50.0-4", "python3-apt 3.0.0"), "python3-gi"),
        ("pkg:pypi/unknown@1", "usr/lib/python3/dist-packages/unknown-1.egg-info", ("python3 3.13-1",), "python3"),
        ("pkg:pypi/unknown@1", "usr/lib/python3/dist-packages/unknown-1.egg-info",
         ("python3 3.13-1", "libpython3.13-stdlib 3.13-1"), "libpython3.13-stdlib"),
        ("pkg:npm/acorn@8.8.1", "usr/share/nodejs/acorn/package.json", ("node-acorn 8.8.1+ds-2",), "node-acorn"),
        ("pkg:npm/acorn-jsx@5.3", "usr/share/nodejs/acorn-jsx/package.json", ("nodejs 20-1", "node-acorn 8.8.1-2"), "node-acorn"),
        ("pkg:npm/%40types/brace-expansion@1.1", "usr/share/nodejs/@types/brace-expansion/package.json",
         ("nodejs 20-1", "node-brace-expansion 2.0-2"), "node-brace-expansion"),
        ("pkg:npm/other@1", "usr/share/nodejs/other/package.json", ("nodejs 20-1", "node-acorn 8.8.1-2"), "nodejs"),
        ("pkg:npm/busboy@3.1", "usr/share/nodejs/undici/node_modules/busboy/package.json", ("node-undici 7-1",), "node-undici"),
        ("pkg:gem/rack@3.1", "usr/share/rubygems-integration/all/specifications/rack-3.1.gemspec", ("ruby-rack 3.1-1",),
         "ruby-rack"),
        ("pkg:gem/csv@3.2.8", "usr/lib/ruby/gems/3.3.0/specifications/csv-3.2.8.gemspec",
         ("ruby 1:3.3", "libruby3.1 3.1.2-7", "libruby3.3 3.3.8-2", "ruby-csv 3.3.4-1"), "libruby3.3"),
        ("pkg:gem/net-imap@0.4", "usr/lib/ruby/gems/3.3.0/specifications/net-imap-0.4.gemspec", ("ruby 1:3.3",), "ruby"),
        ("pkg:maven/com.a/databind@2.14.0", "usr/share/java/jackson-databind.jar",
         ("libjackson2-core-java 2.14.0-1", "libjackson2-databind-java 2.14.0+ds-1"), "libjackson2-databind-java"),
        ("pkg:golang/github.com/junegunn/fzf@v0.60", "usr/bin/fzf", ("fzf 0.60-1",), "fzf"),
    ],
)  # fmt: skip
def test_debian(purl: str, path: str, installed: tuple[str, ...], expected: str) -> None:
    """Only dpkg writes into these folders: by name, by version, by the first words, or the interpreter's own package.

    Not the package that names the default interpreter: advisories never speak of that, and what it is said to have brought
    would be matched as if nobody answered for it.
    """
    assert owner(purl, path, DEBIAN, *installed) == expected


@pytest.mark.parametrize(
    ("purl", "path", "installed"),
    [
        ("pkg:pypi/x@2.32", "usr/local/lib/python3.13/dist-packages/x-2.32.dist-info/METADATA", "python3-x 2.32-1"),
        ("pkg:npm/acorn@8.8.1", "srv/app/node_modules/acorn/package.json", "node-acorn 8.8.1-2"),
        ("pkg:gem/rack@3.1", "var/lib/gems/3.3.0/specifications/rack-3.1.gemspec", "ruby-rack 3.1-1"),
        ("pkg:golang/example.org/app@v1", "usr/bin/other", "app 1-1"),
    ],
)  # fmt: skip
def test_what_people_install(purl: str, path: str, installed: str) -> None:
    """Elsewhere nothing came with the system, whatever the names say."""
    assert owner(purl, path, DEBIAN, installed) == ""


@pytest.mark.parametrize(("system", "name"), [(ROCKY, "python3-urllib3"), (ALPINE, "py3-urllib3")])
def test_shared_folders(system: str, name: str) -> None:
    """Where pip writes into the same folder, the version must be the distribution's, too: an upgraded copy is matched."""
    path = "usr/lib/python3.11/site-packages/urllib3-{0}.dist-info/METADATA"
    assert owner("pkg:pypi/urllib3@1.26.5", path.format("1.26.5"), system, f"{name} 1.26.5-3") == name
    assert owner("pkg:pypi/urllib3@2.0.0", path.format("2.0.0"), system, f"{name} 1.26.5-3") == ""


def test_only_writers_that_are_silent() -> None:
    """Trivy leaves out what came with the system, and our own documents say it: there nothing is guessed."""
    purl, path = "pkg:pypi/requests@2.32", "usr/lib/python3/dist-packages/requests-2.32.dist-info/METADATA"
    assert owner(purl, path, DEBIAN, "python3-requests 2.32-1", tool="syft") == "python3-requests"
    assert owner(purl, path, DEBIAN, "python3-requests 2.32-1", tool="trivy") == ""
    assert owner(purl, path, DEBIAN, "python3-requests 2.32-1", tool="") == ""
