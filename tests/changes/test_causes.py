"""Each cause from a pair of reports that differ in nothing but what it names; and what cannot be told is called unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import changing
from changing import FEEDS, finding, package, report
from pratique.changes.diff import diff
from pratique.model.change import FindingChange
from pratique.model.finding import Epss, Finding, FindingLocation, Severity, VexNote
from pratique.model.inventory import Gap
from pratique.model.report import PolicyRef, Reason, Report, ReportDistro, Verdict

NEWER = {**FEEDS, "osv/npm": "2"}


def only(old: Report, new: Report, *, live: bool = False) -> FindingChange:
    """The one finding that is different."""
    (change,) = diff(old, new, live=live).findings
    return change


def test_a_package_that_came() -> None:
    """A package that the older image has not: the image, with the layer and instruction that brought it."""
    change = only(report(digest="1"), report([finding()], [package(layer=changing.APP[:-1] + "2")], digest="2"))
    assert (change.change, change.introduced, change.cause.kind) == ("added", True, "image")
    assert change.cause.instruction == "RUN npm ci"
    assert "is new" in change.cause.message


def test_an_upgrade_that_mends() -> None:
    """Another version in an image, with one database: the image."""
    change = only(report([finding()], [package()]), report([], [package(version="4.17.21")], digest="2"))
    assert (change.change, change.introduced, change.cause.kind) == ("removed", False, "image")
    assert change.cause.message == "lodash 4.17.20, then 4.17.21"


@pytest.mark.parametrize(
    ("version", "kind"),
    [("4.17.19", "advisory"), ("3.9.0", "image"), ("not a version", "unknown")],
    ids=["the older was in the range, too", "it was not", "nobody knows"],
)
def test_another_version_and_another_database(version: str, kind: str) -> None:
    """Where both changed, the range tells: had the record been known, the older version would have been found, or not."""
    old = report([], [package(version=version)])
    change = only(old, report([finding()], [package()], digest="2", feeds=NEWER))
    assert change.cause.kind == kind
    back = only(report([finding()], [package()], digest="2", feeds=NEWER), old)
    assert back.cause.kind == kind


def test_a_new_record() -> None:
    """The same package in the same image, another database: the advisory, with feed and record."""
    change = only(report([], [package()]), report([finding()], [package()], feeds=NEWER))
    assert (change.cause.kind, change.cause.feeds, change.cause.records) == ("advisory", ("osv/npm",), ("GHSA-1",))


def test_a_record_withdrawn() -> None:
    """The same in the other direction: gone, by the advisory."""
    change = only(report([finding()], [package()]), report([], [package()], feeds=NEWER))
    assert (change.change, change.cause.kind, change.cause.records) == ("removed", "advisory", ("GHSA-1",))


def test_another_program() -> None:
    """Neither image nor database explains it, and the program is another: the scanner."""
    change = only(report([], [package()]), report([finding()], [package()], version="2.0"))
    assert (change.cause.kind, change.cause.message) == ("scanner", "pratique 1.0, then 2.0")
    found = diff(report([], []), report([], [package()], version="2.0"))
    assert [one.cause.kind for one in found.packages] == ["scanner"]


def test_the_advisory_goes_before_the_program() -> None:
    """Where its own feed changed, that is the cause; where only others did, and the program as well, nobody can tell."""
    assert only(report([], [package()]), report([finding()], [package()], version="2.0", feeds=NEWER)).cause.kind == "advisory"
    others = {**FEEDS, "epss/current": "2"}
    assert only(report([], [package()]), report([finding()], [package()], version="2.0", feeds=others)).cause.kind == "unknown"


def test_what_cannot_be_told() -> None:
    """One image, one database, one program: nothing explains it, and that is said."""
    cause = only(report([], [package()]), report([finding()], [package()])).cause
    assert cause.kind == "unknown"
    assert "--severity" in cause.message


def test_a_starter_set_and_then_a_database() -> None:
    """The older was asked of the shipped set only."""
    old = report([], [package()])
    starter = msgspec.structs.replace(old.meta.database, kind="starter", digest="sha256:s")
    old = changing.changed(old, meta=msgspec.structs.replace(old.meta, database=starter))
    assert only(old, report([finding()], [package()])).cause.kind == "advisory"


def test_live_targets_have_one_database() -> None:
    """Two targets scanned just now: no difference is an advisory's, though their databases list different feeds."""
    feeds = {name: content for name, content in FEEDS.items() if name != "osv/npm"}
    new = report([finding()], [package()], digest="2")
    assert only(report(feeds=feeds), new, live=True).cause.kind == "image"
    old = report([], [package(version="4.17.19")], digest="1")
    assert only(old, new, live=True).cause.kind == "image"


