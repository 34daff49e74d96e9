"""What a container shares with other containers in, named by their ids out - and left out where they are one's own.

A name can be given to another container, an id cannot. Who made a container within the baseline may make another beside it.
"""

from __future__ import annotations

import re

import msgspec

from pratique.enforce.docker import podman
from pratique.enforce.docker.engine import Engine
from pratique.enforce.docker.records import Approved, Records
from pratique.grant.request import key
from pratique.model.privilege import Subject
from pratique.workload.spec import Spec

_PROCESS = re.compile(r"/proc/(\d+)/ns/\w+")


async def asked(spec: Spec, subject: Subject | None, engine: Engine, records: Records) -> Spec:
    """Return a Spec as it was asked for, its joins by id. Raises EngineError."""
    joins = []
    for join in spec.joins:
        kind, _, name = join.partition(":")
        identifier = str((await engine.container(name) or {}).get("Id") or name)
        if not _is_own(records.container(identifier), subject):
            joins.append(f"{kind}:{identifier}")
    return msgspec.structs.replace(spec, joins=tuple(joins))


def running(spec: Spec, subject: Subject | None, records: Records) -> Spec:
    """Return a Spec as it will run, its joins by id as far as the processes named in it are those of known containers."""
    if not spec.joins:
        return spec
    by_process = {pid: one for one in records.containers() if (pid := podman.pid_in(one.pid_file))}
    joins = []
    for join in spec.joins:
        kind, _, path = join.partition(":")
        found = _PROCESS.fullmatch(path)
        record = by_process.get(int(found[1])) if found else None
        if not _is_own(record, subject):
            joins.append(f"{kind}:{record.id}" if record is not None else join)
    return msgspec.structs.replace(spec, joins=tuple(joins))


def _is_own(record: Approved | None, subject: Subject | None) -> bool:
    if record is None or subject is None or not record.subject.id:
        return False
    return key(record.subject) == key(subject) and not record.elevated
