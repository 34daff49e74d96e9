"""What the Python cataloger sees, and what it must not see."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryfile import case, inspect, packages, survives
from pratique.inventory.catalogers.python import INSPECTOR, MAX_METADATA
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import Gap, PackageEvidence

INSTALLED = "usr/lib/python3/dist-packages/x-1.dist-info/METADATA"


def licenses(headers: str) -> tuple[str, ...]:
    """Return the licences of a distribution with these headers."""
    (seen,) = inspect(INSPECTOR, INSTALLED, f"Name: x\nVersion: 1\n{headers}\n\nbody".encode())
    assert isinstance(seen, PackageEvidence)
    return seen.licenses


def wheel(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other", ("MIT OR Apache-2.0",)),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: MIT License", ("BSD-3-Clause",)),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", ("MIT",)),
        (
            "License: Copyright by me\n        All rights\nClassifier: License :: OSI Approved :: ISC License (ISCL)",
            ("ISC",),
        ),
        ("Classifier: License :: OSI Approved", ()),
        ("Classifier: License :: A :: B\nClassifier: License :: A :: C\nClassifier: License :: A :: B", ("B", "C")),
        (f"License: {'long text ' * 40}", ()),
    ],
)
def test_python_licence(headers: str, expected: tuple[str, ...]) -> None:
    """An expression goes before a name, a name before classifiers, and a whole text is no name."""
    assert licenses(headers) == expected


@pytest.mark.parametrize(
    ("path", "evidence"),
    [
        ("opt/app/six-1.16.0.dist-info/METADATA", True),
        ("opt/app/six.egg-info/PKG-INFO", True),
        ("opt/app/six-1.16.0-py3.11.egg/EGG-INFO/PKG-INFO", True),
        ("opt/app/six-1.16.0-py3.11.egg-info", True),
        ("usr/src/six-1.16.0/PKG-INFO", False),
        ("usr/share/METADATA", False),
        ("usr/lib/python3.13/test/data/six-1.16.0.dist-info/METADATA", False),
    ],
)
def test_python_places(path: str, evidence: bool) -> None:
    """Only where installers put it does metadata speak of something installed."""
    found = packages(INSPECTOR, path, b"Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\n")
    assert found == ([("", "six", "1.16.0")] if evidence else [])


def test_python_names_and_line_ends() -> None:
    """Names are written as package URLs have them; carriage returns, a byte order mark and odd letter case do no harm."""
    assert packages(INSPECTOR, INSTALLED, b"Name: Zope.Interface_X\r\nVersion: 5.0\r\n\r\nVersion: 9") == [
        ("", "zope.interface-x", "5.0")
    ]
    assert packages(INSPECTOR, INSTALLED, b"\xef\xbb\xbfName: six\nVersion: 1\n") == [("", "six", "1")]
    assert packages(INSPECTOR, INSTALLED, b"name: six\nVERSION: 1\n") == [("", "six", "1")]


def test_python_description_says_nothing() -> None:
    """What follows the headers, or is folded into one, is no header."""
    with pytest.raises(ParseError, match="no version"):
        packages(INSPECTOR, INSTALLED, b"Name: six\nDescription: a\n  Version: 2\n\nVersion: 3\n")


@pytest.mark.parametrize("end", range(1, 34))
def test_python_cut_metadata(end: int) -> None:
    """Metadata cut anywhere gives the whole version or none."""
    seen = survives(INSPECTOR, INSTALLED, b"Name: requests\nVersion: 2.31.0-1\n"[:end])
    assert [isinstance(one, Gap) for one in seen] == [True] or seen[0] == PackageEvidence(
        type="pypi", name="requests", version="2.31.0-1"
    )


def test_python_wheel_vendored_metadata() -> None:
    """A wheel is one distribution: what it carries in its own folders counts when it is installed."""
    data = wheel(
        {"a/_vendor/b-2.dist-info/METADATA": b"Name: b\nVersion: 2\n", "a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n"}
    )
    assert packages(INSPECTOR, "srv/a-1-py3-none-any.whl", data) == [("", "a", "1")]
    stored = wheel({"a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n"}, zipfile.ZIP_STORED)
    assert packages(INSPECTOR, "srv/a-1-py3-none-any.whl", b"#!/bin/sh\n" + stored) == [("", "a", "1")]


def test_python_wheel_without_metadata() -> None:
    """A wheel that says nothing of itself, or whose metadata would inflate beyond the limit, is reported."""
    with pytest.raises(ParseError, match="without metadata"):
        packages(INSPECTOR, "a.whl", wheel({"a.py": b""}))
    with pytest.raises(BudgetExceededError):
        packages(INSPECTOR, "a.whl", wheel({"a-1.dist-info/METADATA": bytes(MAX_METADATA + 1)}))


TOKENS = st.sampled_from(
    [
        b"Name:",
        b"Version:",
        b"License:",
        b"Classifier: License :: ",
        b"\n",
        b"\r\n",
        b" ",
        b"six",
        b"1.0",
        b"\n\n",
        b"\xff",
        b"PK\x05\x06",
    ]
)


@settings(deadline=None, max_examples=150)
@given(
    data=st.binary(max_size=300) | st.lists(TOKENS, max_size=20).map(b"".join),
    path=st.sampled_from([INSTALLED, "a.egg-info", "a.whl", "a.egg", "a.egg-info/PKG-INFO"]),
)
def test_python_any_bytes(data: bytes, path: str) -> None:
    """Any bytes end in one package or one gap."""
    assert len(survives(INSPECTOR, path, data)) == 1


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_python_any_damage_to_a_wheel(data: st.DataObject) -> None:
    """A wheel with any byte changed gives the same package, or a gap."""
    path = "usr/share/python-wheels/shop_wheel-0.9.1-py3-none-any.whl"
    whole = bytearray(case("python", "wheel", path))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    (seen,) = survives(INSPECTOR, path, bytes(whole))
    assert isinstance(seen, Gap) or (isinstance(seen, PackageEvidence) and (seen.name, seen.version) == ("shop-wheel", "0.9.1"))
