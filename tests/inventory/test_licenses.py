"""Debian's licence names against SPDX's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryfile import inspect, survives
from pratique.inventory.catalogers.dpkg_copyright import INSPECTOR, MAX_LICENSES
from pratique.inventory.licenses import spdx_of_debian
from pratique.model.inventory import LicenseEvidence


@pytest.mark.parametrize(
    ("debian", "spdx"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-3.0+", "GPL-3.0-or-later"),
        ("LGPLv2.1+", "LGPL-2.1-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("AGPL-3", "AGPL-3.0-only"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Apache-2.0", "Apache-2.0"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0"),
        ("GPL-2 with Linux-syscall-note exception", "GPL-2.0-only WITH Linux-syscall-note"),
        ("GPL-2+ with OpenSSL exception", "GPL-2+ with OpenSSL exception"),
        ("public-domain", "public-domain"),
        ("BSD", "BSD"),
        ("GPL", "GPL"),
        ("GPL-4", "GPL-4"),
        ("GPL-2+ and mystery", "GPL-2+ and mystery"),
    ],
)
def test_names(debian: str, spdx: str) -> None:
    """What means one thing is written as SPDX writes it, anything else stays."""
    assert spdx_of_debian(debian) == spdx


def licenses(text: str, path: str = "usr/share/doc/p/copyright") -> tuple[str, ...]:
    """Return the licences of one file."""
    seen = inspect(INSPECTOR, path, text.encode())
    assert all(isinstance(one, LicenseEvidence) for one in seen)
    return seen[0].licenses if seen and isinstance(seen[0], LicenseEvidence) else ()


def test_all_files_come_first() -> None:
    """The licence of most of the package stands first, each once, sentences are no licences."""
    text = (
        "Format: https://x\n\nFiles: a\nLicense: ISC\n\nFiles: *\nCopyright: x\nLicense: GPL-2+\n text\n\n"
        "License: ISC\n\n"
        "License: Permission to use, copy and modify this thing freely\n\nLicense: public domain\n\nLicense:\n text\n"
    )
    assert licenses(text) == ("GPL-2.0-or-later", "ISC", "public domain")


def test_references_to_common_licenses() -> None:
    """A text in free form has what it refers to; a machine-readable one without names as well."""
    text = "see /usr/share/common-licenses/GPL-2.\nand `/usr/share/common-licenses/Apache-2.0'. /usr/share/common-licenses/GPL-2"
    assert licenses(text) == ("GPL-2", "Apache-2.0")
    assert licenses(f"Format: x\n\nLicense:\n {text}") == ("GPL-2", "Apache-2.0")
    assert licenses("All rights reserved.") == ()


def test_only_the_package_s_own_file() -> None:
    """Copyright files elsewhere speak of no package."""
    for path in (
        "usr/share/doc/copyright",
        "usr/share/doc/a/b/copyright",
        "opt/usr/share/doc/a/copyright",
        "usr/share/doc//copyright",
    ):
        assert licenses("Format: x\nLicense: ISC\n", path) == ()


def test_thousands_of_licences_are_cut() -> None:
    """No file can flood the report."""
    assert len(licenses("Format: x\n" + "".join(f"\nLicense: L-{number}\n" for number in range(5000)))) == MAX_LICENSES


@given(st.binary(max_size=400))
def test_any_bytes_end_quietly(data: bytes) -> None:
    """Any bytes end in licences or nothing."""
    survives(INSPECTOR, "usr/share/doc/p/copyright", data)
    survives(INSPECTOR, "usr/share/doc/p/copyright", b"Format: x\n\nLicense: " + data)
