"""The table as a person sees it, on narrow and wide terminals, with and without colours, whatever an image says."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.model.inventory import Gap
from pratique.model.report import Report
from pratique.report._rows import gap_lines
from pratique.report.table import MAX_WIDTH, WIDTH, Table
from pratique.report.text import columns, cut, pad, safe
from reporting import deb, finding, full, pypi, report

HOSTILE = "a\x1b[2J\x1b]0;x\x07b\r\nc\u202ed\u200be\x9bf\u2028g"


def _table(made: Report, **how: Any) -> str:
    out = io.BytesIO()
    Table(**how).write(made, out)
    return out.getvalue().decode()


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_whole_table() -> None:
    """Distribution first, the exploited first; binary packages of one source on one line; layers, gaps, totals, age, verdict."""
    one, two, other = deb("libssl3"), deb("openssl"), pypi("flask")
    made = report(
        finding("CVE-2024-1", one, "high", fixed_in=("3.0.12-1",)),
        finding("CVE-2024-1", two, "high", fixed_in=("3.0.12-1",)),
        finding("CVE-2024-2", one, "low", kev=True),
        finding("CVE-2024-3", other, "critical", status="under_investigation"),
        packages=(one, two, other),
        problems=(Gap(code="advisories.stale", message="osv/PyPI is old"),),
    )
    assert _table(made) == (
        "docker-archive:image.tar\n"
        "  sha256:dd, linux/amd64, debian 12, supported until 2028-06-30\n"
        "  2 layers, 3 packages (2 deb, 1 pypi)\n"
        "\n"
        "debian 12: 2 vulnerabilities\n"
        "  SEVERITY   VULNERABILITY  KEV  PACKAGE           INSTALLED  FIXED IN    LAYER\n"
        "  LOW        CVE-2024-2     KEV  libssl3           3.0.11-1   (none yet)      1\n"
        "  HIGH       CVE-2024-1          libssl3, openssl  3.0.11-1   3.0.12-1        1\n"
        "\n"
        "PyPI: 1 vulnerability\n"
        "  SEVERITY   VULNERABILITY  KEV  PACKAGE           INSTALLED  FIXED IN    LAYER\n"
        "  CRITICAL?  CVE-2024-3          flask             1.0        (none yet)      2\n"
        "\n"
        "  ? under investigation: whether it holds is not known\n"
        "\n"
        "Layers\n"
        "    1  sha256:111111111111  ADD rootfs.tar /\n"
        "    2  sha256:222222222222  RUN pip install things\n"
        "\n"
        "What could not be examined or known: 1\n"
        "  advisories.stale: osv/PyPI is old\n"
        "\n"
        "Total: 4 vulnerabilities (1 critical, 2 high, 1 low)\n"
        "       2 with a fix, 1 known to be exploited\n"
        "Advisories: 1 source, 2 days old\n"
        "Verdict: allow\n"
    )


def _large() -> Report:
    packages = [
        pypi(f"package-{number:03}-with-{'quite-' * (number % 7)}a-name", "1.0.0rc1+local.version" * 2) for number in range(300)
    ]
    severities = ["unknown", "negligible", "low", "medium", "high", "critical"]
    found = [
        finding(
            f"DRUPAL-CONTRIB-2026-{number:03}-{'LONG' * (number % 3)}",
            package,
            severities[number % 6],
            fixed_in=("1.0.1", "2.0.3", "3.0.0")[: number % 4],
            kev=number % 50 == 0,
            title="a title " * 30,
        )
        for number, package in enumerate(packages)
    ]
    return report(*found, packages=tuple(packages), reference="x" * 300)


@pytest.mark.parametrize("width", [0, WIDTH, 133, 200, 1000])
def test_no_line_is_too_wide(width: int) -> None:
    """Three hundred findings with long names stay within the terminal, at least 100 columns."""
    lines = _table(_large(), width=width).splitlines()
    assert max(map(columns, lines)) <= min(max(width, WIDTH), MAX_WIDTH)
    assert (
        sum(line.startswith(("  CRITICAL", "  HIGH", "  MEDIUM", "  LOW", "  NEGLIGIBLE", "  UNKNOWN")) for line in lines) == 300
    )


def test_titles_where_there_is_room() -> None:
    """A wide terminal shows what a vulnerability is."""
    made = report(finding("CVE-1", pypi("a"), title="Command injection"), packages=(pypi("a"),))
    assert "Command injection" in _table(made, width=160)


def test_colours_change_nothing_else() -> None:
    """Without its colours a coloured table is the plain one."""
    made = _large()
    assert _plain(_table(made, colour=True)) == _table(made)
    assert "\x1b[" in _table(made, colour=True)
    assert "\x1b" not in _table(made)


def test_order_of_findings_is_free() -> None:
    """The same findings in another order give the same table."""
    made = _large()
    turned = report(*made.findings[::-1], packages=made.packages, reference="x" * 300)
    assert _table(made) == _table(turned)


@given(st.text(max_size=60))
def test_text_from_an_image_is_never_sent_raw(text: str) -> None:
    """Whatever stands in names, versions, paths, instructions and messages: no control, no reordering, no broken line."""
    package = pypi(text or "x", text or "1")
    gap = Gap(code="inventory.unreadable", message=text, path=text)
    one = finding("CVE-" + text, package, title=text, fixed_in=(text,))
    other = finding("secret-" + text, None, kind="secret", message=text)
    made = report(one, other, packages=(package,), problems=(gap,), reference=text)
    shown = _table(made, width=150)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", shown)
    assert max(map(columns, shown.splitlines())) <= 150


def test_hostile_text_is_shown() -> None:
    """Escapes appear as text, so that a person sees what was tried."""
    assert safe(HOSTILE) == r"a\x1b[2J\x1b]0;x\x07b\r\nc\u202ed\u200be\x9bf\u2028g"
    assert safe("naïve 東京 ß") == "naïve 東京 ß"


@given(st.text(max_size=30), st.integers(2, 20))
def test_cut_and_pad(text: str, width: int) -> None:
    """A cut text is never wider than asked, a padded one exactly as wide."""
    assert columns(cut(text, width)) <= width
    assert columns(pad(text, width)) == width


def test_gaps_are_folded() -> None:
    """The same of many places is one line with a count; many of one code are counted after the third."""
    same = [Gap(code="inventory.unreadable", message="dpkg: cut short", path=f"a/{number}") for number in range(25)]
    many = [Gap(code="advisories.unorderable-version", message=f"package {number}") for number in range(9)]
    alone = [Gap(code="image.x", message="of b/1", path="b/1"), Gap(code="image.y", message="something", path="c/1")]
    assert gap_lines([*same, *many, *alone]) == [
        "advisories.unorderable-version: package 0",
        "advisories.unorderable-version: package 1",
        "advisories.unorderable-version: package 2",
        "advisories.unorderable-version: 6 more; --format json lists all",
        "image.x: of b/1",
        "image.y: something (c/1)",
        "inventory.unreadable: dpkg: cut short (25 places, a/0 the first)",
    ]


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("wont-fix", "vulnerability", "(won't fix)"),
        ("end-of-life", "vulnerability", "(end of life)"),
        ("unfixed", "vulnerability", "(none yet)"),
        ("", "malware", "(remove it)"),
    ],
)
def test_what_has_no_fix(state: str, kind: str, said: str) -> None:
    """Why there is no fixed version is said in its place."""
    base = full("CVE-1", pypi("a"))
    assert base.because is not None
    import msgspec

    because = msgspec.structs.replace(base.because, state=state)
    made = report(msgspec.structs.replace(base, kind=kind, fixed_in=(), because=because), packages=(pypi("a"),))
    assert said in _table(made)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-11-23T00:30:00Z", "less than an hour old"),
        ("2026-11-23T01:00:00Z", "1 hour old"),
        ("2026-11-24T23:00:00Z", "47 hours old"),
        ("2026-11-25T00:00:00Z", "2 days old"),
        ("2027-11-23T00:00:00Z", "365 days old"),
        ("2026-11-22T00:00:00Z", "less than an hour old"),
    ],
)
def test_age_of_the_advisories(now: str, said: str) -> None:
    """By the oldest fetch, as of the moment of the scan."""
    import msgspec

    made = report()
    assert f"Advisories: 1 source, {said}\n" in _table(
        msgspec.structs.replace(made, meta=msgspec.structs.replace(made.meta, scanned_at=now))
    )


def test_nothing_found() -> None:
    """An empty report says so in words."""
    assert "Total: no vulnerabilities\n" in _table(report())
    assert "Verdict: allow, from an incomplete inspection\n" in _table(report(complete=False))


def test_support_that_has_ended() -> None:
    """A date that has passed reads as one."""
    import msgspec

    made = report()
    late = msgspec.structs.replace(made, meta=msgspec.structs.replace(made.meta, scanned_at="2030-01-01T00:00:00Z"))
    assert "debian 12, support ended 2028-06-30" in _table(late)
