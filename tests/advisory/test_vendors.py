"""What vendors' feeds need beyond the others: addresses that change, archives and XML that attack, streams of releases."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from feedsim import CASES, archive, record, serving, tarball
from pratique.advisory import archive as limits
from pratique.advisory import modules, xml
from pratique.advisory.feeds import sources
from pratique.advisory.fetch import Fetcher, Validators
from pratique.advisory.providers import amazon, redhat
from pratique.advisory.redhat import carve, extended_of_cpe, place, place_of_cpe
from pratique.model.advisory import VersionRange
from pratique.model.errors import FeedError, ParseError
from pratique.model.inventory import Gap


def _parse(feed: str, body: bytes) -> list[Any]:
    source = sources()[feed]
    return list(source.provider.parse(source.feed, io.BytesIO(body)))


# -- addresses that change -----------------------------------------------------------------------------------------------------


def _fetch(folder: Path, name: str, url: str, known: Validators | None = None) -> Any:
    source = sources()[name]
    fetcher = Fetcher(folder, attempts=1)
    try:
        return fetcher.fetch(msgspec.structs.replace(source.feed, url=url), known or Validators(), source.route())
    finally:
        fetcher.close()


@pytest.mark.loopback
def test_the_archive_is_found_by_the_name_beside_it(tmp_path: Path) -> None:
    """Red Hat names the archive of the day in a small file; the same name and tag are not fetched again."""
    body = tarball({"a.json": b"{}"})
    with serving({"vex/archive_latest.txt": b"csaf_vex_2026-11-25.tar.zst\n", "vex/csaf_vex_2026-11-25.tar.zst": body}) as server:
        address = f"{server.url}/vex/archive_latest.txt"
        first = _fetch(tmp_path, "redhat/vex", address)
        assert first.path.read_bytes() == body
        assert first.validators.url.endswith("/vex/csaf_vex_2026-11-25.tar.zst")
        assert _fetch(tmp_path, "redhat/vex", address, first.validators).path is None
        server.files["vex/archive_latest.txt"] = b"csaf_vex_2026-11-26.tar.zst"
        server.files["vex/csaf_vex_2026-11-26.tar.zst"] = b"new"
        assert _fetch(tmp_path, "redhat/vex", address, first.validators).path.read_bytes() == b"new"


@pytest.mark.loopback
@pytest.mark.parametrize("name", [b"https://elsewhere.example/x.tar.zst", b"../x.tar.zst", b"", b"x.zip", b"\xff" * 50])
def test_a_name_that_is_none_is_refused(name: bytes, tmp_path: Path) -> None:
    """Only a file beside the list is an archive."""
    with serving({"vex/archive_latest.txt": name}) as server, pytest.raises(FeedError, match="does not name an archive"):
        _fetch(tmp_path, "redhat/vex", f"{server.url}/vex/archive_latest.txt")


def _repository(server: Any, notices: bytes, digest: str) -> None:
    index = (
        f'<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary"><location href="repodata/p.gz"/></data>'
        f'<data type="updateinfo"><checksum type="sha256">{digest}</checksum><location href="repodata/u.xml.gz"/></data></repomd>'
    )
    server.files["al/mirror.list"] = f"{server.url}/al/guid/$basearch/\n".encode()
    server.files["al/guid/x86_64/repodata/repomd.xml"] = index.encode()
    server.files["al/guid/x86_64/repodata/u.xml.gz"] = notices


@pytest.mark.loopback
def test_notices_are_found_by_the_index_and_verified(tmp_path: Path) -> None:
    """Amazon: list of mirrors, index of the repository, notices with a digest; a wrong digest is refused."""
    notices = gzip.compress((CASES / "amazon/documented/feed").read_bytes())
    with serving({}) as server:
        _repository(server, notices, hashlib.sha256(notices).hexdigest())
        assert _fetch(tmp_path, "amazon/2023", f"{server.url}/al/mirror.list").path.read_bytes() == notices
        _repository(server, notices, "0" * 64)
        with pytest.raises(FeedError, match="digest differs"):
            _fetch(tmp_path, "amazon/2023", f"{server.url}/al/mirror.list")
        server.files["al/mirror.list"] = b"https://elsewhere.example/repo/\n"
        with pytest.raises(FeedError, match="elsewhere"):
            _fetch(tmp_path, "amazon/2023", f"{server.url}/al/mirror.list")
    assert not list(tmp_path.glob("*.whole"))


def test_an_index_without_notices_is_refused() -> None:
    """What lists no notices has none to fetch."""
    with pytest.raises(ParseError, match="lists no update notices"):
        amazon.PROVIDER.route(sources()["amazon/2"].feed)[1]("https://x.example/repodata/repomd.xml", b"<repomd></repomd>")


# -- topics of Amazon Linux 2 --------------------------------------------------------------------------------------------------


def _notice(name: str, version: str, epoch: str = "0") -> bytes:
    package = f'<package name="{name}" epoch="{epoch}" version="{version}" release="2.amzn2"/>'
    body = f'<update type="security"><id>ALAS2X-2024-1</id><pkglist><collection>{package}</collection></pkglist></update>'
    return gzip.compress(f"<updates>{body}</updates>".encode())


@pytest.mark.parametrize(
    ("topic", "name", "version", "epoch", "start"),
    [
        ("kernel-5.10", "kernel", "5.10.50", "0", "5.10"),
        ("mariadb10.5", "mariadb", "10.5.10", "3", "3:10.5"),
        ("postgresql14", "postgresql", "14.3", "0", "14"),
        ("nginx1", "nginx", "1.22.1", "1", "1:1"),
        ("docker", "docker", "20.10.7", "0", ""),
        ("corretto8", "java-1.8.0-amazon-corretto", "1.8.0_302", "1", ""),
    ],
)
def test_a_topic_that_names_a_series_speaks_of_that_series(topic: str, name: str, version: str, epoch: str, start: str) -> None:
    """The core's kernel 4.14 is no kernel 5.10 that lacks a fix."""
    (advisory,) = _parse(f"amazon/2-{topic}", _notice(name, version, epoch))
    (row,) = advisory.affected
    assert (row.ecosystem, row.ranges[0].introduced) == ("Amazon Linux:2:extras", start)
    assert row.ranges[0].fixed.endswith(f"{version}-2.amzn2")


