"""The case folders of the providers: which feed each is of, and its body as upstream would send it."""

from __future__ import annotations

import bz2
import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feedsim import CASES, archive, tarball
from pratique.advisory.feeds import sources

FEEDS = {
    "alpine": "alpine/v3.20/main",
    "debian": "debian/tracker",
    "wolfi": "wolfi/os",
    "kev": "cisa/kev",
    "epss": "epss/current",
    "redhat": "redhat/vex",
    "amazon": "amazon/2023",
    "oracle": "oracle/oval",
    "photon": "photon/5.0",
    "nvd": "nvd/2024",
    "vulnrichment": "cisa/vulnrichment",
    "endoflife": "endoflife/products",
    "suse": "suse/15-sp6",
}
ZIPPED = ("osv", "vulnrichment")
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "epss": gzip.compress,
    "amazon": gzip.compress,
    "suse": gzip.compress,
    "nvd": gzip.compress,
    "oracle": bz2.compress,
}
FOLDERS = sorted(folder for folder in CASES.glob("*/*") if folder.is_dir())


def parse(feed: str, body: bytes) -> list[Any]:
    """Return what a feed's provider makes of a body."""
    source = sources()[feed]
    return list(source.provider.parse(source.feed, io.BytesIO(body)))


def case(folder: Path) -> tuple[str, bytes]:
    """Return the feed of a case folder, and its body as upstream would send it."""
    provider = folder.parent.name
    if (folder / "records").is_dir():
        records = {path.name: path.read_bytes() for path in sorted((folder / "records").iterdir())}
        if provider in ZIPPED:
            name = FEEDS.get(provider) or "osv/" + re.sub("_(broken|documented)$", "", folder.name).replace("_", " ")
            return name, archive(records)
        return FEEDS[provider], tarball(records)
    return FEEDS[provider], PACKED.get(provider, bytes)((folder / "feed").read_bytes())
