"""What a runtime is about to start in, whether it may out: the last look, at what will really run.

The gate in front of the runtime (`pratique_runtime`) shows each specification here. What the edge let through is held against
what came of it; what nobody asked the edge for - a build's step, a health check, a restart after a boot - must need no privilege,
or no more than was granted and still lives.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pratique.enforce.docker import buildkit, joins, podman
from pratique.enforce.docker.apparmor import as_enforced
from pratique.enforce.docker.interpret import Interpreter
from pratique.enforce.docker.records import Approved, Records
from pratique.enforce.docker.shapes import effective_hash, group_note
from pratique.enforce.docker.sources import Bound, with_real_sources
from pratique.enforce.keeper import Keeper, refusal
from pratique.enforce.serving import peer_of, unix_socket
from pratique.grant.needed import SAFE_SYSCTLS, in_root_group
from pratique.grant.request import Action, Request, Target, key
from pratique.model.errors import PratiqueError
from pratique.model.privilege import Decision, Point, Subject
from pratique.workload import oci_runtime
from pratique.workload.spec import DEFAULT_CAPABILITIES, Spec

if TYPE_CHECKING:
    import asyncio

# A specification with thousands of mounts and variables, as the runtime's gate bounds it, and what JSON adds.
MAX_QUESTION = 8 << 20
SECONDS = 1.4  # a little less than the gate in front of the runtime waits
# Containers between their creation by a runtime and their start, which follows at once.
MAX_EXPECTED = 10_000
# With control groups of the first kind, engines let all containers share the machine's.
SHARED_CGROUPS = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
# Who was granted one of these for a container has it in the container's health check, too.
_RISES = frozenset(("run.root", "run.privileged", "run.new-privileges"))
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Looked(NamedTuple):
    """A question as a request, its session, the grants that the session holds, and what is to be bound."""

    request: Request
    session: str
    held: tuple[str, ...] = ()
    bound: Bound = Bound(())


class RuntimeAgent:
    """Decides for the runtimes of one machine. Without an `interpreter` there is no Docker engine, and Podman alone."""

    def __init__(self, keeper: Keeper, records: Records, interpreter: Interpreter | None, host: str) -> None:
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
                peer = peer_of(writer.get_extra_info("socket"))
                if peer.uid not in (0, os.geteuid()):
                    return
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > MAX_QUESTION:
                    return
                answer = json.dumps(await self.answer(json.loads(await reader.readexactly(size)), peer.pid)).encode()
                writer.write(len(answer).to_bytes(4, "big") + answer)
                await writer.drain()
        except (OSError, TimeoutError, ValueError, RecursionError, asyncio.IncompleteReadError):
            pass  # silence is an answer: the runtime's gate lets only the strictest baseline through
        finally:
            writer.close()

    async def answer(self, question: dict[str, Any], asking: int = 0) -> dict[str, Any]:
        """Return {"allow", "message", "patch", "look_again"} for {"op", "id", "spec", "path", "pid_file", "root"}.

        `asking` is the process that asks. `look_again` asks for a question {"op": "start", "id"} when what it mounts is mounted
        and nothing of it runs yet.
        """
        if question.get("op") == "start":
            return self._mounted(str(question.get("id")))
        allowed, answer, bound = await self._answer(question, asking)
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

    async def _answer(self, question: dict[str, Any], asking: int) -> tuple[bool, dict[str, Any], Bound]:
        try:
            known = await self._looked(question, asking)
            config = question["spec"]
        except (KeyError, TypeError, ValueError, AttributeError, PratiqueError) as error:
            why = self._keeper.refused("runtime", None, "runtime", f"it cannot be read: {error}")
            return False, {"allow": False, "message": why}, Bound(())
        ruled = await self._keeper.rule(known.request, known.session, held=known.held, effective=effective_hash(config))
        if not ruled.decision.allowed:
            return False, {"allow": False, "message": refusal(ruled.decision, self._note(known.request))}, known.bound
        if known.request.point == "podman":
            self._remember(question, known, ruled.decision)
        else:
            self._note_process(str(question["id"]), str(question.get("pid_file") or ""), is_exec=question["op"] == "exec")
        process = config if question["op"] == "exec" else config["process"]
        return True, {"allow": True, "patch": patch(process, ruled.decision)}, known.bound

    def _note(self, request: Request) -> str:
        """Return how to mend what is denied: what Podman was told of a group nobody sees here, so that it is said to all."""
        seen, known = request.spec, self._records.container(request.target.container)
        if seen is None:
            return ""
        asked = known.request.spec if known is not None and known.request is not None and request.point != "podman" else None
        return group_note(asked or msgspec.structs.replace(seen, gid=None, group=None, groups=()), seen)

    async def _looked(self, question: dict[str, Any], asking: int) -> Looked:
        """Return what a question amounts to. Raises what a specification of an unknown shape raises, EngineError."""
        op, identifier, config, path = (question[name] for name in ("op", "id", "spec", "path"))
        bundle = podman.bundle_of(str(path))
        if bundle is not None and bundle.id != identifier:
            raise ValueError("a container that lies in the folder of another")
        record = self._records.container(identifier)
        if op == "exec":
            spec = as_enforced(oci_runtime.extract_process(config))
            if bundle is not None:
                return Looked(self._podman_exec(bundle, spec, record, asking), f"podman:{bundle.exec}")
            command = self._records.command(Path(str(question.get("pid_file") or "")).stem)
            return _looked(self._exec(identifier, spec, record, command), command, identifier)
        if bundle is not None:
            return self._podman_run(bundle, question, asking)
        step = podman.build_of(str(path), identifier, shared_cgroups=SHARED_CGROUPS)
        if step is not None:
            spec, bound = with_real_sources(as_enforced(oci_runtime.extract(config, step)))
            subject = podman.person(asking)
            action: Action = "build" if is_build_step(spec) else "run"
            target = Target(host=self._host, container=identifier)
            request = Request(
                subject=subject, action=action, point="podman", target=target, spec=None if action == "build" else spec,
                argv=spec.command,
            )  # fmt: skip
            return Looked(request, f"podman:{identifier}", bound=bound)
        if self._interpreter is not None and buildkit.is_step(root := await self._interpreter.root(), str(path), identifier):
            return _looked(self._least(await self._step(identifier, config, root)), None, identifier)
        engine = await self._engine_of(identifier)
        spec, bound = with_real_sources(as_enforced(oci_runtime.extract(config, engine)), engine.volumes, asking)
        return _looked(self._run(identifier, spec, record), record, identifier, bound)

    async def _step(self, identifier: str, config: Mapping[str, Any], root: str) -> list[Request]:
        """Return what a step of BuildKit amounts to: more than a build has, or the build that it is in, for each who builds."""
        engine = msgspec.structs.replace(await self._engine_of(identifier), roots=(f"{root}/buildkit/executor/",), volumes=())
        spec, _ = with_real_sources(as_enforced(oci_runtime.extract(config, engine)))
        spec = buildkit.without_its_own(spec, root)
        target = Target(host=self._host, container=identifier)
        builders: list[Subject | None] = [*self._builders()]
        if not builders or _is_of_the_machine(spec):
            return [
                Request(subject=one, action="run", point="runtime", target=target, spec=spec, argv=spec.command)
                for one in builders or [None]
            ]
        insecure = not is_build_step(spec)
        return [self._build(one, target, spec, insecure=insecure) for one in builders]

    def _build(self, subject: Subject | None, target: Target, spec: Spec, *, insecure: bool) -> Request:
        return Request(subject=subject, action="build", point="runtime", target=target, argv=spec.command, insecure=insecure)

    def _builders(self) -> list[Subject]:
        return self._interpreter.outcomes.builders() if self._interpreter is not None else []

    def _least(self, requests: list[Request]) -> Request:
        """Return the request of who may the least of those whose it may be: nobody's step runs by what another was granted."""
        if len(requests) == 1:
            return requests[0]
        now = self._keeper.moment()
        return next((one for one in requests if not self._keeper.decide(one, now).allowed), requests[-1])

    async def _engine_of(self, identifier: str) -> oci_runtime.Engine:
        if self._interpreter is None:
            return oci_runtime.Engine(container=identifier, shared_cgroups=SHARED_CGROUPS)
        return await self._interpreter.engine_of(identifier)

    def _podman_run(self, bundle: podman.Bundle, question: dict[str, Any], asking: int) -> Looked:
        engine = bundle.engine(str(question.get("pid_file") or ""), shared_cgroups=SHARED_CGROUPS)
        spec = podman.with_own_root(as_enforced(oci_runtime.extract(question["spec"], engine)), bundle, question["spec"]["root"])
        spec, bound = with_real_sources(spec, engine.volumes, asking, at_edge=False)
        reference, digest = podman.image_of(bundle)
        target = Target(host=self._host, container=bundle.id, reference=reference, digest=digest)
        request = Request(
            subject=podman.person(asking), action="run", point="podman", target=target, spec=spec, argv=spec.command
        )
        return Looked(request, f"podman:{bundle.id}:{secrets.token_hex(8)}", bound=bound)

    def _podman_exec(self, bundle: podman.Bundle, spec: Spec, record: Approved | None, asking: int) -> Request:
        known = record.request if record is not None else None
        subject = podman.person(asking)
        target = Target(
            host=self._host,
            container=bundle.id,
            reference=record.reference if record is not None else "",
            digest=record.digest if record is not None else "",
            owner=key(record.subject) if record is not None and record.subject.id else "",
            root=known.spec.uid == 0 if known is not None and known.spec is not None else None,
            privileged=known is not None and known.spec is not None and known.spec.privileged,
        )
        if subject is None and record is not None and _within(spec, record):  # a health check, which a timer starts
            return _own_doing(record, spec, "podman", target)
        return Request(subject=subject, action="exec", point="podman", target=target, spec=spec, argv=spec.command)

    def _remember(self, question: dict[str, Any], known: Looked, decision: Decision) -> None:
        """Keep who started what, so that it can be ended with its grant."""
        bundle, request = podman.bundle_of(str(question["path"])), known.request
        if bundle is None:
            return
        record = Approved(
            id=bundle.exec or bundle.id,
            subject=request.subject or Subject(id="", provider="claimed"),
            session=known.session,
            needed=decision.needed,
            grants=decision.grants,
            digest=request.target.digest,
            reference=request.target.reference,
            elevated=bool(decision.grants),
            at=self._keeper.moment().wall,
            container=bundle.id if bundle.exec else "",
            request=request,
            pid_file=str(question.get("pid_file") or ""),
        )
        if bundle.exec:
            self._records.remember_command(record)
        else:
            self._records.remember(record)

    def _note_process(self, identifier: str, pid_file: str, *, is_exec: bool) -> None:
        """Note where the runtime writes whose process it is: an engine that is busy need not be asked to end it."""
        record = self._records.command(Path(pid_file).stem) if is_exec else self._records.container(identifier)
        if record is None or not pid_file:
            return
        keep = self._records.remember_command if is_exec else self._records.remember
        keep(msgspec.structs.replace(record, pid_file=pid_file))

    def _run(self, identifier: str, spec: Spec, record: Approved | None) -> Request:
        if record is not None:
            spec = joins.running(spec, _known(record.subject), self._records)
            target = Target(host=self._host, container=identifier, reference=record.reference, digest=record.digest)
            labels = record.request.target.labels if record.request is not None else {}
            return Request(
                subject=_known(record.subject), action="run", point="runtime", spec=spec, argv=spec.command,
                target=msgspec.structs.replace(target, labels=labels),
            )  # fmt: skip
        target = Target(host=self._host, container=identifier)
        insecure = spec.host_namespaces == ("net",)  # what a build may have more, where no sandbox is asked for
        if (builders := self._builders()) and is_build_step(
            msgspec.structs.replace(spec, host_namespaces=()) if insecure else spec
        ):
            return self._least([self._build(one, target, spec, insecure=insecure) for one in builders])
        return Request(subject=None, action="run", point="runtime", target=target, spec=spec, argv=spec.command)

    def _exec(self, identifier: str, spec: Spec, record: Approved | None, command: Approved | None) -> Request:
        if command is not None and command.container == identifier and command.request is not None:
            return msgspec.structs.replace(command.request, point="runtime", spec=spec, subject=command.subject)
        target = Target(host=self._host, container=identifier, owner="")
        # A command that was let through for another container (whose name this one took since) is nobody's doing here.
        if command is None and record is not None and _within(spec, record):
            return _own_doing(record, spec, "runtime", target)
        return Request(subject=None, action="exec", point="runtime", target=target, spec=spec, argv=spec.command)


