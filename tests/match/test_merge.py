"""Matches to findings: one a (vulnerability, package), whatever the order."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching import answers, between, findings, hit, known, package
from pratique.match.merge import MAX_REFERENCES, fingerprint, merge, names_of, principal
from pratique.match.severity import vendor_severity, weigh
from pratique.model.advisory import Advisory
from pratique.model.finding import Cvss, Severity
from pratique.model.hits import Hit, covers
from pratique.model.inventory import Location

EVERY = between("PyPI")
HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"  # 7.5
CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"  # 9.8
MEDIUM_4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:L/UI:N/VC:L/VI:L/VA:L/SC:N/SI:N/SA:N"  # 5.3
GHSA_1, GHSA_2 = "GHSA-2222-3333-4444", "GHSA-5555-6666-7777"


def _advisory(identifier: str, *aliases: str, **more: object) -> Advisory:
    return msgspec.convert({"id": identifier, "source": "osv", "aliases": aliases, **more}, Advisory)


def test_aliases_are_one_finding() -> None:
    """CVE, GHSA and a database's own id, linked directly or through each other, are one finding that goes by the CVE."""
    knowledge = known(_advisory("PYSEC-1", GHSA_1), _advisory(GHSA_1, "CVE-2024-2"), _advisory("CVE-2024-2"))
    found = findings(package("pypi", "a", "1"), [hit("PYSEC-1", EVERY), hit(GHSA_1, EVERY), hit("CVE-2024-2", EVERY)], knowledge)
    assert [(finding.id, finding.aliases) for finding in found] == [("CVE-2024-2", (GHSA_1, "PYSEC-1"))]
    because = found[0].because
    assert because is not None
    assert [because.advisory, *(other.advisory for other in because.also)] == ["CVE-2024-2", GHSA_1, "PYSEC-1"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("PYSEC-2024-1", GHSA_1, "CVE-2024-10"), "CVE-2024-10"),
        (("CVE-2024-10", "CVE-2024-9", "CVE-2023-99999"), "CVE-2023-99999"),
        (("CVE-2024-10", "CVE-2024-9"), "CVE-2024-9"),
        (("PYSEC-2024-1", GHSA_1), GHSA_1),
        (("RUSTSEC-2", "OSV-1"), "OSV-1"),
    ],
)
def test_principal(names: Sequence[str], expected: str) -> None:
    """The CVE, the oldest of several; else the GHSA; else what the source says."""
    assert principal(names) == principal(reversed(names)) == expected


def test_notices() -> None:
    """A notice of three CVEs is a finding of each, also by a distributor's own record; without any it stands alone."""
    three = _advisory("ALSA-2024:1", related=["CVE-2024-1", "CVE-2024-2", "UBUNTU-CVE-2024-3", "RHSA-2024:9"])
    assert covers(three) == ("CVE-2024-1", "CVE-2024-2", "CVE-2024-3")
    own = between("AlmaLinux:9", fixed="2-1")
    hits = [hit("ALSA-2024:1", own), hit("ALSA-2024:2", own)]
    found = findings(package("rpm", "a", "1-1"), hits, known(three, _advisory("ALSA-2024:2")), release="AlmaLinux:9")
    assert [finding.id for finding in found] == ["ALSA-2024:2", "CVE-2024-1", "CVE-2024-2", "CVE-2024-3"]
    assert all(finding.fixed_in == ("2-1",) for finding in found)


def test_since_when_there_is_a_fix() -> None:
    """The day of the first notice that brought one; a record of the vulnerability and a notice without a fix do not say it."""
    day = "2024-0{}-01T00:00:00Z".format
    own, open_ = between("AlmaLinux:9", fixed="2-1"), between("AlmaLinux:9")
    later = _advisory("ALSA-2024:2", related=["CVE-2024-1"], published=day(5))
    first = _advisory("ALSA-2024:1", related=["CVE-2024-1"], published=day(3))
    bare = _advisory("ALSA-2024:0", related=["CVE-2024-1"], published=day(1))
    record = _advisory("CVE-2024-1", published=day(2))
    alone = _advisory("ALSA-2024:9", published=day(4))
    for hits, expected in (
        ([hit("ALSA-2024:2", own), hit("ALSA-2024:1", own), hit("CVE-2024-1", own)], day(3)),
        ([hit("ALSA-2024:2", own), hit("ALSA-2024:0", open_)], day(5)),
        ([hit("CVE-2024-1", own)], ""),
        ([hit("ALSA-2024:9", own)], day(4)),
    ):
        (found,) = findings(package("rpm", "a", "1-1"), hits, known(later, first, bare, record, alone), release="AlmaLinux:9")
        assert found.fixed_since == expected


