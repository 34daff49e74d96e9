"""SBOMs of writers that leave out what packages of the system brought: told where nobody answers for that, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pratique.inventory.sbom.read import read_bill, read_sbom
from pratique.inventory.sbom.settle import settle
from pratique.match.brought import UNLISTED, narrowed
from pratique.match.find import subjects
from pratique.model.inventory import Gap, Inventory

DOCUMENTS = Path(__file__).parents[1] / "inventory" / "sbom" / "documents"
OWN = frozenset(("glibc", "openssl", "vim", "pam"))  # what a feed names that never speaks of requests


def left(inventory: Inventory, named: frozenset[str]) -> list[Gap]:
    """Return what is told of the unlisted when the distributor's feed names some of the source packages."""
    asked, _ = subjects(inventory.packages, inventory.release)
    hits = {inventory.release: {one.name: () for one in asked if one.name in named}}
    return [gap for gap in narrowed(inventory.gaps, inventory.packages, inventory.release, hits) if gap.code == UNLISTED]


@pytest.mark.parametrize("name", ["trivy.cdx.json", "trivy.spdx.json", "trivy.spdx"])
def test_trivy(name: str) -> None:
    """The package whose distributor says nothing of it is named; where all are spoken of, nothing is told."""
    inventory, _ = read_sbom(DOCUMENTS / name)
    assert [gap.code for gap in inventory.gaps] == [UNLISTED]
    (gap,) = left(inventory, OWN)
    assert "Trivy" in gap.message
    assert gap.message.endswith("never speak of python3-requests")
    assert left(inventory, OWN | {"requests"}) == []


@pytest.mark.parametrize("name", ["syft.cdx.json", "syft.spdx.json", "syft.spdx", "syft.syft.json"])
def test_syft(name: str) -> None:
    """Its documents have all."""
    inventory, _ = read_sbom(DOCUMENTS / name)
    assert UNLISTED not in {gap.code for gap in inventory.gaps}


def made(*purls: str, tools: tuple[str, ...] = ("trivy",)) -> Inventory:
    """Return what a CycloneDX document of some tool says."""
    components = [{"type": "library", "name": "x", "purl": purl} for purl in purls]
    about = {"tools": {"components": [{"type": "application", "name": name} for name in tools]}}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": about, "components": components}
    return settle(read_bill(json.dumps(document).encode()))


def test_what_a_base_image_is_made_of() -> None:
    """Nothing is doubted that is known to hold no package of a language."""
    base = made("pkg:deb/debian/bash@5.2-1?distro=debian-13", "pkg:deb/debian/base-files@13?distro=debian-13")
    assert left(base, frozenset()) == []
    (gap,) = left(made("pkg:deb/debian/fzf@0.6-1?distro=debian-13", "pkg:deb/debian/bash@5.2-1?distro=debian-13"), frozenset())
    assert gap.message.endswith("never speak of fzf")


def test_many() -> None:
    """A few are named, the others counted."""
    (gap,) = left(made(*(f"pkg:deb/debian/tool{n:02}@1-1?distro=debian-13" for n in range(30))), frozenset())
    assert gap.message.endswith("tool06, tool07 and 22 more")


def test_names_that_speak_of_a_language_come_first() -> None:
    """Of many packages, those that most likely hold what is missing are the ones that are named."""
    names = ("aalib", "libcommons-io-java", "node-acorn", "python3-yaml", "ruby-rack", "zsh")
    (gap,) = left(made(*(f"pkg:deb/debian/{name}@1-1?distro=debian-13" for name in names)), frozenset())
    assert gap.message.endswith("speak of libcommons-io-java, node-acorn, python3-yaml, ruby-rack, aalib, zsh")


def test_without_packages_of_the_system() -> None:
    """There is nobody who could have brought anything."""
    assert made("pkg:npm/lodash@4.17.21").gaps == ()


def test_cdxgen_is_not_the_trivy_inside_of_it() -> None:
    """It names the program that it runs among its tools."""
    (gap,) = made("pkg:deb/debian/fzf@0.6-1?distro=debian-13", tools=("trivy", "trustinspector", "cdxgen")).gaps
    assert "of cdxgen," in gap.message