@pytest.mark.loopback
def test_a_topic_without_notices_is_an_empty_feed(tmp_path: Path) -> None:
    """Many topics never had any: nothing failed."""
    with serving({}) as server:
        server.files["2/extras/mock/latest/x86_64/mirror.list"] = f"{server.url}/2/extras/mock/guid/$basearch/\n".encode()
        index = b'<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary"><location href="x"/></data></repomd>'
        server.files["2/extras/mock/guid/x86_64/repodata/repomd.xml"] = index
        fetched = _fetch(tmp_path, "amazon/2-mock", f"{server.url}/2/extras/mock/latest/x86_64/mirror.list")
        assert _parse("amazon/2-mock", fetched.path.read_bytes()) == []


# -- archives and XML that attack ----------------------------------------------------------------------------------------------


def test_a_truncated_tar_is_refused() -> None:
    """Half an archive is no feed, wherever it ends."""
    body = tarball({f"{n}.json": b"{}" * 5000 for n in range(20)})
    for end in (0, 3, len(body) // 2, len(body) - 5):
        with pytest.raises(ParseError, match="redhat/vex"):
            _parse("redhat/vex", body[:end])


def test_a_tar_holds_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """One document that is too large is left out; an archive that is too large is refused."""
    body = tarball({"big.json": b" " * 5000, "small.json": b"{}"})
    monkeypatch.setattr(limits, "MAX_TAR_ENTRY_BYTES", 1000)
    found = _parse("redhat/vex", body)
    assert [type(one) for one in found] == [Gap, Gap]
    assert "big.json was left out: larger" in found[0].message
    monkeypatch.setattr(limits, "MAX_TAR_BYTES", 1000)
    with pytest.raises(ParseError, match="more than"):
        _parse("redhat/vex", body)


def test_links_in_a_tar_are_passed_over() -> None:
    """Only regular files are read."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as target:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("x.json")
            member.type, member.linkname = kind, "/etc/passwd"
            target.addfile(member)
    assert _parse("redhat/vex", zstandard.compress(out.getvalue())) == []


_LAUGHS = b"".join(
    [
        b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha">',
        *(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">'.encode() for n in range(9)),
        b"]><updates><update type='security'><id>&j;</id></update></updates>",
    ]
)
_OUTSIDE = (
    b'<?xml version="1.0"?><!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b'<updates><update type="security"><id>&x;</id></update></updates>'
)
_DTD = b'<!DOCTYPE updates SYSTEM "http://127.0.0.1:1/x.dtd"><updates></updates>'


@pytest.mark.parametrize("document", [_LAUGHS, _OUTSIDE, _DTD, b"<updates><update>", b"<updates", b"", b"<other/>"])
def test_xml_with_a_document_type_or_cut_short_is_refused(document: bytes) -> None:
    """No entity is expanded, nothing is opened, and half a document is no feed."""
    with pytest.raises(ParseError, match="amazon/2023"):
        _parse("amazon/2023", gzip.compress(document))


def test_xml_that_is_nested_deep_is_refused_or_read() -> None:
    """The parser's own bound on depth holds."""
    with pytest.raises(ParseError):
        _parse("amazon/2023", gzip.compress(b"<updates>" + b"<a>" * 100_000))
    inner = b'<criteria operator="AND">' * 50 + b"</criteria>" * 50
    head = b"<metadata><title>ELSA-2024-1: x</title></metadata>"
    body = b"<o><definitions><definition>" + head + inner + b"</definition></definitions></o>"
    (gap,) = _parse("oracle/oval", bz2.compress(body))
    assert "nested too deep" in gap.message


def test_xml_inflates_to_only_so_much() -> None:
    """The budget counts what comes out."""
    with pytest.raises(ParseError, match="inflates"):
        list(xml.elements(xml.Bounded(io.BytesIO(b"<updates>" + b" " * 10_000), "feed", 1000), "update", "updates", "feed"))


def test_memory_holds_one_record_of_a_document() -> None:
    """What was read is taken out of the tree."""
    body = io.BytesIO(b"<updates>" + (b"<update><id>" + b"1" * 5000 + b"</id></update>") * 1000 + b"</updates>")
    sizes = []
    for element in xml.elements(body, "update", "updates", "feed"):
        parent = element.getparent()
        sizes.append(len(parent) if parent is not None else 0)
    assert len(sizes) == 1000
    assert max(sizes) < 20


# -- streams of Red Hat --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpe", "ecosystem"),
    [
        ("cpe:/a:redhat:enterprise_linux:9::appstream", "Red Hat:enterprise_linux:9"),
        ("cpe:/o:redhat:enterprise_linux:9", "Red Hat:enterprise_linux:9"),
        ("cpe:/o:redhat:enterprise_linux:10.1", "Red Hat:enterprise_linux:10"),
        ("cpe:/a:redhat:rhel_eus:9.2::appstream", None),
        ("cpe:/a:redhat:openshift:4.18::el9", None),
        ("cpe:2.3:o:redhat:enterprise_linux:9", None),
        ("", None),
    ],
)
def test_main_streams_are_kept_under_one_name(cpe: str, ecosystem: str | None) -> None:
    """Repository and minor release are left out; other products have packages of their own."""
    assert place_of_cpe(cpe) == ecosystem