def test_notice_and_record() -> None:
    """A CVE that a notice fixes and that has a record of its own is one finding."""
    knowledge = known(_advisory("USN-1-1", related=["UBUNTU-CVE-2024-3"]), _advisory("UBUNTU-CVE-2024-3", "CVE-2024-3"))
    own = between("Ubuntu:22.04:LTS", fixed="2-1")
    hits = [hit("USN-1-1", own), hit("UBUNTU-CVE-2024-3", own)]
    found = findings(package("deb", "a", "1-1"), hits, knowledge, release="Ubuntu:22.04:LTS")
    assert [(finding.id, finding.aliases) for finding in found] == [("CVE-2024-3", ("UBUNTU-CVE-2024-3",))]


def test_denial_answers_other_sources() -> None:
    """What the distributor says does not hold is no finding, by whatever alias another source names it."""
    knowledge = known(_advisory("DSA-1", related=["CVE-2024-1", "CVE-2024-2"]))
    hits = [hit("DSA-1", between("Debian:12")), hit("CVE-2024-1", state="not-affected", feed="debian/tracker")]
    found = findings(package("deb", "a", "1-1"), hits, knowledge, release="Debian:12")
    assert [finding.id for finding in found] == ["CVE-2024-2"]


def test_denial_of_one_of_two() -> None:
    """Where a record is about two CVEs and one is denied, the other stays; where a GHSA stays only, nothing does."""
    knowledge = known(_advisory("OSV-1", "CVE-2024-1", "CVE-2024-2"), _advisory("OSV-2", "CVE-2024-3", GHSA_1))
    hits = [
        hit("OSV-1", EVERY),
        hit("OSV-2", EVERY),
        hit("CVE-2024-1", state="not-affected"),
        hit("CVE-2024-3", state="not-affected"),
    ]
    found = findings(package("pypi", "a", "1"), hits, knowledge)
    assert [(finding.id, finding.aliases) for finding in found] == [("CVE-2024-2", ("OSV-1",))]


def test_other_package_is_not_denied() -> None:
    """A denial is about one package."""
    first, second = package("deb", "a", "1-1"), package("deb", "b", "1-1")
    matches, _ = answers(
        "Debian:12", [first, second], {"a": [hit("CVE-1", state="not-affected")], "b": [hit("CVE-1", between("Debian:12"))]}
    )
    assert [f.package.name for f in merge(matches.found, matches.denied, known(), {}) if f.package] == ["b"]


@pytest.mark.parametrize(
    ("spoken", "records", "expected"),
    [
        (["low"], ["CRITICAL"], "low"),  # of this package in this release, before what is said in general
        (["not yet assigned"], ["MODERATE"], "medium"),
        (["", ""], ["HIGH"], "high"),
        (["medium**", "unimportant"], [], "medium"),
        (["unimportant"], [], "negligible"),
        ([], ["Important"], "high"),
        ([""], [""], "critical"),  # nobody's word: the vector
    ],
)
def test_severity(spoken: list[str], records: list[str], expected: str) -> None:
    """The distributor's word, then the record's, then the score."""
    hits = [hit(f"CVE-2024-{n}", between("Debian:12"), severity=word) for n, word in enumerate(spoken or [""])]
    same = [f"CVE-2024-{n}" for n in range(len(hits))]
    advisories = [
        _advisory(one.id, *same, cvss=[CRITICAL], severity=word) for one, word in zip(hits, [*records, ""], strict=False)
    ]
    (found,) = findings(package("deb", "a", "1-1"), hits, known(*advisories), release="Debian:12")
    assert found.severity is Severity(expected)


def test_words_and_scores() -> None:
    """Newest CVSS first, the worst of its vectors; nothing known is unknown, never low."""
    both = [Cvss("4.0", MEDIUM_4, 5.3), Cvss("3.1", CRITICAL, 9.8), Cvss("4.0", "x", 2.0)]
    assert weigh([], vectors=both) is Severity.MEDIUM
    assert weigh([], vectors=[]) is Severity.UNKNOWN
    assert [vendor_severity(word) for word in ("Moderate", "IMPORTANT", "not yet assigned", "", "end-of-life")] == [
        Severity.MEDIUM,
        Severity.HIGH,
        *[Severity.UNKNOWN] * 3,
    ]


