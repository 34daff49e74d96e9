"""Everyday operations as data: a shell's line each, and what it prints when its result is right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent / "enforce" / "benign"
COMPOSE = """
services:
  web:
    image: app:1
    command: sh -c "echo web is up; exec sleep 60"
    network_mode: none
    init: true
    read_only: true
    tmpfs: [/tmp]
    environment: {MODE: test}
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    volumes: ["keep:/keep", "@shared@:/shared:ro"]
    healthcheck: {test: ["CMD", "true"], interval: 1s}
    deploy: {resources: {limits: {memory: 64M}}}
  job:
    image: app:1
    command: sleep 20
    network_mode: none
    depends_on: [web]
volumes: {keep: {}}
"""
BUILD = """
services:
  built:
    image: by-compose:1
    network_mode: none
    build: {context: ., dockerfile: Other}
"""
PAIR = """
services:
  says:
    image: app:1
    command: sh -c "while true; do echo hello | nc -l -p 7000; done"
    network_mode: none
  hears:
    image: app:1
    command: ["sh", "-c", "sleep 0.7; nc 127.0.0.1 7000 | sed 's/^/heard: /'"]
    network_mode: "service:says"
    depends_on: [says]
"""
_OTHER = "FROM bb:1\nUSER 1000:1000\nCMD echo by-compose\n"


class Operation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One thing that people do; `shows` is a regular expression that matches in what it prints."""

    name: str
    do: str
    shows: str
    family: str = ""

    def line(self, here: Path, shared: Path) -> tuple[str, str]:
        """Return the line and the expression, made for a folder, which is filled with what lines use."""
        here.mkdir(exist_ok=True)
        here.chmod(0o777)
        names = {"name": f"b-{self.name}", "here": str(here), "shared": str(shared)}
        for name, text in (("compose.yaml", COMPOSE), ("build.yaml", BUILD), ("pair.yaml", PAIR), ("Other", _OTHER)):
            (here / name).write_text(_filled(text, names))
        return _filled(self.do, names), _filled(self.shows, names)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    family: str
    operation: list[Operation]


def load(kind: str) -> list[Operation]:
    """Return the operations of a folder."""
    files = [msgspec.convert(tomllib.loads(path.read_text()), _File) for path in sorted((FOLDER / kind).glob("*.toml"))]
    return [msgspec.structs.replace(one, family=file.family) for file in files for one in file.operation]


def _filled(text: str, names: dict[str, str]) -> str:
    return re.sub(r"@([a-z]+)@", lambda found: names[found[1]], text)