def test_other_ecosystems_keep_their_names() -> None:
    """Only Red Hat's are shortened."""
    assert place("Red Hat:rhel_eus:9.2::baseos") == "Red Hat:rhel_eus:9.2"
    assert place("Debian:12") == "Debian:12"
    assert place("Maven:https://x") == "Maven"


def _document(fixes: Sequence[str]) -> bytes:
    products = [{"product": {"product_id": "p", "product_identification_helper": {"cpe": "cpe:/o:redhat:enterprise_linux:9"}}}]
    relationships = []
    for fix in fixes:
        purl = f"pkg:rpm/redhat/a@{fix.replace('+', '%2B')}?arch=x86_64&epoch=0"
        products.append({"product": {"product_id": f"a-{fix}", "product_identification_helper": {"purl": purl}}})
        relationships.append(
            {
                "full_product_name": {"product_id": f"p:a-{fix}"},
                "product_reference": f"a-{fix}",
                "relates_to_product_reference": "p",
            }
        )
    return msgspec.json.encode(
        {
            "document": {},
            "product_tree": {"branches": products, "relationships": relationships},
            "vulnerabilities": [{"cve": "CVE-1", "product_status": {"fixed": [f"p:a-{fix}" for fix in fixes]}}],
        }
    )


def _affects(fixes: Sequence[str], version: str) -> bool:
    from pratique.advisory.keys import Keys

    keys = Keys("Red Hat")
    (advisory,) = _parse("redhat/vex", tarball({"a.json": _document(fixes)}))
    key = keys(version)
    assert key is not None
    return any(keys.range(one).contains(key) for one in advisory.affected[0].ranges)


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("1.0-5.el9_2", True),
        ("1.0-10.el9_2.3", True),
        ("1.0-10.el9_2.4", False),
        ("1.0-10.el9_2.9", False),
        ("1.0-12.el9_3", True),
        ("1.1-1.el9_3", True),
        ("1.1-3.el9_3.1", True),
        ("1.1-3.el9_3.2", False),
        ("1.1-4.el9_4", False),
    ],
)
def test_fixes_of_two_minor_releases(version: str, affected: bool) -> None:
    """A build of the later release before its fix is affected, though it is newer than the earlier release's fix."""
    assert _affects(["1.1-3.el9_3.2", "1.0-10.el9_2.4"], version) is affected


