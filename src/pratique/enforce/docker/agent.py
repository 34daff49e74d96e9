"""What a runtime is about to start in, whether it may out: the last look, at what will really run.

The gate in front of the runtime (`pratique_runtime`) shows each specification here. What the edge let through is held against
what came of it; what nobody asked the edge for - a build's step, a health check, a restart after a boot - must need no privilege,
or no more than was granted and still lives.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pratique.enforce.docker.interpret import Interpreter, effective_hash
from pratique.enforce.docker.records import Approved, Records
from pratique.enforce.docker.sources import Bound, with_real_sources
from pratique.enforce.keeper import Keeper, refusal
from pratique.enforce.serving import peer_of, unix_socket
from pratique.grant.request import Request, Target
from pratique.model.errors import PratiqueError
from pratique.model.privilege import Decision, Subject
from pratique.workload import oci_runtime
from pratique.workload.spec import DEFAULT_CAPABILITIES, Spec

if TYPE_CHECKING:
    import asyncio

# A specification with thousands of mounts and variables, as the runtime's gate bounds it, and what JSON adds.
MAX_QUESTION = 8 << 20
SECONDS = 0.45  # a little less than the runtime's gate waits
# Containers between their creation by a runtime and their start, which follows at once.
MAX_EXPECTED = 10_000
_ID = re.compile(r"[0-9a-f]{64}")
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class RuntimeAgent:
    """Decides for one engine's runtime."""

    def __init__(self, keeper: Keeper, records: Records, interpreter: Interpreter, host: str) -> None:
        self._keeper = keeper
        self._records = records
        self._interpreter = interpreter
        self._host = host
        self._server: asyncio.Server | None = None
        self._expected: dict[str, tuple[Bound, str]] = {}

    async def listen(self, path: Path) -> None:
        """Listen for the runtime's gate, which is root's. Raises OSError."""
        import asyncio

        path.with_name("unseen").mkdir(mode=0o700, exist_ok=True)

        self._server = await asyncio.start_unix_server(self._serve, sock=unix_socket(path, 0o600, -1))

    def close(self) -> None:
        """Take no more questions."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        try:
            async with asyncio.timeout(SECONDS):
                if peer_of(writer.get_extra_info("socket")).uid not in (0, os.geteuid()):
                    return
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > MAX_QUESTION:
                    return
                answer = json.dumps(await self.answer(json.loads(await reader.readexactly(size)))).encode()
                writer.write(len(answer).to_bytes(4, "big") + answer)
                await writer.drain()
        except (OSError, TimeoutError, ValueError, RecursionError, asyncio.IncompleteReadError):
            pass  # silence is an answer: the runtime's gate lets only the strictest baseline through
        finally:
            writer.close()

    async def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return {"allow", "message", "patch", "look_again"} for {"op", "id", "spec", "path", "pid_file", "root"}.

        `look_again` asks for a question {"op": "start", "id"} when what it mounts is mounted and nothing of it runs yet.
        """
        if question.get("op") == "start":
            return self._mounted(str(question.get("id")))
        allowed, answer, bound = await self._answer(question)
        if allowed and bound.folders and question.get("op") == "create":
            self._expected[str(question["id"])] = (bound, str(question.get("pid_file") or ""))
            while len(self._expected) > MAX_EXPECTED:
                self._expected.pop(next(iter(self._expected)))
            answer["look_again"] = True
        return answer

    def _mounted(self, identifier: str) -> dict[str, Any]:
        """Say whether what is mounted is what was allowed."""
        bound, pid_file = self._expected.pop(identifier, (Bound((("", ""),)), ""))
        try:
            seen = bound.is_in(int(Path(pid_file).read_text("ascii")))
        except (OSError, ValueError):
            seen = False
        if seen:
            return {"allow": True}
        why = "what is bound from the machine is not what was there when it was decided"
        return {"allow": False, "message": self._keeper.refused("runtime", None, f"start {identifier}"[:100], why)}

    async def _answer(self, question: dict[str, Any]) -> tuple[bool, dict[str, Any], Bound]:
        bound = Bound(())
        try:
            op, identifier, config = str(question["op"]), str(question["id"]), question["spec"]
            is_exec = op == "exec"
            record = self._records.container(identifier)
            if is_exec:
                command = self._records.command(Path(str(question.get("pid_file") or "")).stem)
                spec = oci_runtime.extract_process(config)
                request = self._exec(identifier, spec, record, command)
            else:
                command = record
                engine = await self._interpreter.engine_of(identifier)
                spec, bound = with_real_sources(oci_runtime.extract(config, engine), engine.volumes)
                request = self._run(identifier, spec, record)
        except (KeyError, TypeError, ValueError, AttributeError, PratiqueError) as error:
            why = self._keeper.refused("runtime", None, "runtime", f"it cannot be read: {error}")
            return False, {"allow": False, "message": why}, bound
        session = command.session if command is not None else f"runtime:{identifier[:64]}"
        held = command.grants if command is not None else ()
        ruled = await self._keeper.rule(request, session, held=held, effective=effective_hash(config))
        if not ruled.decision.allowed:
            return False, {"allow": False, "message": refusal(ruled.decision)}, bound
        process = config if is_exec else config["process"]
        return True, {"allow": True, "patch": patch(process, ruled.decision)}, bound

    def _run(self, identifier: str, spec: Spec, record: Approved | None) -> Request:
        if record is not None:
            target = Target(host=self._host, container=identifier, reference=record.reference, digest=record.digest)
            labels = record.request.target.labels if record.request is not None else {}
            return Request(
                subject=_known(record.subject), action="run", point="runtime", spec=spec, argv=spec.command,
                target=msgspec.structs.replace(target, labels=labels),
            )  # fmt: skip
        target = Target(host=self._host, container=identifier)
        builder = self._interpreter.builder()
        if builder is not None and is_build_step(spec):
            return Request(subject=builder, action="build", point="runtime", target=target, argv=spec.command)
        return Request(subject=None, action="run", point="runtime", target=target, spec=spec, argv=spec.command)

    def _exec(self, identifier: str, spec: Spec, record: Approved | None, command: Approved | None) -> Request:
        if command is not None and command.container == identifier and command.request is not None:
            return msgspec.structs.replace(command.request, point="runtime", spec=spec, subject=command.subject)
        target = Target(host=self._host, container=identifier, owner="")
        if record is not None and record.request is not None and _within(spec, record.request.spec):
            # The engine's own doing (a health check): as the container's user, with no more than the container has.
            return Request(subject=record.subject, action="change", point="runtime", target=target, argv=spec.command)
        return Request(subject=None, action="exec", point="runtime", target=target, spec=spec, argv=spec.command)


