"""A program in, the few of its bytes that the executables cataloger reads out: how the files in recorded/ are made.

    python record.py PROGRAM recorded/NAME.gz

All other bytes become zero, so that a program of many megabytes is a few kilobytes, at the real offsets.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from pratique.inventory.catalogers.executables import INSPECTOR


class Recorder:
    """A file that remembers which of its bytes were read."""

    def __init__(self, path: Path) -> None:
        self.path = path.name
        self.data = path.read_bytes()
        self.size = len(self.data)
        self.mode = 0o755
        self.kept = bytearray(self.size)

    def read(self) -> bytes:
        return self.read_at(0, self.size)

    def read_at(self, offset: int, length: int) -> bytes:
        self.kept[offset : offset + length] = self.data[offset : offset + length]
        return self.data[offset : offset + length]


if __name__ == "__main__":
    recorder = Recorder(Path(sys.argv[1]))
    for seen in INSPECTOR.inspect(recorder):
        sys.stdout.write(f"{seen}\n")
    Path(sys.argv[2]).write_bytes(gzip.compress(bytes(recorder.kept), 9, mtime=0))