@pytest.mark.parametrize(
    ("version", "affected"),
    [("1.0-1.el8_4.1", True), ("1.0-1.el8_4.2", False), ("1.0-1.el8_5.1", True), ("1.0-1.el8_5.3", False)],
)
def test_fixes_that_differ_in_the_tag_of_the_release_only(version: str, affected: bool) -> None:
    """With the same release number the tag says which minor release a build is of."""
    assert _affects(["1.0-1.el8_5.3", "1.0-1.el8_4.2"], version) is affected


_RELEASES = st.builds("{}.{}-{}.el9_{}.{}".format, *(st.integers(0, 3) for _ in range(5)))


@settings(max_examples=50, deadline=None)
@given(fixes=st.lists(_RELEASES, min_size=1, max_size=4, unique=True))
def test_a_version_with_a_fix_is_never_affected(fixes: list[str]) -> None:
    """However many fixes are listed, each of them is one; what is older than all is affected."""
    assert not any(_affects(fixes, fix) for fix in fixes)
    assert _affects(fixes, "0.0-0")


def _streams(fixed: str, open_: str) -> bytes:
    cpe = "cpe:/a:redhat:enterprise_linux:9"
    products = [
        {"product": {"product_id": name, "product_identification_helper": {"cpe": cpe}}} for name in sorted({fixed, open_})
    ]
    for version, name in (("@1.0-5.el9_4", "fix"), ("", "a")):
        purl = f"pkg:rpm/redhat/a{version}?arch=src"
        products.append({"product": {"product_id": name, "product_identification_helper": {"purl": purl}}})
    pairs = ((fixed, "fix"), (open_, "a"))
    relationships = [
        {"full_product_name": {"product_id": f"{p}:{c}"}, "product_reference": c, "relates_to_product_reference": p}
        for p, c in pairs
    ]
    status = {"fixed": [f"{fixed}:fix"], "known_affected": [f"{open_}:a"]}
    return msgspec.json.encode(
        {
            "document": {},
            "product_tree": {"branches": products, "relationships": relationships},
            "vulnerabilities": [{"cve": "CVE-1", "product_status": status}],
        }
    )


