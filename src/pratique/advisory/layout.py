"""The tables of a feed's file, and where in them things lie: what builder and reader must agree on.

packages    (ecosystem, name) -> hits: a msgpack array of `model.hits.Hit`, version keys computed
advisories  id -> `model.advisory.Advisory` without `affected`: msgpack in zstd with the feed's own dictionary
names       other name (alias, or vulnerability that a notice covers) -> id
kev         CVE -> `model.advisory.Exploited`: msgpack
epss        block of 1,024 CVE numbers of a year -> 6 bytes a CVE
meta        what reading needs: the format's version, the dictionary, the date of the scores
"""

from __future__ import annotations

# Raise it when the same feed gives another file: databases of another number are not read, and built anew.
FORMAT = 1
# A row of hits is compressed when that saves whole pages; smaller rows are read faster as they are.
COMPRESS_FROM = 2048

SCHEMA = """
PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE packages (ecosystem TEXT, name TEXT, hits BLOB, PRIMARY KEY (ecosystem, name)) WITHOUT ROWID;
CREATE TABLE advisories (id TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE names (name TEXT, id TEXT, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE kev (cve TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE epss (block INTEGER PRIMARY KEY, data BLOB);
"""


def epss_place(cve: str) -> tuple[int, int] | None:
    """Return (block, offset) of a CVE's score: CVE-2024-3094 -> (2024 << 24 | 3, 22); None for what is no CVE."""
    _, _, rest = cve.partition("CVE-")
    year, _, number = rest.partition("-")
    if not (year.isdecimal() and number.isdecimal() and len(year) == 4 and len(number) < 11):
        return None
    return int(year) << 24 | int(number) >> 10, int(number) & 1023
