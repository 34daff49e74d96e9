"""The tables of a feed's file, and where in them things lie: what builder and reader must agree on.

What is known now, laid out for look-ups:

packages    (ecosystem, name) -> hits: a msgpack array of `model.hits.Hit`, version keys computed
advisories  id -> `model.advisory.Advisory` without `affected`: msgpack in zstd with the feed's own dictionary
names       other name (alias, or vulnerability that a notice covers) -> id
kev         CVE -> `model.advisory.Exploited`: msgpack
epss        block of 1,024 CVE numbers of a year -> 6 bytes a CVE
meta        what reading needs: the format's version, the dictionary, the date of the scores, `Facts`, and when it began

What was known before, as what undoes each update:

history     second of the update -> `values.Changes` that lead back: msgpack in zstd with the feed's dictionary
scores      second of the update -> by block, what leads its scores back (see `scores.py`): msgpack in zstd

What the next update needs:

members     name of a record in the feed's archive -> its mark (size and CRC-32) and what came of it: `members.Member`
"""

from __future__ import annotations

import msgspec

# Raise it when the same feed gives another file: databases of another number are not read, and built anew.
FORMAT = 3
# A row of hits is compressed when that saves whole pages; smaller rows are read faster as they are.
COMPRESS_FROM = 2048
# What came of a member is read by updates only: it is compressed as soon as that is smaller.
COMPRESS_MEMBER_FROM = 192

# Clocks of a publisher and of those who pull may differ by hours; what is dated further ahead was dated by a wrong clock.
CLOCK_SKEW_SECONDS = 86_400
# How long what was known is kept, in seconds: a year and a month, so that "a year ago" can always be asked.
KEEP_SECONDS = 400 * 86_400
# EPSS moves most of its 360,000 percentiles each day, which takes 0.2 MB, while a day's changes of all advisories take a quarter
# of that: three weeks, so that the download of the whole does not double.
KEEP_SCORES_SECONDS = 21 * 86_400

SCHEMA = """
PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE packages (ecosystem TEXT, name TEXT, hits BLOB, PRIMARY KEY (ecosystem, name)) WITHOUT ROWID;
CREATE TABLE advisories (id TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE names (name TEXT, id TEXT, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE kev (cve TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE epss (block INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE members (name TEXT PRIMARY KEY, mark INTEGER, data BLOB) WITHOUT ROWID;
CREATE TABLE history (until INTEGER PRIMARY KEY, data BLOB);
CREATE TABLE scores (until INTEGER PRIMARY KEY, data BLOB);
"""


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What is said of a feed's state: counts, newest date, records left out with the first few reasons.

    `state` is the digest of all that the feed says (`digest.py`), whenever and however the file was made; `changed` the second
    (Unix time, UTC) of the update that brought it.
    """

    records: int = 0
    scored: int = 0
    skipped: int = 0
    examples: tuple[str, ...] = ()
    newest: str = ""
    state: str = ""
    changed: int = 0


def epss_place(cve: str) -> tuple[int, int] | None:
    """Return (block, offset) of a CVE's score: CVE-2024-3094 -> (2024 << 24 | 3, 22); None for what is no CVE."""
    _, _, rest = cve.partition("CVE-")
    year, _, number = rest.partition("-")
    if not (year.isdecimal() and number.isdecimal() and len(year) == 4 and len(number) < 11):
        return None
    return int(year) << 24 | int(number) >> 10, int(number) & 1023