@pytest.mark.parametrize(
    ("fixed", "open_", "later"),
    [
        ("rhel-9.4.z", "rhel-9.6.z", True),
        ("rhel-9.4.z", "red_hat_enterprise_linux_9", True),
        ("rhel-9.4.z", "rhel-9.3.0", False),
        ("AppStream-9.4.0.Z.MAIN", "rhel-9.3.0", False),
    ],
)
def test_a_stream_without_a_fix_counts_unless_a_later_one_has_it(fixed: str, open_: str, later: bool) -> None:
    """What an older minor release never got does not make a newer one affected."""
    (advisory,) = _parse("redhat/vex", tarball({"a.json": _streams(fixed, open_)}))
    (row,) = advisory.affected
    assert (row.ranges[0].fixed, len(row.ranges)) == ("1.0-5.el9_4", 2 if later else 1)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.text(max_size=5) | st.integers(0, 3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["document", "product_tree", "vulnerabilities", "branches", "product", "product_id", "cve", "fixed"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_document_is_read_or_left_out(document: Any) -> None:
    """Whatever stands in a document costs itself only."""
    found = _parse("redhat/vex", tarball({"a.json": msgspec.json.encode(document)}))
    assert len(found) <= 1


def test_a_document_says_why_there_is_no_fix() -> None:
    """An out-of-support product of the real record."""
    found = _parse("redhat/vex", tarball({"a.json": (CASES / "redhat/real/records/cve-2022-38752.json").read_bytes()}))
    rows = [(one.name, one.state, one.note) for advisory in found for one in advisory.affected]
    assert rows == [("snakeyaml.src", "wont-fix", "Out of support scope")]
    assert redhat.PROVIDER.feeds()[0].ecosystems == ("Red Hat",)


@pytest.mark.parametrize(
    ("cpe", "ecosystem"),
    [
        ("cpe:/a:redhat:rhel_eus:9.2::appstream", "Red Hat:enterprise_linux:9"),
        ("cpe:/o:redhat:rhel_aus:8.6::baseos", "Red Hat:enterprise_linux:8"),
        ("cpe:/a:redhat:rhel_e4s:9.0::appstream", "Red Hat:enterprise_linux:9"),
        ("cpe:/o:redhat:rhel_els:7", "Red Hat:enterprise_linux:7"),
        ("cpe:/a:redhat:rhel_software_collections:3", None),
        ("cpe:/a:redhat:openshift:4.18::el9", None),
        ("cpe:/o:redhat:enterprise_linux:9", None),
        ("", None),
    ],
)
def test_extended_streams_go_on_from_the_main_one(cpe: str, ecosystem: str | None) -> None:
    """Whatever they are called, they have the packages of the same major release."""
    assert extended_of_cpe(cpe) == ecosystem


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("7.76.1-14.el9", True),
        ("7.76.1-14.el9_0.8", True),
        ("7.76.1-14.el9_0.9", False),
        ("7.76.1-14.el9_0.12", False),
        ("7.76.1-14.el9_1.5", True),
        ("7.76.1-19.el9", True),
        ("7.76.1-23.el9_2.3", True),
        ("7.76.1-23.el9_2.4", False),
        ("7.76.1-26.el9", True),
        ("7.76.1-26.el9_3.2", False),
    ],
)
def test_a_build_of_an_extended_stream_has_its_own_fix(version: str, affected: bool) -> None:
    """A customer of 9.0's extended support is not told to take 9.2; whoever has a later minor release is."""
    from pratique.advisory.keys import Keys

    keys = Keys("Red Hat")
    key = keys(version)
    assert key is not None
    main = [VersionRange("", "7.76.1-23.el9_2.4"), VersionRange("7.76.1-24", "7.76.1-26.el9_3.2")]
    carved = carve(main, ["7.76.1-14.el9_0.9", "no-tag-1.el9"], keys)
    assert any(keys.range(one).contains(key) for one in carved) is affected
    unfixed = carve([VersionRange()], ["7.76.1-14.el9_0.9"], keys)
    assert any(keys.range(one).contains(key) for one in unfixed) is not version.startswith(
        ("7.76.1-14.el9_0.9", "7.76.1-14.el9_0.12")
    )


