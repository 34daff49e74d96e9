"""Writes cvss.tsv: vectors and what the PyPI package `cvss` says of them. That package is an oracle only: nothing imports it.

Run it as: python tests/match/data/make_cvss.py [MIRROR] > tests/match/data/cvss.tsv, where `cvss` (3.6 was used) is installed.
MIRROR is a mirror of OSV's feeds, whose vectors are all taken.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import random
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

cvss = importlib.import_module("cvss")  # so that type checks do not ask for it

V2 = {"AV": "LAN", "AC": "HML", "Au": "MSN", "C": "NPC", "I": "NPC", "A": "NPC"}
V3 = {"AV": "NALP", "AC": "LH", "PR": "NLH", "UI": "NR", "S": "UC", "C": "HLN", "I": "HLN", "A": "HLN"}
V4 = {
    "AV": "NALP",
    "AC": "LH",
    "AT": "NP",
    "PR": "NLH",
    "UI": "NPA",
    **dict.fromkeys(("VC", "VI", "VA", "SC", "SI", "SA"), "HLN"),
}
V4_MORE = {
    "E": "XAPU",
    "CR": "XHML",
    "IR": "XHML",
    "AR": "XHML",
    **{f"M{name}": "X" + ("S" if name in ("SI", "SA") else "") + values for name, values in V4.items()},
    "S": "XNP",
    "AU": "XNY",
    "R": "XAUI",
    "V": "XDC",
    "RE": "XLMH",
}
SAMPLE = 700


def every(metrics: dict[str, str], prefix: str = "") -> Iterator[str]:
    """Yield all vectors of these metrics."""
    for values in itertools.product(*metrics.values()):
        yield prefix + "/".join(f"{name}:{value}" for name, value in zip(metrics, values, strict=True))


def score(vector: str) -> str:
    """Ask the oracle; "-" where it takes the vector for a damaged one."""
    kind = cvss.CVSS4 if vector.startswith("CVSS:4") else cvss.CVSS3 if vector.startswith("CVSS:3") else cvss.CVSS2
    try:
        return f"{float(kind(vector).base_score):.1f}"
    except cvss.exceptions.CVSSError:
        return "-"


def mirrored(folder: Path) -> Iterator[str]:
    """Yield all vectors of OSV's feeds."""
    for path in sorted(folder.glob("osv/*/all.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                record = json.loads(archive.read(name))
                for item in (record, *record.get("affected", ())):
                    yield from (entry["score"] for entry in item.get("severity", ()) if entry["type"].startswith("CVSS"))


def digest(vectors: Iterable[str]) -> str:
    """Return the SHA-256 of all scores in order, one decimal and a newline each."""
    whole = hashlib.sha256()
    for vector in vectors:
        whole.update(score(vector).encode() + b"\n")
    return whole.hexdigest()


def main(arguments: list[str]) -> None:
    """Write the file."""
    chance = random.Random(1)
    vectors = set(every(V2))
    for prefix in ("CVSS:3.0/", "CVSS:3.1/"):
        vectors |= set(chance.sample(list(every(V3, prefix)), SAMPLE))
    for base in chance.sample(list(every(V4, "CVSS:4.0/")), 2 * SAMPLE):
        more = [f"/{name}:{chance.choice(values)}" for name, values in V4_MORE.items() if chance.random() < 0.4]
        vectors.add(base + "".join(more if chance.random() < 0.5 else ()))
    for folder in arguments:
        vectors |= set(mirrored(Path(folder)))
    for name, all_of_them in (("3.0", every(V3, "CVSS:3.0/")), ("3.1", every(V3, "CVSS:3.1/")), ("4.0", every(V4, "CVSS:4.0/"))):
        sys.stdout.write(f"sha256:{name}\t{digest(all_of_them)}\n")
    for vector in sorted(vectors):
        sys.stdout.write(f"{vector}\t{score(vector)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
