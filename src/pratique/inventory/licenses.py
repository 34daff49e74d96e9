"""Licence names as Debian, PyPI and Fedora write them in, SPDX expressions out where both mean the same.

https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/#license-short-name, https://pypi.org/classifiers/ and
https://docs.fedoraproject.org/en-US/legal/; https://spdx.org/licenses/
"""

from __future__ import annotations

import re
from functools import lru_cache

_SAME = (  # noqa: SIM905 - a list of fifty would be a screen of quotes
    "0BSD AFL-2.1 Apache-1.0 Apache-1.1 Apache-2.0 Artistic-1.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 "
    "bzip2-1.0.6 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-2.0 CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 "
    "CPL-1.0 curl EPL-1.0 EPL-2.0 FSFAP FSFUL FSFULLR FTL ImageMagick ISC LPPL-1.3c MIT MPL-1.0 MPL-1.1 MPL-2.0 MS-PL OFL-1.1 "
    "PHP-3.01 PSF-2.0 Python-2.0 Sleepycat Unicode-DFS-2016 Unlicense WTFPL X11 Zlib ZPL-2.1"
).split()
_OTHER = {
    "3c-bsd": "BSD-3-Clause",
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "boost-1.0": "BSL-1.0",
    "bsl-1": "BSL-1.0",
    "cc0": "CC0-1.0",
    "expat": "MIT",
    "libpng": "Libpng",
    "openldap-2.8": "OLDAP-2.8",
    "openssl": "OpenSSL",
    "postgresql": "PostgreSQL",
    "psf-2": "PSF-2.0",
    "ruby": "Ruby",
    "sil-1.1": "OFL-1.1",
    "vim": "Vim",
    "zope-2.1": "ZPL-2.1",
}
# Words that people write, without regard to case, commas, hyphens and blanks. What has no version, and "BSD", is left alone.
_WORDS = {
    **dict.fromkeys(("mit license", "the mit license", "mit licence", "expat license"), "MIT"),
    **dict.fromkeys(
        ("apache license 2.0", "apache license version 2.0", "apache license v2.0", "apache license v2", "apache license 2",
         "apache software license 2.0", "apache 2.0 license", "apache 2.0", "apache 2", "asl 2.0"),
        "Apache-2.0",
    ),
    **dict.fromkeys(
        ("bsd 3 clause license", "3 clause bsd license", "3 clause bsd", "new bsd license", "new bsd", "modified bsd license"),
        "BSD-3-Clause",
    ),
    **dict.fromkeys(("bsd 2 clause license", "2 clause bsd license", "simplified bsd license", "bsdl"), "BSD-2-Clause"),
    **dict.fromkeys(("isc license", "isc license (iscl)"), "ISC"),
    **dict.fromkeys(
        ("mozilla public license 2.0 (mpl 2.0)", "mozilla public license 2.0", "mozilla public license version 2.0", "mplv2.0"),
        "MPL-2.0",
    ),
    **dict.fromkeys(("the unlicense (unlicense)", "the unlicense"), "Unlicense"),
    **dict.fromkeys(("eclipse public license 2.0 (epl 2.0)", "eclipse public license 2.0"), "EPL-2.0"),
    **dict.fromkeys(("boost software license 1.0 (bsl 1.0)", "boost software license 1.0"), "BSL-1.0"),
    **dict.fromkeys(("cc0 1.0 universal (cc0 1.0) public domain dedication", "cc0 1.0 universal"), "CC0-1.0"),
    "zlib libpng license": "Zlib",
    "gnu general public license v2 (gplv2)": "GPL-2.0-only",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gnu lesser general public license v2 (lgplv2)": "LGPL-2.0-only",
    "gnu lesser general public license v2 or later (lgplv2+)": "LGPL-2.0-or-later",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "gnu lesser general public license v3 or later (lgplv3+)": "LGPL-3.0-or-later",
    "gnu affero general public license v3": "AGPL-3.0-only",
    "gnu affero general public license v3 or later (agplv3+)": "AGPL-3.0-or-later",
}  # fmt: skip
_BETWEEN = re.compile(r"[\s,_/-]+")
_NAMES = {name.lower(): name for name in _SAME} | _OTHER
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)(-NIV)?-?v?([123](?:\.[0-9])?)(\+|-only|-or-later)?", re.IGNORECASE)
_GNU_VERSIONS = {
    "GPL": {"1.0", "2.0", "3.0"},
    "LGPL": {"2.0", "2.1", "3.0"},
    "AGPL": {"3.0"},
    "GFDL": {"1.1", "1.2", "1.3"},
}
# "NAME with WORDS exception", by the words; where an exception has several versions, by the licence that it belongs to.
_EXCEPTIONS = {
    "autoconf": {"GPL-2.0": "Autoconf-exception-2.0", "GPL-3.0": "Autoconf-exception-3.0"},
    "bison": "Bison-exception-2.2",
    "classpath": "Classpath-exception-2.0",
    "font": "Font-exception-2.0",
    "gcc runtime library": "GCC-exception-3.1",
    "libtool": "Libtool-exception",
    "llvm": "LLVM-exception",
}
_EXCEPTION = re.compile(r"(.+?)\s+with\s+(.+?)[\s-]+exception", re.IGNORECASE)
_COMMA = re.compile(r",\s+(or|and)\s+", re.IGNORECASE)
_OPERATOR = re.compile(r"\s+(or|and)\s+", re.IGNORECASE)
_SYSCALLS = re.compile(r"\s+with\s+linux-syscall-note(?:\s+exception)?$", re.IGNORECASE)