@settings(max_examples=80, deadline=None)
@given(
    fixes=st.lists(_RELEASES, min_size=1, max_size=3, unique=True),
    extended=st.lists(_RELEASES, max_size=3, unique=True),
    one=_RELEASES,
)
def test_carving_takes_out_what_has_an_extended_fix_and_nothing_else(fixes: list[str], extended: list[str], one: str) -> None:
    """A version is affected afterwards exactly if it was before and is no build that follows an extended fix."""
    from pratique.advisory.keys import Keys

    keys = Keys("Red Hat")
    key = keys(one)
    assert key is not None
    main = [VersionRange("", min(fixes, key=lambda fix: keys(fix) or b""))]
    before, after = (any(keys.range(r).contains(key) for r in ranges) for ranges in (main, carve(main, extended, keys)))
    mended = any(_follows(one, fix, keys) for fix in extended)
    assert after is (before and not mended)


def _follows(version: str, fix: str, keys: Any) -> bool:
    head, minor = re.fullmatch(r"(.*\.el9_)(\d+)\.\d+|(.*\.el9_)(\d+)", fix).group(1, 2)  # type: ignore[union-attr]
    return bool(keys(fix) <= keys(version) < keys(f"{head}{int(minor) + 1}"))


# -- SUSE ------------------------------------------------------------------------------------------------------------------------


def test_the_modules_that_matching_asks_for_are_those_of_the_feeds() -> None:
    """One list in each room, as neither may import the other."""
    from pratique.advisory.providers import suse
    from pratique.match import find

    assert suse.MODULES == find._SUSE_MODULES
    assert set(find.channels("SUSE:Linux Enterprise Server 15 SP6", "1")) <= set(sources()["suse/15-sp6"].feed.ecosystems)


# -- modules ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "fixes", "names"),
    [
        ("Important: nodejs:18 security update", "1:18.9.1-1.module_el8.7.0+1+a", ("nodejs:18/npm",)),
        ("Low: virt:rhel and virt-devel:rhel security update", "1-1.module+el8", ("virt:rhel/npm", "virt-devel:rhel/npm")),
        ("Important: varnish security update", "1-1.module+el8", ("npm",)),
        ("Moderate: kernel:4.18.0 security update", "4.18.0-1.el8", ("npm",)),
        ("", "1-1.module+el8", ("npm",)),
    ],
)
def test_titles_say_which_stream_a_notice_means(title: str, fixes: str, names: tuple[str, ...]) -> None:
    """Only where the fixed version is a module's."""
    assert modules.names("npm", fixes, title) == names


def test_a_notice_of_one_stream_does_not_speak_of_another() -> None:
    """AlmaLinux: the package is kept under the stream of the title."""
    notice = record("ALSA-2024:1", "npm", "1:10.2.4-1.module_el8.9.0+1+a", "AlmaLinux:8", related=["CVE-2024-1"])
    notice["summary"] = "Important: nodejs:20 security update"
    (advisory,) = _parse("osv/AlmaLinux", archive([notice]))
    assert [one.name for one in advisory.affected] == ["nodejs:20/npm"]


def test_every_provider_is_in_the_list_of_sources() -> None:
    """docs/reference/sources.md names all of them."""
    page = (Path(__file__).parents[2] / "docs/reference/sources.md").read_text(encoding="utf-8")
    listed = {name.partition("/")[0] for name in re.findall(r"`([a-z]+/[^`]*)`", page)}
    assert {name.partition("/")[0] for name in sources()} <= listed
