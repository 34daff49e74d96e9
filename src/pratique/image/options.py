"""What a person configured in, how sources may behave out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

Progress = Callable[[str, int, int], None]
"""Called as (what is being done, bytes done, bytes in all or -1). May come from several threads at once, so it must be quick."""


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How targets may be opened.

    `cache_dir` holds blobs and spooled archives. `offline` forbids every connection but local sockets. `insecure` are registries
    (host or host:port) whose certificate is not checked and that may speak plain HTTP; loopback addresses always may. `mirrors`
    maps a registry ("docker.io") to the places asked before it: host[:port][/prefix], "http://" in front allows plain HTTP.
    `username` and `password` are for the registry of the target alone and precede stored credentials.
    """

    cache_dir: Path
    offline: bool = False
    insecure: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = {}
    progress: Progress | None = None
    username: str = ""
    password: str = ""

    def note(self, what: str, done: int, total: int = -1) -> None:
        """Tell the progress callback, if there is one."""
        if self.progress is not None:
            self.progress(what, done, total)