@lru_cache(maxsize=2048)
def spdx(text: str) -> str:
    """Return the SPDX expression, or `text` itself where a part of it has no single meaning there.

    A short name without "+" is that version alone, one with it that or any later one; both formats bind "and" before "or", but a
    comma before one of them ends what stands before it: "A, and B or C" is A and one of the others.
    """
    known = _WORDS.get(_BETWEEN.sub(" ", text.lower()).strip())
    if known is not None:
        return known
    if _COMMA.search(text):
        return _parted(text)
    return _plain(text)


def _parted(text: str) -> str:
    parts = _COMMA.split(text)
    for place in range(0, len(parts), 2):
        spelled = _plain(parts[place])
        if spelled == parts[place] and not _name(spelled):
            return text
        mixed = parts[place - 1 : place] + parts[place + 1 : place + 2]  # a comma's operator binds after all others
        parts[place] = f"({spelled})" if " OR " in spelled and any(one.lower() == "and" for one in mixed) else spelled
    if len({part.lower() for part in parts[1::2]}) > 1:
        return text  # two kinds of commas: nobody says which of them ends first
    return " ".join(part.upper() if place % 2 else part for place, part in enumerate(parts))


def _plain(text: str) -> str:
    parts = _OPERATOR.split(text)
    for place in range(0, len(parts), 2):
        name = _name(parts[place])
        if not name:
            return text
        parts[place] = name
    return " ".join(part.upper() if place % 2 else part for place, part in enumerate(parts))


def _name(text: str) -> str:
    known = _NAMES.get(text.lower()) or _WORDS.get(_BETWEEN.sub(" ", text.lower()).strip())
    if known is not None:
        return known
    plain = _SYSCALLS.sub("", text)
    if plain != text:
        name = _gnu(plain)
        return f"{name} WITH Linux-syscall-note" if name else ""
    excepted = _EXCEPTION.fullmatch(text)
    if excepted is not None:
        return _excepted(_name(excepted[1]), excepted[2].lower())
    return _gnu(text)


def _excepted(name: str, words: str) -> str:
    found = _EXCEPTIONS.get(words, "")
    if isinstance(found, dict):
        found = next((one for licence, one in found.items() if name.startswith(licence)), "")
    return f"{name} WITH {found}" if name and found and " " not in name else ""


def _gnu(text: str) -> str:
    found = _GNU.fullmatch(text)
    if found is None:
        return ""
    kind, invariants, version, later = found.group(1).upper(), found.group(2), found.group(3), found.group(4)
    version = version if "." in version else f"{version}.0"
    if version not in _GNU_VERSIONS[kind] or (invariants and kind != "GFDL"):
        return ""
    scope = "or-later" if later in ("+", "-or-later") else "only"
    return f"{kind}-{version}{'-no-invariants' if invariants else ''}-{scope}"
