"""Package databases made to exhaust whoever relates their packages: the work ends, and what was left out is not complete."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryfile import survives
from pratique.examination import inspectors_for
from pratique.inventory import relate as relating
from pratique.inventory.assemble import assemble
from pratique.inventory.relate import relate
from pratique.inventory.squash import Seen
from pratique.model.inventory import DetailEvidence, Evidence, Package, PackageDetails, PackageEvidence
from pratique.model.layer import Located

SECONDS = 20.0
DETAILS = [one for one in inspectors_for(declared=False, files=True) if one.interest.scope in ("details", "files")]


def related(seen: Iterable[tuple[str, list[Evidence]]]) -> list[Package]:
    """Assemble and relate evidence, in bounded time."""
    items = [Seen(0, "x", Located(path, tuple(evidence))) for path, evidence in seen]
    assembled = assemble(items, [""], None, "")
    begun = time.process_time()
    found = relate(assembled.packages, items, assembled.purl_of)
    assert time.process_time() - begun < SECONDS
    return found


def known(package: Package) -> str:
    """Return how much is known of what a package needs."""
    assert isinstance(package.details, PackageDetails)
    return package.details.relations


def test_all_need_what_all_provide() -> None:
    """Thousands of packages that provide one name, which all of them need."""
    evidence: list[Evidence] = []
    for number in range(3_000):
        name = f"n{number}"
        evidence.append(PackageEvidence(type="deb", name=name, version="1", arch="amd64"))
        evidence.append(
            DetailEvidence(type="deb", name=name, version="1", arch="amd64", requires=("all",) * 100, provides=("all",))
        )
    found = related([("var/lib/dpkg/status", evidence)])
    assert len(found) == 3_000
    assert {known(package) for package in found} <= {"complete", "incomplete", "unknown"}


def test_an_archive_of_archives() -> None:
    """Thousands of artifacts merged into an archive of thousands: each would contain all."""
    merged = [PackageEvidence(type="maven", namespace="g", name=f"m{number}", version="1") for number in range(2_000)]
    parts = [PackageEvidence(type="maven", namespace="g", name=f"p{n}", version="1", inner=f"lib/{n}.jar") for n in range(5_000)]
    found = related([("srv/a.jar", [*merged, *parts])])
    assert len(found) == 7_000
    assert "unknown" in {known(package) for package in found}  # what the work did not reach is not called complete


def test_deep_folders_of_modules() -> None:
    """Names that are looked for along the longest paths."""
    deep = "srv/" + "node_modules/a/" * 250
    seen: list[tuple[str, list[Evidence]]] = []
    for number in range(300):
        package = PackageEvidence(type="npm", name=f"x{number}", version="1.0.0")
        needs = tuple(f"no-{other}" for other in range(1_000))
        detail = DetailEvidence(type="npm", name=f"x{number}", version="1.0.0", requires=needs)
        seen.append((f"{deep}node_modules/x{number}/package.json", [package, detail]))
    assert not any(known(package) == "complete" for package in related(seen))


def test_gems_of_every_version() -> None:
    """Constraints upon constraints over all versions that there could be."""
    seen: list[tuple[str, list[Evidence]]] = []
    for number in range(2_000):
        package = PackageEvidence(type="gem", name="g", version=f"1.{number}")
        need = "g " + ", ".join(f"~> 1.{other}.0.0.0.0" for other in range(40))
        detail = DetailEvidence(type="gem", name="g", version=f"1.{number}", requires=(need,) * 200)
        seen.append((f"usr/gems/specifications/g-1.{number}.gemspec", [package, detail]))
    assert len(related(seen)) == 2_000


def test_work_that_is_cut_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the limit is reached in the middle of a package, its relations are incomplete; later ones are unknown."""
    monkeypatch.setattr(relating, "MAX_WORK", 5)
    evidence: list[Evidence] = []
    for name in ("a", "b", "c"):
        evidence.append(PackageEvidence(type="deb", name=name, version="1"))
        evidence.append(DetailEvidence(type="deb", name=name, version="1", requires=("a", "b", "c") * 2))
    assert [known(package) for package in related([("var/lib/dpkg/status", evidence)])] == ["incomplete", "unknown", "unknown"]


_PATHS = (
    "var/lib/dpkg/status", "var/lib/dpkg/info/x.list", "var/lib/dpkg/status.d/x.md5sums", "lib/apk/db/installed",
    "var/lib/rpm/rpmdb.sqlite", "srv/node_modules/x/package.json", "srv/node_modules/.package-lock.json",
    "x-1.dist-info/METADATA",
    "x-1.dist-info/RECORD", "x-1.dist-info/direct_url.json", "specifications/x-1.gemspec", "composer/installed.json",
    "x.deps.json", "x.jar",
)  # fmt: skip
_FIELDS = (
    "Package: a\nVersion: 1\nDepends: b|c (>= 1), d\n", "P:a\nV:1\nD:so:x /bin/sh\nF:bin\nR:sh\n\n", '{"name":"a","version":"1"}',
    '{"packages":{"node_modules/a":{"version":"1","integrity":"sha512-AA=="}}}', "Name: a\nVersion: 1\nRequires-Dist: b\n\n",
    '{"archive_info":{"hashes":{"sha256":"00"}}}', "a.py,sha256=x,1\n", '{"targets":{"x":{"a/1":{"dependencies":{"b":"1"}}}}}',
)  # fmt: skip


@pytest.mark.parametrize("inspector", DETAILS, ids=lambda one: one.name)
@settings(max_examples=60)
@given(st.sampled_from(_PATHS), st.lists(st.sampled_from(_FIELDS) | st.text(max_size=20), max_size=4), st.binary(max_size=40))
def test_any_bytes(inspector: object, path: str, parts: list[str], tail: bytes) -> None:
    """Whatever a file holds, it ends in evidence or in a problem that the examiner knows."""
    data = "".join(parts).encode("utf-8", "replace") + tail
    for item in survives(inspector, path, data):  # type: ignore[arg-type]  # one of the inspectors
        assert msgspec.msgpack.encode(item)  # it can be sent and kept


def test_every_inspector_of_details_is_bounded_and_apart() -> None:
    """They are asked for by name of their scope, and none shares its name with an inspector of packages."""
    others = {one.name for one in inspectors_for(declared=True)}
    assert DETAILS
    assert not others.intersection(one.name for one in DETAILS)
    assert all(one.name.startswith("details_") and one.interest.max_bytes <= 2 << 30 for one in DETAILS)