def _known(subject: Subject) -> Subject | None:
    return subject if subject.id else None


def _within(spec: Spec, container: Spec | None) -> bool:
    """Say whether a process is no more than its container's own: same user, nothing added."""
    if container is None or spec.capabilities_add:
        return False
    return spec.uid not in (0, None) or container.uid == 0 or container.user is None


def is_build_step(spec: Spec) -> bool:
    """Say whether it looks as an engine's own step of a build does: root at most, its own namespaces, nothing of the machine."""
    binds = [mount for mount in spec.mounts if mount.kind == "bind"]
    loose = spec.privileged or spec.capabilities_add or spec.host_namespaces or spec.joins or spec.devices or spec.unknown
    return not (loose or binds or spec.cgroup_parent or spec.sysctls) and spec.seccomp != "unconfined" and spec.masked_paths


def patch(process: dict[str, Any], decision: Decision) -> dict[str, Any]:
    """Return what of a process must change before it starts, so that what was left open is closed."""
    found: dict[str, Any] = {}
    owed = {(one.kind, one.value) for one in decision.obligations}
    if ("no_new_privileges", "") in owed and not process.get("noNewPrivileges"):
        found["noNewPrivileges"] = True
    dropped = {f"CAP_{value}" for kind, value in owed if kind == "drop" and value in DEFAULT_CAPABILITIES}
    given = process.get("capabilities") or {}
    if dropped & {name for names in given.values() for name in names or ()}:
        found["capabilities"] = {kind: [one for one in given.get(kind) or () if one not in dropped] for kind in _SETS}
    return found