def test_vectors_of_other_feeds() -> None:
    """A source that scores nothing borrows vectors that others give for the CVE, and says whose; its own go before."""
    (found,) = findings(package("pypi", "a", "1"), [hit("CVE-1-1", EVERY)], known(vectors={"CVE-1-1": [(HIGH, "osv/Go")]}))
    assert [(c.version, c.score, c.source) for c in found.cvss] == [("3.1", 7.5, "osv/Go")]
    assert found.severity is Severity.HIGH
    own = known(_advisory("CVE-1-1", cvss=[CRITICAL, MEDIUM_4, "damaged"]), vectors={"CVE-1-1": [(HIGH, "osv/Go")]})
    (found,) = findings(package("pypi", "a", "1"), [hit("CVE-1-1", EVERY)], own)
    assert [(c.version, c.score, c.source) for c in found.cvss] == [("4.0", 5.3, "osv"), ("3.1", 9.8, "osv")]


def test_exploitation() -> None:
    """KEV and EPSS come by the CVE, also where the advisory goes by another name."""
    knowledge = known(_advisory(GHSA_1, "CVE-2024-1"), exploited=["CVE-2024-1"], scores={"CVE-2024-1": 0.9})
    (found,) = findings(package("pypi", "a", "1"), [hit(GHSA_1, EVERY)], knowledge)
    assert found.kev
    assert found.epss is not None
    assert found.epss.score == 0.9
    (found,) = findings(package("pypi", "a", "1"), [hit(GHSA_2, EVERY)], knowledge)
    assert (found.kev, found.epss) == (False, None)


def test_fixed_in() -> None:
    """Fixed versions of all sources, oldest first, by their order and not as text; last_affected and limit are no fixes."""
    same = [_advisory(name, "CVE-2024-1") for name in ("A", "B", "C", "D")]
    hits = [
        hit("A", between("npm", "", fixed="4.10.0")),
        hit("B", between("npm", "", fixed="4.9.0")),
        hit("C", between("npm", "", last="4.8.0")),
        hit("D", between("npm", "", limit="4.8.0")),
    ]
    (found,) = findings(package("npm", "a", "4.1.0"), hits, known(*same))
    assert found.fixed_in == ("4.9.0", "4.10.0")
    assert found.message == "a 4.1.0 is affected (< 4.10.0); fixed in 4.9.0, 4.10.0"


def test_states_are_kept() -> None:
    """Won't-fix is said in the reasons and in the message."""
    (found,) = findings(
        package("deb", "a", "1-1"), [hit("CVE-1", between("Debian:12"), state="wont-fix", note="minor")], release="Debian:12"
    )
    assert found.because is not None
    assert (found.because.state, found.because.range, found.fixed_in) == ("wont-fix", "all versions", ())
    assert found.message == "a 1-1 is affected (all versions); it will not be fixed (minor)"


def test_status() -> None:
    """One source that is sure decides."""
    hits = [hit("CVE-1", EVERY, state="undetermined"), hit("CVE-1", EVERY, feed="osv/other")]
    assert [finding.status for finding in findings(package("pypi", "a", "1"), hits)] == ["affected"]
    assert [finding.status for finding in findings(package("pypi", "a", "1"), hits[:1])] == ["under_investigation"]


@pytest.mark.parametrize(
    ("advisory", "expected"),
    [
        (_advisory("CVE-1", summary="  Buffer\n overflow "), "Buffer overflow"),
        (_advisory("CVE-1"), "openssl: CVE-1"),
        (_advisory("ALSA-1", summary="Important: openssl security update", related=["CVE-1"]), "openssl: CVE-1"),
    ],
)
def test_titles(advisory: Advisory, expected: str) -> None:
    """The source's summary in one line; a notice's is about an update: then package and id."""
    installed = package("deb", "libssl3", "1-1", source=("openssl", ""))
    (found,) = findings(installed, [hit(advisory.id, between("Debian:12"))], known(advisory), name="openssl", release="Debian:12")
    assert found.title == expected


def test_malware() -> None:
    """A malicious package is critical, of a kind of its own, whatever words there are."""
    (found,) = findings(package("npm", "a", "1.0.0"), [hit("MAL-1", between("npm"))], known(_advisory("MAL-1", kind="malware")))
    assert (found.kind, found.severity) == ("malware", Severity.CRITICAL)
    assert found.fingerprint == fingerprint("malware", "MAL-1", package("npm", "a", "9.9.9"))


def test_care_is_no_danger() -> None:
    """A crate that nobody maintains is said, and is negligible; an unsound one is not."""
    words = ("informational: unmaintained", "informational: unsound")
    severities = [
        findings(package("cargo", "a", "1.0.0"), [hit("RUSTSEC-1", between("crates.io"), note=n)])[0].severity for n in words
    ]
    assert severities == [Severity.NEGLIGIBLE, Severity.UNKNOWN]


