"""Licence names of Debian, PyPI and Fedora against SPDX's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryfile import inspect, survives
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.inventory.catalogers.dpkg_copyright import INSPECTOR, MAX_LICENSES
from pratique.inventory.licenses import spdx
from pratique.model.inventory import LicenseEvidence
from pratique.pipeline import ScanOptions, list_inventory


@pytest.mark.parametrize(
    ("words", "expected"),
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
        ("Expat, and GPL-1+ or Artistic", "MIT AND (GPL-1.0-or-later OR Artistic-1.0)"),
        ("Expat, or GPL-2 and ISC", "MIT OR GPL-2.0-only AND ISC"),
        ("Expat, and ISC, or GPL-2", "Expat, and ISC, or GPL-2"),
        ("GPL-3+ with Autoconf exception", "GPL-3.0-or-later WITH Autoconf-exception-3.0"),
        ("Apache-2.0 with LLVM exception", "Apache-2.0 WITH LLVM-exception"),
        ("Expat with LLVM-exception", "MIT WITH LLVM-exception"),
        ("mystery with Font exception", "mystery with Font exception"),
        ("MIT License", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache Software License", "Apache Software License"),
        ("BSD License", "BSD License"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("ASL 2.0 and LGPLv2+", "Apache-2.0 AND LGPL-2.0-or-later"),
        ("ASL 2.0 and BSD", "ASL 2.0 and BSD"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT OR Apache-2.0) AND ISC", "(MIT OR Apache-2.0) AND ISC"),
    ],
)
def test_names(words: str, expected: str) -> None:
    """What means one thing is written as SPDX writes it, anything else stays."""
    assert spdx(words) == expected


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


_MIT = """
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files, to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge,
publish, distribute, sublicense, and/or sell copies of the Software. The above copyright notice and this permission notice
shall be included in all copies or substantial portions of the Software.
"""
_BSD = """
Redistribution and use in source and binary forms, with or without modification, are permitted. Redistributions in binary form
must reproduce the notice in the documentation and/or other materials provided with the distribution.
"""
_NAMES = """
The name may not be used to endorse or promote products derived from this software without specific prior written permission.
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_MIT, ("MIT",)),
        (_MIT.replace("\n", "\n * "), ("MIT",)),
        (_MIT.replace("distribute,", "dis-\n  tribute,"), ("MIT",)),
        (_MIT + "Except as contained in this notice, the name shall not be used in advertising.", ()),
        (_BSD, ("BSD-2-Clause",)),
        (_BSD + _NAMES, ("BSD-3-Clause",)),
        (_BSD + "All advertising materials mentioning features or use of this software must say so." + _NAMES, ("BSD-4-Clause",)),
        (_BSD + "may not be used to endorse or promote anything", ()),
        ("It is under the GNU General Public License, version 2 or (at your option) any later version.", ("GPL-2.0-or-later",)),
        ("GNU Lesser General Public License version 2.1.\nOr any later version of the moon.", ("LGPL-2.1-only",)),
        ('Licensed under the Apache License, Version 2.0 (the "License")', ("Apache-2.0",)),
        ("You may do what you like.", ()),
    ],
)  # fmt: skip
def test_texts_that_everybody_copies(text: str, expected: tuple[str, ...]) -> None:
    """Told by their own sentences, however they are laid out; a text with a sentence more is another licence."""
    assert licenses(f"This is the package.\n\nCopyright 2001 somebody\n{text}") == expected


def test_documents_behind_a_link(tmp_path: Path) -> None:
    """A package whose documents are a link to another's has the licences that are stated there."""
    status = "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
        for name in ("gcc-base", "libgcc", "libx")
    )
    folder = tmp_path / "tree" / "usr" / "share" / "doc"
    (folder / "gcc-base").mkdir(parents=True)
    (folder / "gcc-base" / "copyright").write_text("Format: x\n\nFiles: *\nLicense: GPL-3+\n")
    (folder / "libgcc").symlink_to("gcc-base")
    (tmp_path / "tree" / "var" / "lib" / "dpkg").mkdir(parents=True)
    (tmp_path / "tree" / "var" / "lib" / "dpkg" / "status").write_text(status)
    how = ScanOptions(sources=SourceOptions(cache_dir=tmp_path / "cache"), keep=False, now="2026-01-01T00:00:00Z")
    found = {one.name: one.licenses for one in list_inventory(parse_target(f"rootfs:{tmp_path / 'tree'}"), how).packages}
    assert found == {"gcc-base": ("GPL-3.0-or-later",), "libgcc": ("GPL-3.0-or-later",), "libx": ()}


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
