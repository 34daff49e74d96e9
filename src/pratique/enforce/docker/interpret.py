"""One request of the engine's API in, the question it amounts to out."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module
import secrets
import time
from typing import Any

import msgspec

from pratique.enforce.admission import Image
from pratique.enforce.docker import fields, joins, logs, networks
from pratique.enforce.docker.accounts import Accounts
from pratique.enforce.docker.apparmor import as_enforced
from pratique.enforce.docker.decode import decode
from pratique.enforce.docker.engine import Engine, digests, image_of
from pratique.enforce.docker.outcomes import Outcomes
from pratique.enforce.docker.question import Known, Question
from pratique.enforce.docker.records import Approved, Records
from pratique.enforce.docker.routes import Route
from pratique.enforce.docker.shapes import by_name, drivers, group_note, user_of, with_image, without_default
from pratique.enforce.docker.sources import with_real_sources
from pratique.grant.request import Action, Request, Target, key
from pratique.model.errors import ParseError
from pratique.model.privilege import Subject
from pratique.workload import docker_create, docker_inspect, oci_runtime
from pratique.workload.spec import Spec


class Interpreter:
    """Knows one engine, its name among hosts, and what was let through before."""

    def __init__(self, engine: Engine, records: Records, host: str) -> None:
        self._engine = engine
        self._records = records
        self._host = host
        self.outcomes = Outcomes(engine, records)

    async def question(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        """Return what a request amounts to. Raises ParseError for what is ambiguous, EngineError for what nobody can tell."""
        asking = {
            "create": self._create, "start": self._start, "restart": self._start, "exec": self._exec, "attach": self._attach,
            "exec-start": self._exec_start, "copy-in": self._copy, "copy-out": self._copy, "commit": self._commit,
            "update": self._update, "volume": self._volume, "network": self._network, "pull": self._pull, "save": self._save,
            "push": self._push, "build": self._build,
        }.get(route.kind)  # fmt: skip
        if asking is not None:
            return await asking(route, body, subject)
        if route.kind == "connect":
            return await self._connect(route, decode(body, fields.CONNECT), subject)
        if route.kind in ("ordinary", "read") and route.name and route.path.startswith("/containers/"):
            return await self._change(route, subject)
        return self._plain(route, subject)

    async def _change(self, route: Route, subject: Subject | None) -> Question:
        """Say whose container is removed or looked into, for rules that care; what there is not, the engine says itself."""
        action: Action = "read" if route.kind == "read" else "change"
        record = self._records.container(route.name)  # clients say the whole id where they were told it
        if record is not None and record.request is not None:
            target = msgspec.structs.replace(record.request.target, container=record.id, owner=key(record.subject))
            return self._question(route, action, subject, target)
        inspect = await self._engine.container(route.name)
        if inspect is None:
            return self._plain(route, subject)
        return self._question(route, action, subject, self._of(inspect).target)

    async def _connect(self, route: Route, asked: dict[str, Any], subject: Subject | None) -> Question:
        """Say whose container gets another network, or loses one: who is in it then reaches what it serves."""
        inspect = await self._engine.container(asked["Container"]) if asked.get("Container") else None
        if inspect is None:
            return self._plain(route, subject)
        target = msgspec.structs.replace(self._of(inspect).target, name=route.name)
        own = subject is not None and target.owner == key(subject)
        extra = () if own or route.path.endswith("/disconnect") else (f"run.namespace-of:{target.container}",)
        return self._question(route, "change", subject, target, extra=extra)

    def _plain(self, route: Route, subject: Subject | None) -> Question:
        actions: dict[str, tuple[Action, tuple[str, ...]]] = {
            "engine": ("engine", ("engine.admin",)),
            "session": ("build", ()),
            "load": ("pull", ()),
            "tag": ("change", ()),
            "connect": ("change", ()),
            "ordinary": ("change", ()),
            "read": ("read", ()),
        }
        action, extra = actions[route.kind]
        name = route.name or (route.path if route.kind == "ordinary" else "")  # `containers/prune` is about all there are
        return self._question(route, action, subject, Target(host=self._host, name=name), extra=extra)

    def _question(
        self, route: Route, action: Action, subject: Subject | None, target: Target, **more: Any
    ) -> Question:  # the rest of a request, by name
        session, container, held = more.pop("session", ""), more.pop("container", ""), more.pop("held", ())
        image, note = more.pop("image", None), more.pop("note", "")
        if more.get("spec") is not None:
            more["spec"] = as_enforced(more["spec"])
        request = Request(subject=subject, action=action, point="docker", target=target, **more)
        return Question(route, request, session or secrets.token_hex(16), container, held, image, time.monotonic(), note)

    async def _create(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        asked = decode(body, fields.CREATE)
        if not asked.get("Image"):
            raise ParseError("a container without an image")
        image = await self._engine.image(asked["Image"])
        spec = docker_create.extract(with_image(asked, (image or {}).get("Config") or {}))
        if image is None and spec.user is None:  # the engine says that there is none, upon which clients pull it and ask anew
            spec = msgspec.structs.replace(spec, run_as_non_root=True)
        spec = await joins.asked(spec, subject, self._engine, self._records)
        target = self._of_image(asked["Image"], image, asked.get("Labels") or {})
        spec, extra = await self._volumes(by_name(await self._sources(spec)))
        if drivers(asked):
            extra = (*extra, "engine.admin")  # a plugin makes a volume as root, before the container is there
        judged = image_of(asked["Image"], image) if image is not None else None  # else there is nothing to run yet
        extra = (*extra, *logs.needed(asked))
        risen, note = await self.outcomes.provenance.of_image(image, target.reference or asked["Image"])
        return self._question(
            route, "run", subject, target, spec=spec, argv=spec.command, extra=(*extra, *risen), image=judged, note=note
        )

    def _of_image(self, name: str, image: dict[str, Any] | None, labels: dict[str, str]) -> Target:
        """Take an image by what registries call it; one that came from none is known by its id alone."""
        if image is None:
            return Target(host=self._host, labels=labels, reference=name)
        identifier, known = digests(image)
        reference, _, digest = known[0].partition("@") if known else ("", "", identifier)
        return Target(host=self._host, labels=labels, reference=reference, digest=digest)

    async def _sources(self, spec: Spec) -> Spec:
        """Name binds by where they are already here: an engine makes missing folders before its runtime is asked."""
        if not any(mount.kind == "bind" for mount in spec.mounts):
            return spec
        named, _ = await asyncio.to_thread(with_real_sources, spec)  # a file system that hangs keeps nobody else waiting
        return named

    async def _volumes(self, spec: Spec) -> tuple[Spec, tuple[str, ...]]:
        """See through named volumes to the paths of the machine that some of them are."""
        mounts, extra = list(spec.mounts), []
        for at, mount in enumerate(mounts):
            if mount.kind != "volume" or not mount.source:
                continue
            volume = await self._engine.volume(mount.source)
            if volume is None:
                continue
            driver, options = str(volume.get("Driver") or ""), volume.get("Options") or {}
            if driver != "local":
                extra.append("engine.admin")
            seen = docker_create.backed(mount.source, mount.target, options, driver=driver, read_only=mount.read_only)
            mounts[at] = msgspec.structs.replace(seen, propagation=mount.propagation)
        return msgspec.structs.replace(spec, mounts=tuple(mounts)), tuple(extra)

    async def _with_root(self, known: Known) -> Target:
        """Say whether a container runs as root."""
        spec = await known.accounts.resolved(docker_inspect.extract(known.inspect))
        return msgspec.structs.replace(known.target, root=spec.uid == 0 if spec.uid is not None else None)

    async def _known(self, name: str) -> Known:
        inspect = await self._engine.container(name)
        if inspect is None:
            raise ParseError(f"there is no container {name[:80]!a}")
        if (await self._engine.facts()).shared_cgroups:
            inspect = without_default(inspect)
        return self._of(inspect)

    def _of(self, inspect: dict[str, Any]) -> Known:
        identifier = str(inspect.get("Id") or "")
        record = self._records.container(identifier)
        spec = docker_inspect.extract(inspect)
        target = Target(
            host=self._host,
            container=identifier,
            labels=(inspect.get("Config") or {}).get("Labels") or {},
            reference=record.reference if record else "",
            digest=record.digest if record else str(inspect.get("Image") or ""),
            owner=key(record.subject) if record else "",
            privileged=spec.privileged,
        )
        return Known(identifier, inspect, record, target, Accounts(self._engine, identifier))

    async def _start(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        """Decide anew at every start: a grant that ended between creation and start gives nothing."""
        if body.strip() not in (b"", b"{}", b"null"):
            raise ParseError("a start with a body: engines of long ago took a description there")
        known = await self._known(route.name)
        asked = await joins.asked(docker_inspect.extract(known.inspect), subject, self._engine, self._records)
        spec, extra = await self._volumes(await known.accounts.resolved(await self._sources(asked)))
        if any(route.query.get(name) for name in ("checkpoint", "checkpoint-dir")):
            extra = (*extra, "engine.admin")  # what a saved process may do, its description does not say
        image = await self._engine.image(str(known.inspect.get("Image") or ""))
        extra = (*extra, *_still_needed(known.record, image))
        name = str((known.inspect.get("Config") or {}).get("Image") or "")
        risen, note = await self.outcomes.provenance.of_image(image, known.target.reference or name)
        note = "; ".join(filter(None, (note, group_note(asked, spec))))
        return self._question(
            route, "run", subject, known.target, spec=spec, argv=spec.command, extra=(*extra, *risen), container=known.id,
            image=image_of(name, image) if image is not None else None, note=note,  # one that is lost cannot start anything
            session=known.record.session if known.record else "", held=known.record.grants if known.record else (),
        )  # fmt: skip

    async def _exec(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        asked = decode(body, fields.EXEC)
        known = await self._known(route.name)
        named = docker_create.extract_exec(asked, user=user_of(known.inspect))
        spec = await known.accounts.resolved(named)
        target, argv = await self._with_root(known), tuple(asked.get("Cmd") or ())
        note = group_note(named, spec)
        return self._question(route, "exec", subject, target, spec=spec, argv=argv, container=known.id, note=note)

    async def _exec_start(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        """Take a command that this gate let through, by who asked for it; the grant must still live."""
        decode(body or b"{}", fields.EXEC_START)
        record = self._records.command(route.name)
        if record is None:
            raise ParseError("a command that this gate has not seen")
        if subject is None or key(subject) != key(record.subject):
            raise ParseError("a command that somebody else asked for")
        request = record.request
        if request is None:
            raise ParseError("a command that this gate has not seen")
        return Question(route, msgspec.structs.replace(request, subject=subject), record.session, record.container, record.grants)

    async def _attach(self, route: Route, _: bytes, subject: Subject | None) -> Question:
        known = await self._known(route.name)
        spec, target = docker_inspect.extract(known.inspect), await self._with_root(known)
        return self._question(route, "attach", subject, target, spec=spec, container=known.id)

    async def _copy(self, route: Route, _: bytes, subject: Subject | None) -> Question:
        """Take what is bound for a part of it: the engine mounts that itself then, except to export the container's own files."""
        known = await self._known(route.name)
        spec, extra = await self._volumes(docker_inspect.extract(known.inspect))
        if route.path.endswith("/export"):
            spec, extra = msgspec.structs.replace(spec, mounts=()), ()
        if route.kind == "copy-in":
            return self._question(route, "copy", subject, known.target, spec=spec, extra=extra, write=True, container=known.id)
        risen = self.outcomes.provenance.of_container(known)
        return self._question(
            route, "copy", subject, known.target, spec=spec, extra=(*extra, *risen.needed), write=False, container=known.id,
            session=risen.session, held=risen.grants, note=risen.note,
        )  # fmt: skip

    async def _commit(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        if body.strip():
            decode(body, fields.COMMIT)
        known = await self._known(route.one("container"))
        base = await self.outcomes.provenance.base_of(known)
        own = subject is not None and known.target.owner == key(subject)
        extra = () if own else ("exec.any",)  # all of its files are in the image, as in an export
        return self._question(route, "build", subject, known.target, container=known.id, extra=extra)._replace(base=base)

    async def _update(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        """What is changed of a container is decided as if it were asked for at its creation."""
        asked = decode(body, fields.UPDATE)
        known = await self._known(route.name)
        spec = docker_create.extract(
            {**(known.inspect.get("Config") or {}), "HostConfig": {**(known.inspect.get("HostConfig") or {}), **asked}}
        )
        spec = await known.accounts.resolved(await joins.asked(spec, subject, self._engine, self._records))
        restart = (asked.get("RestartPolicy") or {}).get("Name") or "no"
        if known.record is not None and known.record.elevated and restart != "no":
            raise ParseError("a container that has privileges for a time does not restart by itself")
        return self._question(
            route, "run", subject, known.target, spec=spec, container=known.id,
            session=known.record.session if known.record else "", held=known.record.grants if known.record else (),
        )  # fmt: skip

    async def _volume(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        asked = decode(body or b"{}", fields.VOLUME)
        extra = () if asked.get("Driver", "local") in ("", "local") else ("engine.admin",)
        target = Target(host=self._host, name=asked.get("Name", ""))
        return self._question(route, "volume", subject, target, spec=docker_create.extract_volume(asked), extra=extra)

    async def _network(self, route: Route, body: bytes, subject: Subject | None) -> Question:
        asked = decode(body, fields.NETWORK)
        target, note = Target(host=self._host, name=asked.get("Name", "")), networks.beyond(asked)
        if not note:
            return self._question(route, "change", subject, target)
        return self._question(route, "engine", subject, target, extra=("engine.admin",), note=note)

    async def _pull(self, route: Route, _: bytes, subject: Subject | None) -> Question:
        name, tag = route.one("fromImage"), route.one("tag")
        reference = f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}" if tag else name
        digest = reference.rpartition("@")[2] if "@sha256:" in reference else ""
        target = Target(host=self._host, reference=name, digest=digest, name=reference or route.one("repo"))
        wanted = Image(reference, (digest,) if digest else (), f"registry:{reference}") if name else None
        return self._question(route, "pull", subject, target, image=wanted)

    async def _save(self, route: Route, _: bytes, subject: Subject | None) -> Question:
        needed, note = await self.outcomes.provenance.of_saved(route)
        return self._question(route, "pull", subject, Target(host=self._host, name=route.name), extra=needed, note=note)

    async def _push(self, route: Route, _: bytes, subject: Subject | None) -> Question:
        return self._question(
            route, "push", subject, Target(host=self._host, name=route.name), extra=(f"registry.push:{route.name}",)
        )

    async def _build(self, route: Route, _: bytes, subject: Subject | None) -> Question:
        network = route.one("networkmode")
        insecure = network not in ("", "default", "none", "bridge") or bool(route.one("cgroupparent"))
        target = Target(host=self._host, name=route.one("t"))
        return self._question(route, "build", subject, target, insecure=insecure)

    async def root(self) -> str:
        """Return the folder that the engine keeps all in. Raises EngineError."""
        return (await self._engine.facts()).root.rstrip("/")

    async def engine_of(self, container: str) -> oci_runtime.Engine:
        """Return what is to be known of the engine to tell its own doing from what was asked for. Raises EngineError."""
        facts = await self._engine.facts()
        root = facts.root.rstrip("/")
        return oci_runtime.Engine(
            container=container,
            roots=(f"{root}/containers/{{id}}/",),
            volumes=(f"{root}/volumes/",),
            shared_cgroups=facts.shared_cgroups,
        )


def _still_needed(record: Approved | None, image: dict[str, Any] | None) -> list[str]:
    """Return what was found at a container's creation that its description does not show. Raises ParseError.

    It is made from what its image's name meant then: a name that was moved between the decision and that is found out here.
    """
    if record is None or record.request is None:
        return []
    if record.image and (image or {}).get("Id") != record.image:
        raise ParseError("the container was made from another image than was decided on")
    return [privilege for privilege in record.request.extra if not privilege.startswith("run.image:")]