@pytest.mark.parametrize(
    ("members", "feeds", "field", "kind"),
    [
        ({"severity": Severity.CRITICAL}, NEWER, "severity", "advisory"),
        ({"status": "under_investigation"}, NEWER, "status", "advisory"),
        ({"fixed_in": ("4.17.21", "5.0.0")}, NEWER, "fixed_in", "advisory"),
        ({"kev": True}, {**FEEDS, "cisa/kev": "2"}, "kev", "advisory"),
        ({"epss": Epss(0.9, 0.99)}, {**FEEDS, "epss/current": "2"}, "epss", "advisory"),
        ({"severity": Severity.CRITICAL}, FEEDS, "severity", "unknown"),
        ({"waiver": {"id": "w-1", "state": "active", "owner": "a"}}, FEEDS, "waiver", "waiver"),
        (
            {"status": "not_affected", "vex": VexNote(document="d", statement=1, author="a", status="not_affected")},
            FEEDS,
            "status",
            "vex",
        ),
    ],
)
def test_members(members: dict[str, Any], feeds: dict[str, str], field: str, kind: str) -> None:
    """Each member of a finding that is different has a cause of its own."""
    change = only(report([finding()], [package()]), report([finding(**members)], [package()], feeds=feeds))
    assert change.change == "changed"
    assert [(one.name, one.cause.kind) for one in change.fields] == [(field, kind)]
    assert change.cause.kind == kind


def test_kev_names_its_feed() -> None:
    """KEV and EPSS are feeds, too."""
    change = only(report([finding()], [package()]), report([finding(kev=True)], [package()], feeds={**FEEDS, "cisa/kev": "2"}))
    assert (change.cause.feeds, change.cause.records, change.introduced) == (("cisa/kev",), ("CVE-2024-0001",), True)


def test_epss_that_hardly_moves() -> None:
    """A score changes every day a little: that is no difference."""
    old = report([finding(epss=Epss(0.10, 0.5))], [package()])
    assert diff(old, report([finding(epss=Epss(0.12, 0.6))], [package()])).findings == ()


def test_a_waiver_that_ended() -> None:
    """An ended waiver lets its finding count again, and the cause says why it ended."""
    held = {"id": "w-1", "state": "active", "owner": "a"}
    ended = {**held, "state": "ended", "ended": "expired on 2026-06-01T00:00:00Z"}
    change = only(report([finding(waiver=held)], [package()]), report([finding(waiver=ended)], [package()]))
    assert (change.introduced, change.cause.kind, change.cause.waiver) == (True, "waiver", "w-1")
    assert "expired on 2026-06-01" in change.cause.message


def test_several_members_several_causes() -> None:
    """The cause of the whole has the others beside it."""
    waiver = {"id": "w-1", "state": "active", "owner": "a"}
    new = report([finding(severity="critical", waiver=waiver)], [package()], feeds=NEWER)
    change = only(report([finding()], [package()]), new)
    assert [change.cause.kind, *(cause.kind for cause in change.cause.also)] == ["advisory", "waiver"]


def eol(now: str, ends: str, version: str = "12") -> Report:
    """A report of a distribution whose support ends."""
    distro = ReportDistro("debian", version, ends)
    over = Finding(kind="eol", id=f"EOL-debian-{version}", title="over", severity=Severity.HIGH, fingerprint=f"eol {version}")
    return report([over] if now[:10] > ends else [], [package()], now=now, distro=distro)


def test_time_passes() -> None:
    """The end of a distribution's support came between two reports of one image."""
    change = only(eol("2026-06-01T00:00:00Z", "2026-06-10"), eol("2026-07-01T00:00:00Z", "2026-06-10"))
    assert (change.cause.kind, change.cause.message) == ("time", "its support ended on 2026-06-10")


def test_another_distribution() -> None:
    """The image moved to another release."""
    change = only(eol("2026-06-01T00:00:00Z", "2028-06-10"), eol("2026-06-01T00:00:00Z", "2020-06-10", "9"))
    assert change.cause.kind == "image"


def test_a_secret() -> None:
    """What is wrong with a file comes with the image."""
    key = Finding(
        kind="secret", id="KEY", title="key", severity=Severity.HIGH, fingerprint="key",
        location=FindingLocation(path="root/.ssh/id", line=1, layer=changing.APP[:-1] + "2", instruction="COPY . ."),
    )  # fmt: skip
    change = only(report(), report([key], digest="2"))
    assert (change.cause.kind, change.cause.instruction) == ("image", "RUN npm ci")
    moved = msgspec.structs.replace(key, location=FindingLocation(path="root/.ssh/id", line=9))
    assert diff(report([key]), report([moved], digest="2")).findings == ()