def test_fingerprint() -> None:
    """Stable across versions, places and layers; another for another package, type, namespace or id."""
    one = package("pypi", "a", "1")
    moved = msgspec.structs.replace(package("pypi", "a", "2"), locations=(Location("elsewhere", "sha256:2"),))
    prints = {findings(installed, [hit("CVE-1", EVERY)])[0].fingerprint for installed in (one, moved)}
    assert prints == {fingerprint("vulnerability", "CVE-1", one)}
    others = {
        fingerprint("vulnerability", "CVE-1", p)
        for p in (package("pypi", "b", "1"), package("npm", "a", "1"), package("npm", "a", "1", namespace="@x"))
    }
    assert len(prints | others | {fingerprint("vulnerability", "CVE-2", one)}) == 5


def test_where() -> None:
    """A finding names path, layer and the instruction that made the layer."""
    (found,) = findings(package("pypi", "a", "1"), [hit("CVE-1", EVERY)])
    assert found.location is not None
    assert (found.location.path, found.location.layer, found.location.instruction) == ("some/place", "sha256:1", "RUN something")


def test_references_are_bounded() -> None:
    """Links to the known databases first, no more than a person reads, none twice."""
    links = [f"https://example.org/{number}" for number in range(40)] * 2
    (found,) = findings(
        package("pypi", "a", "1"), [hit("CVE-2024-1", EVERY)], known(_advisory("CVE-2024-1", GHSA_1, references=links))
    )
    assert len(found.references) == len(set(found.references)) == MAX_REFERENCES
    assert found.references[:2] == ("https://nvd.nist.gov/vuln/detail/CVE-2024-1", f"https://github.com/advisories/{GHSA_1}")


_NAMES = ["CVE-2024-1", "CVE-2024-2", "CVE-2024-3", GHSA_1, GHSA_2, "PYSEC-1", "OSV-1"]
_hits = st.lists(
    st.builds(
        lambda name, fixed, state, word, feed: hit(
            name, *(() if state == "not-affected" else (between("PyPI", "", fixed=fixed),)), state=state, severity=word, feed=feed
        ),
        st.sampled_from(_NAMES),
        st.sampled_from(["", "2.0", "3.0", "0.5"]),
        st.sampled_from(["", "", "", "unfixed", "undetermined", "not-affected"]),
        st.sampled_from(["", "low", "high"]),
        st.sampled_from(["osv/test", "debian/tracker"]),
    ),
    max_size=8,
)
_advisories = st.lists(
    st.builds(
        lambda name, aliases, word: _advisory(
            name, *(a for a in sorted(aliases) if a != name), severity=word, summary=f"of {name}"
        ),
        st.sampled_from(_NAMES),
        st.frozensets(st.sampled_from(_NAMES), max_size=2),
        st.sampled_from(["", "LOW", "CRITICAL"]),
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(_hits, _advisories, st.integers(0, 1000))
def test_order_changes_nothing(hits: list[Hit], advisories: list[Advisory], seed: int) -> None:
    """The same matches in any order give the same findings, byte for byte."""
    packages = [package("pypi", "a", "1.0"), package("pypi", "a", "1.1"), package("pypi", "b", "1.0")]
    knowledge = known(*advisories)
    matches, _ = answers("", packages, {"a": hits, "b": hits[:3]})
    shuffled = list(matches.found)
    random.Random(seed).shuffle(shuffled)
    first = msgspec.json.encode(merge(matches.found, matches.denied, knowledge, {}))
    assert msgspec.json.encode(merge(shuffled, matches.denied, knowledge, {})) == first


@settings(max_examples=150)
@given(_hits, _advisories)
def test_every_match_ends_in_one_finding(hits: list[Hit], advisories: list[Advisory]) -> None:
    """Of one package, no name is in two findings; each match is a reason of exactly one, or all its CVEs are denied."""
    installed = package("pypi", "a", "1.0")
    knowledge = known(*advisories)
    matches, _ = answers("", [installed], {"a": hits})
    found = merge(matches.found, matches.denied, knowledge, {})
    names = [name for finding in found for name in (finding.id, *finding.aliases)]
    assert len(names) == len(set(names))
    reasons = [
        (reason.source, reason.advisory) for f in found if f.because for reason in (f.because, *f.because.also)
    ]  # fmt: skip
    denied = {name for name, _ in matches.denied}
    for match in matches.found:
        place = (match.hit.feed, match.hit.id)
        if place not in reasons:
            assert denied
        else:
            mine = {name for group in names_of(match, knowledge.advisories) for name in group}
            assert mine - denied <= set(names)
