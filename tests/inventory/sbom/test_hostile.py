"""SBOMs made to exhaust whoever reads them: each costs what its size allows, and what is left out is said."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from pratique.inventory.sbom import cyclonedx
from pratique.inventory.sbom.read import read_bill
from pratique.inventory.sbom.settle import settle
from pratique.model.errors import ParseError
from pratique.model.inventory import Inventory

SECONDS = 10.0  # of this process; each of these documents took minutes by a reader that copies, or none at all by this one


def cdx(components: list[Any], **more: Any) -> bytes:
    """Make a CycloneDX document."""
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components, **more}).encode()


def component(number: int, **more: Any) -> dict[str, Any]:
    """Make one component."""
    return {"type": "library", "name": f"n{number}", "version": "1", "purl": f"pkg:npm/n{number}@1", **more}


def read(data: bytes) -> Inventory:
    """Read a document in the time that any may take."""
    begun = time.process_time()
    found = settle(read_bill(data))
    assert time.process_time() - begun < SECONDS
    return found


def nested(depth: int) -> bytes:
    """Components inside of components."""
    inner = b'{"type":"library","name":"x","purl":"pkg:npm/x@1"}'
    return b'{"bomFormat":"CycloneDX","components":[' + b'{"components":[' * depth + inner + b"]}" * depth + b"]}"


def test_components_inside_of_components() -> None:
    """Depth costs no recursion; what no JSON reader follows is refused in one line."""
    assert len(read(nested(300)).packages) == 1
    with pytest.raises(ParseError):
        read_bill(nested(300_000))


def test_one_reference_for_all() -> None:
    """References that repeat are nobody's: packages stay apart, and the same package is one."""
    assert len(read(cdx([component(number, **{"bom-ref": "x"}) for number in range(5_000)])).packages) == 5_000
    assert len(read(cdx([component(1)] * 5_000)).packages) == 1


def relations(count: int, kind: str, right: Any) -> bytes:
    """SPDX packages of Debian that all stand in a relation."""
    packages = [
        {
            "SPDXID": f"p{number}",
            "name": f"n{number}",
            "versionInfo": "1",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": f"pkg:deb/debian/n{number}@1"}],
        }
        for number in range(count)
    ]
    related = [{"spdxElementId": f"p{n}", "relationshipType": kind, "relatedSpdxElement": right(n)} for n in range(count)]
    return json.dumps({"spdxVersion": "SPDX-2.3", "packages": packages, "relationships": related}).encode()


@pytest.mark.parametrize("kind", ["CONTAINS", "DEPENDS_ON", "OTHER"])
def test_relations_that_go_in_circles(kind: str) -> None:
    """Nobody walks along relations, so that none has an end to miss."""
    for right in (lambda number: f"p{(number + 1) % 3000}", lambda number: f"p{number}", lambda _: "nobody"):
        inventory = read(relations(3_000, kind, right))
        assert len(inventory.packages) == 3_000
        assert not any(package.owner for package in inventory.packages)


@pytest.mark.parametrize(
    "line",
    [
        "ExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1",
        "AnnotationComment: <text>pratique:location - a</text>\nSPDXREF: x",
        "PackageComment: <text>never closed",
        "Relationship: x CONTAINS x",
        "FileName: a\nSPDXID: b",
    ],
)
def test_tags_over_and_over(line: str) -> None:
    """A hundred thousand of what one package has once."""
    head = "SPDXVersion: SPDX-2.3\nPackageName: a\nSPDXID: x\nPackageVersion: 1\nExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1\n"
    assert len(read((head + f"{line}\n" * 100_000).encode()).packages) == 1


def test_many_packages_of_the_system_and_many_that_came_with_it() -> None:
    """Who brought what is looked up, not searched for."""
    system = [component(n, purl=f"pkg:deb/debian/python3-n{n}@1?distro=debian-12") for n in range(8_000)]
    place = "/usr/share/nodejs/top{0}/node_modules/x{0}/package.json"
    brought = [
        component(n, purl=f"pkg:npm/x{n}@1", properties=[{"name": "SrcFile", "value": place.format(n)}]) for n in range(8_000)
    ]
    inventory = read(cdx(system + brought, metadata={"tools": {"components": [{"name": "syft"}]}}))
    assert len(inventory.packages) == 16_000


@pytest.mark.parametrize("purl", ["pkg:npm/" + "a" * 1_000_000, "pkg:", "pkg:npm/%ff%fe", "pkg:npm/a@1?" + "k=v&" * 100_000])
def test_purls_that_are_none(purl: str) -> None:
    """Each is one problem, or one package by the name that is left; the others are read."""
    inventory = read(cdx([component(1, purl=purl), component(2)]))
    assert "pkg:npm/n2@1" in {package.purl for package in inventory.packages}
    assert len(inventory.packages) + len(inventory.gaps) == 2


def test_files_do_not_crowd_packages_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that lists every file of an image is read to its end; beyond any image it says where it stopped."""
    monkeypatch.setattr(cyclonedx, "MAX_COMPONENTS", 10)
    files = [{"type": "file", "name": f"f{number}"} for number in range(1_000)]
    assert (len(read(cdx([*files, component(1)])).packages), read(cdx([*files, component(1)])).gaps) == (1, ())
    found = read(cdx([*files, *(component(number) for number in range(20))]))
    assert (len(found.packages), [gap.code for gap in found.gaps]) == (10, ["inventory.truncated"])
    monkeypatch.setattr(cyclonedx, "MAX_FILES", 500)
    assert [gap.code for gap in read(cdx(files)).gaps] == ["inventory.truncated"]