def _looked(request: Request, known: Approved | None, identifier: str, bound: Bound = Bound(())) -> Looked:  # noqa: B008 - immutable
    session, held = (known.session, known.grants) if known is not None else (f"runtime:{identifier[:64]}", ())
    return Looked(request, session, held, bound)


def _known(subject: Subject) -> Subject | None:
    return subject if subject.id else None


def _within(spec: Spec, record: Approved) -> bool:
    """Say whether a process is no more than its container's own: same user, nothing added."""
    container = record.request.spec if record.request is not None else None
    if container is None or spec.capabilities_add:
        return False
    if container.uid == 0 or container.user is None:
        return True
    return spec.uid not in (0, None) and (container.gid == 0 or not in_root_group(spec))


def _own_doing(record: Approved, spec: Spec, point: Point, target: Target) -> Request:
    """Return what an engine does itself (a health check): as the container's user, with no more than the container has.

    What it leaves open is closed as it was for the container, or a set-user-ID program would be root.
    """
    closed = spec if _RISES.isdisjoint(record.needed) else None
    return Request(subject=record.subject, action="change", point=point, target=target, spec=closed, argv=spec.command)


def _is_of_the_machine(spec: Spec) -> bool:
    """Say whether a step has what no build has, with a sandbox or without: files, devices or control groups of the machine."""
    binds = any(mount.kind == "bind" for mount in spec.mounts)
    return bool(binds or spec.joins or spec.devices or spec.unknown or spec.cgroup_parent or set(spec.sysctls) - SAFE_SYSCTLS)


def is_build_step(spec: Spec) -> bool:
    """Say whether it looks as an engine's own step of a build does: root at most, its own namespaces, nothing of the machine."""
    binds = [mount for mount in spec.mounts if mount.kind == "bind"]
    loose = spec.privileged or spec.capabilities_add or spec.host_namespaces or spec.joins or spec.devices or spec.unknown
    kernel = set(spec.sysctls) - SAFE_SYSCTLS  # engines set two of the harmless ones for everybody
    return not (loose or binds or spec.cgroup_parent or kernel) and spec.seccomp != "unconfined" and spec.masked_paths


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
