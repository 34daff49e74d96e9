"""What SBOMs say beside the packages: needs, how much of them is known, digests and files; valid with hostile names, too."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest

import reporting
import schemas
from pratique.model.inventory import Checksum, ImageFile, Package, PackageDetails
from pratique.model.report import Report
from pratique.report import cyclonedx, spdx

SHA1, SHA256 = Checksum("sha1", "1" * 40), Checksum("sha256", "2" * 64)
HOSTILE = "srv/\x1b[31m\u202e'\"<x>&\x00/\N{PILE OF POO} \\ %n.py"
WRITERS: dict[str, tuple[Any, str]] = {
    "cyclonedx": (cyclonedx.REPORTER, "cyclonedx-1.6.schema.json"),
    "cyclonedx@1.7": (cyclonedx.REPORTER.at("1.7"), "cyclonedx-1.7.schema.json"),
    "spdx": (spdx.REPORTER, "spdx-2.3.schema.json"),
}


def report() -> Report:
    """Make a report of packages whose needs are known, known in part, and not known."""
    low, high, odd, mute = (reporting.pypi(name) for name in ("low", "high", "odd", "mute"))
    described = (
        (low, PackageDetails(relations="complete", hashes=(SHA256, Checksum("h1", "x" * 43 + "=")))),
        (high, PackageDetails(relations="complete", depends=(low.purl,), files=("usr/bin/high", HOSTILE))),
        (odd, PackageDetails(relations="incomplete", depends=(low.purl, "pkg:pypi/elsewhere@1"))),
        (mute, PackageDetails(files=("usr/bin/high",))),
    )
    packages: list[Package] = [msgspec.structs.replace(one, details=details) for one, details in described]
    paths = ("etc/loose", "usr/bin/high", HOSTILE)
    files = tuple(ImageFile(path, reporting.LAYERS[0].diff_id, 3, (SHA1, SHA256)) for path in sorted(paths))
    ordered = tuple(sorted(packages, key=lambda package: package.purl))
    return msgspec.structs.replace(reporting.report(packages=ordered), files=files)


def written(name: str, what: Report | None = None) -> bytes:
    """Write a report."""
    out = io.BytesIO()
    reporter = WRITERS[name][0] if name in WRITERS else spdx.REPORTER.at("3.0")
    reporter.write(what or report(), out)
    return out.getvalue()


@pytest.mark.parametrize("name", WRITERS)
def test_valid(name: str) -> None:
    """The official schema has nothing against it."""
    assert schemas.errors(written(name), WRITERS[name][1]) == []


def test_cyclonedx_says_how_much_is_known() -> None:
    """Known needs have an entry, also where there are none; the compositions tell them apart."""
    document = json.loads(written("cyclonedx"))
    needs = {one["ref"]: one.get("dependsOn") for one in document["dependencies"]}
    low, high, odd, mute = (f"pkg:pypi/{name}@1.0" for name in ("low", "high", "odd", "mute"))
    assert (needs[low], needs[high], needs[odd]) == (None, [low], [low])  # what is not in the image is not named
    assert mute not in needs
    root = document["metadata"]["component"]["bom-ref"]
    stated = {one["aggregate"]: one["dependencies"] for one in document["compositions"] if "dependencies" in one}
    assert stated == {"complete": sorted([low, high, root]), "incomplete": [odd], "unknown": [mute]}
    assert {"aggregate": "complete", "assemblies": [root]} in document["compositions"]
    references = {one["bom-ref"] for one in document["components"]}
    assert {ref for refs in needs.values() for ref in refs or ()} <= references


def test_cyclonedx_of_a_partial_inspection() -> None:
    """Where something was not examined, neither the parts nor the needs of the target are complete."""
    document = json.loads(written("cyclonedx", msgspec.structs.replace(report(), complete=False)))
    root = document["metadata"]["component"]["bom-ref"]
    aggregates = {one["aggregate"] for one in document["compositions"] if root in one.get("assemblies", one.get("dependencies"))}
    assert aggregates == {"incomplete"}


def test_digests_of_one_file_and_others() -> None:
    """What is no digest of one file is no hash of a component."""
    component = next(one for one in json.loads(written("cyclonedx"))["components"] if one["name"] == "low")
    assert component["hashes"] == [{"alg": "SHA-256", "content": "2" * 64}]
    assert {"name": "pratique:hash:h1", "value": "x" * 43 + "="} in component["properties"]
    package = next(one for one in json.loads(written("spdx"))["packages"] if one["name"] == "low")
    assert package["checksums"] == [{"algorithm": "SHA256", "checksumValue": "2" * 64}]
    assert any(one["comment"].startswith("pratique:hash h1 ") for one in package["annotations"])


def test_spdx_says_how_much_is_known() -> None:
    """NONE for no needs, NOASSERTION for needs that are not met, nothing where nothing is known."""
    document = json.loads(written("spdx"))
    names = {one["SPDXID"]: one["name"] for one in document["packages"]}
    needs: dict[str, list[str]] = {}
    for one in document["relationships"]:
        if one["relationshipType"] == "DEPENDS_ON":
            right = one["relatedSpdxElement"]
            needs.setdefault(names[one["spdxElementId"]], []).append(names.get(right, right))
    assert needs == {"low": ["NONE"], "high": ["low"], "odd": ["low", "NOASSERTION"]}


def test_spdx_3_says_how_much_is_known() -> None:
    """By the completeness of each relationship; every identifier that is named is there."""
    graph = json.loads(written("spdx@3.0"))["@graph"]
    names = {one["spdxId"]: one.get("name", "") for one in graph if "spdxId" in one}
    needs = {names[one["from"]]: one for one in graph if one.get("relationshipType") == "dependsOn"}
    assert {name: one["completeness"] for name, one in needs.items()} == {
        "low": "complete",
        "high": "complete",
        "odd": "incomplete",
    }
    assert needs["low"]["to"] == ["https://spdx.org/rdf/3.0.1/terms/Core/NoneElement"]
    for one in graph:
        for right in one.get("to", ()):
            assert right in names or right.startswith("https://spdx.org/rdf/")


@pytest.mark.parametrize(
    ("stated", "expected", "named"),
    [
        ("GNU Libc Maintainers <glibc@lists.debian.org>", ("GNU Libc Maintainers", "glibc@lists.debian.org"), "Organization"),
        ("Jane (JD) Doe <jane@example.org>", ("Jane JD Doe", "jane@example.org"), "Person"),
        ("Rocky Enterprise Software Foundation", ("Rocky Enterprise Software Foundation", ""), "Organization"),
        ("X <not an address>", ("X", ""), "Person"),
        ("<a@example.org>", ("a@example.org", "a@example.org"), "Person"),
        ("\x1b[31m <\u202e@x.y>", None, "Person"),
    ],
)
def test_who_answers_for_a_package(stated: str, expected: tuple[str, str] | None, named: str) -> None:
    """Name and address apart, only addresses that can be written to, people and teams told apart; and valid."""
    package = msgspec.structs.replace(reporting.deb("libc6"), details=PackageDetails(supplier=stated))
    only = reporting.report(packages=(package,))
    for name, (_, official) in WRITERS.items():
        assert schemas.errors(written(name, only), official) == []
    supplier = json.loads(written("cyclonedx", only))["components"][-1]["supplier"]
    if expected is not None:
        assert (supplier["name"], supplier.get("contact", [{"email": ""}])[0]["email"]) == expected
    assert json.loads(written("spdx", only))["packages"][-1]["supplier"].startswith(f"{named}: ")
    agents = [one for one in json.loads(written("spdx@3.0", only))["@graph"] if one["type"] == named]
    assert len(agents) == 1


@pytest.mark.parametrize("name", [*WRITERS, "spdx@3.0"])
def test_nothing_of_it_unasked(name: str) -> None:
    """A report without details says what it said before: no digest, no need, no file."""
    plain = msgspec.structs.replace(
        report(),
        files=msgspec.UNSET,
        packages=tuple(msgspec.structs.replace(one, details=msgspec.UNSET) for one in report().packages),
    )
    text = written(name, plain).decode()
    assert not any(
        word in text for word in ("DEPENDS_ON", '"dependsOn": "', '"hashes"', "checksumValue", "software_File", "2" * 64)
    )