def test_gaps() -> None:
    """What could not be examined or known has a cause as well."""
    unread = Gap(code="inventory.unreadable", message="damaged", path="a")
    starter = Gap(code="advisories.starter-only", message="x", source="npm")
    stale = Gap(code="advisories.stale", message="old", source="osv/npm")
    assert [one.cause.kind for one in diff(report(), report(problems=(unread,), digest="2")).problems] == ["image"]
    assert [one.cause.kind for one in diff(report(), report(problems=(unread,))).problems] == ["unknown"]
    assert [one.cause.kind for one in diff(report(), report([], [package()], problems=(starter,), digest="2")).problems] == [
        "image"
    ]
    later = report([], [package()], problems=(stale,), now="2026-12-25T00:00:00Z")
    assert [one.cause.kind for one in diff(report([], [package()]), later).problems] == ["time"]
    fetched = report([], [package()], problems=(), feeds=NEWER)
    assert [one.cause.kind for one in diff(later, fetched).problems] == ["advisory"]


def test_verdicts() -> None:
    """Another policy, or else the causes of the findings that its rules name; other rules on the same findings are a policy."""
    deny = Verdict(decision="deny", reasons=(Reason("severity-high", "1", (finding().fingerprint,)),))
    old = report([], [package()])
    new = report([finding()], [package()], feeds=NEWER, verdict=deny)
    found = diff(old, new).verdict
    assert found is not None
    assert (found.old, found.new, found.added, found.cause.kind) == ("allow", "deny", ("severity-high",), "advisory")
    stricter = report([finding()], [package()], verdict=deny)
    same = diff(report([finding()], [package()]), stricter).verdict
    assert same is not None
    assert same.cause.kind == "policy"
    other = msgspec.structs.replace(deny, policy=PolicyRef("strict", "sha256:1"))
    named = diff(report([finding()], [package()]), report([finding()], [package()], verdict=other)).verdict
    assert named is not None
    assert named.cause.message == "policy none, then strict sha256:1"


def test_packages_upgraded_and_downgraded() -> None:
    """Versions are ordered as their ecosystem orders them; two of one name pair up in their order."""
    old = report(
        [], [package(version="4.9.0"), package("b", "2.0.0"), package("c", "1.0.0"), package("c", "2.0.0"), package("d", "x y")]
    )
    new = report(
        [], [package(version="4.10.0"), package("b", "1.0.0"), package("c", "2.1.0"), package("c", "1.1.0"), package("d", "y z")],
        digest="2",
    )  # fmt: skip
    found = {
        (one.name, one.change, one.old.version if one.old else "", one.new.version if one.new else "")
        for one in diff(old, new).packages
    }
    assert found == {
        ("lodash", "upgraded", "4.9.0", "4.10.0"),
        ("b", "downgraded", "2.0.0", "1.0.0"),
        ("c", "upgraded", "1.0.0", "1.1.0"),
        ("c", "upgraded", "2.0.0", "2.1.0"),
        ("d", "changed", "x y", "y z"),
    }


def test_reports_of_before_feeds_had_digests() -> None:
    """A feed is then compared by what is said of its records."""
    old, new = report([], [package()]), report([finding()], [package()])

    def without(made: Report, records: int) -> Report:
        sources = tuple(msgspec.structs.replace(one, digest="", records=records) for one in made.meta.database.sources)
        database = msgspec.structs.replace(made.meta.database, sources=sources, digest=f"sha256:{records}")
        return changing.changed(made, meta=msgspec.structs.replace(made.meta, database=database))

    assert only(without(old, 1), without(new, 2)).cause.kind == "advisory"
    assert only(without(old, 1), without(new, 1)).cause.kind == "unknown"


def test_what_only_one_looked_at() -> None:
    """Image checks in one report only: neither image nor rules changed, and the other may be as bad."""
    found = Finding(kind="misconfiguration", id="df-user-missing", title="t", severity=Severity.HIGH, fingerprint="u")
    old, new = report(examined=("packages",)), report([found], examined=("configuration", "packages"))
    for change in (only(old, new), only(new, old)):
        assert (change.cause.kind, "configuration" in change.cause.message) == ("scope", True)
    assert only(changing.changed(old, examined=()), new).cause.kind == "unknown"
    both = changing.changed(old, examined=new.examined)
    assert only(both, new).cause.kind == "unknown"
