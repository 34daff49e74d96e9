"""What a person is about to do in, what a gate would say out: the same decision, before it matters.

A gate knows more (which digest a tag is today, whose container it is); what is not known here is taken as a gate takes what it
does not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from pratique.grant import privileges
from pratique.grant.decide import decide
from pratique.grant.globs import is_pattern, plain
from pratique.grant.index import GrantIndex
from pratique.grant.policy import PrivilegePolicy
from pratique.grant.privileges import Privilege
from pratique.grant.request import Action, Request, Target, key
from pratique.model.finding import Finding, FindingLocation, Severity
from pratique.model.privilege import Decision, Denial, Moment, Point, Subject
from pratique.workload.docker_create import HERE
from pratique.workload.docker_line import Line
from pratique.workload.place import Place
from pratique.workload.spec import Device, Format, Mount, Port, Spec

ID = "privilege"  # of findings: one check, whose subject is the privilege
_NOBODY = "65534"  # a user that no baseline minds
_POINTS: dict[Format, Point] = {
    "dockerfile": "docker", "image": "docker", "compose": "docker", "kubernetes": "kubernetes", "docker-create": "docker",
    "docker-inspect": "docker", "oci": "runtime",
}  # fmt: skip
_ACTIONS: dict[str, Action] = {
    "exec.any": "exec", "exec.root": "exec", "exec.privileged": "exec", "attach": "attach", "debug.ephemeral": "ephemeral",
    "cp.write": "copy", "build.run": "build", "build.insecure": "build", "volume.hostbind": "volume", "engine.admin": "engine",
    "token.mint": "token", "impersonate": "impersonate", "registry.push": "push", "registry.delete": "delete",
}  # fmt: skip
# What is as good as root on the machine is critical; what is root in a container is high.
_SEVERITIES = {privileges.OF_HOST: Severity.CRITICAL, privileges.OF_ROOT: Severity.HIGH, privileges.OF_LESS: Severity.MEDIUM}


class Asker(NamedTuple):
    """Who asks, about which place. `point` "" is told from what is asked."""

    subject: Subject
    target: Target = Target()
    point: Point | None = None


class Book(NamedTuple):
    """What is decided by."""

    policy: PrivilegePolicy
    grants: GrantIndex
    now: Moment


class Answer(NamedTuple):
    """One question, what people call it, and what a gate would say."""

    name: str
    request: Request
    decision: Decision


def about_privilege(privilege: Privilege, asker: Asker, book: Book) -> Answer:
    """Say whether somebody may do what a privilege stands for: as if a gate had seen just that."""
    action = _ACTIONS.get(privilege.form, "run")
    target = msgspec.structs.replace(asker.target, name=plain(privilege.argument) or asker.target.name)
    if action == "copy":
        target = msgspec.structs.replace(target, owner=key(asker.subject))
    request = Request(
        subject=asker.subject,
        action=action,
        point=asker.point or ("registry" if privilege.form.startswith("registry.") else "docker"),
        target=target,
        spec=_spec_of(privilege, action),
        extra=(str(privilege),),
        insecure=privilege.form == "build.insecure",
    )
    return _ask(str(privilege), request, asker, book)


def about_spec(spec: Spec, asker: Asker, book: Book) -> Answer:
    """Say whether somebody may run this, as it is written."""
    target = asker.target
    if spec.image and spec.format != "dockerfile":
        digest = spec.image.partition("@")[2]
        target = msgspec.structs.replace(target, reference=target.reference or spec.image, digest=target.digest or digest)
    if spec.namespace and not target.namespace:
        target = msgspec.structs.replace(target, namespace=spec.namespace)
    if spec.labels:
        target = msgspec.structs.replace(target, labels={**spec.labels, **target.labels})
    request = Request(
        subject=asker.subject,
        action="run",
        point=asker.point or _POINTS[spec.format],
        target=target,
        spec=spec,
        argv=spec.command,
    )
    return _ask(spec.subject, request, asker, book)


def about_line(line: Line, spec: Spec | None, asker: Asker, book: Book) -> Answer:
    """Say whether somebody may give a command line to an engine; `spec` is that of its body."""
    target = asker.target
    if line.verb == "run":
        target = msgspec.structs.replace(target, reference=line.name, digest=target.digest or line.name.partition("@")[2])
    elif line.verb != "build" and not target.container:
        target = msgspec.structs.replace(target, container=line.name)
    request = Request(
        subject=asker.subject,
        action=line.verb,
        point=asker.point or "docker",
        target=target,
        spec=spec,
        argv=line.command,
        write=line.write,
        insecure=line.insecure,
    )
    return _ask(f"{line.verb} {line.name}", request, asker, book)


def _ask(name: str, request: Request, asker: Asker, book: Book) -> Answer:
    if asker.subject.provider == "claimed" and asker.point is None:
        request = msgspec.structs.replace(request, point="prompt")  # no gate believes the name; the question may be asked
    return Answer(name, request, decide(request, book.policy, book.grants, book.now))


def _spec_of(privilege: Privilege, action: Action) -> Spec | None:
    """Return a Spec that needs the privilege and nothing else, so that rules about it are asked, too."""
    if action in ("attach", "copy", "build", "engine", "token", "impersonate", "push", "delete"):
        return None
    spec = Spec(format="docker-create", subject=str(privilege), place=HERE, user=_NOBODY, uid=int(_NOBODY))
    make = _MAKERS.get(privilege.form)
    return make(spec, privilege) if make is not None else spec


def _root(spec: Spec, _: Privilege) -> Spec:
    return msgspec.structs.replace(spec, user="0", uid=0)


def _privileged(spec: Spec, _: Privilege) -> Spec:
    return msgspec.structs.replace(spec, privileged=True)


def _capability(spec: Spec, privilege: Privilege) -> Spec:
    return msgspec.structs.replace(spec, capabilities_add=(privilege.argument,))


def _namespace(spec: Spec, privilege: Privilege) -> Spec:
    return msgspec.structs.replace(spec, host_namespaces=(privilege.argument,))


def _mount(spec: Spec, privilege: Privilege) -> Spec:
    if is_pattern(privilege.argument):
        return spec
    source = plain(privilege.argument)
    mount = Mount(kind="bind", source=source, target="/mnt", read_only=privilege.access == "ro", place=HERE)
    return msgspec.structs.replace(spec, mounts=(mount,))


def _device(spec: Spec, privilege: Privilege) -> Spec:
    if is_pattern(privilege.argument):
        return spec
    return msgspec.structs.replace(spec, devices=(Device(plain(privilege.argument), HERE),))


def _port(spec: Spec, privilege: Privilege) -> Spec:
    if not privilege.argument.isdecimal():
        return spec
    return msgspec.structs.replace(spec, ports=(Port(container="", host=int(privilege.argument), place=HERE),))


_MAKERS: dict[str, Callable[[Spec, Privilege], Spec]] = {
    "run.root": _root, "exec.root": _root, "run.privileged": _privileged, "exec.privileged": _privileged, "run.cap": _capability,
    "run.hostns": _namespace, "run.mount": _mount, "run.device": _device, "run.hostport": _port,
}  # fmt: skip


# Where it stands in a file


def place_of(spec: Spec, denial: Denial) -> Place:
    """Return where the key stands that needs what was denied, or where its container does."""
    _, _, text = denial.rule.partition("privilege ")
    wanted = privileges.parse(text) if text else None
    attribute = denial.path.removeprefix("spec.")
    if wanted is not None and attribute == "mounts":
        return next((one.place for one in spec.mounts if _is_of(one, wanted)), spec.place)
    if wanted is not None and attribute == "devices":
        return next((one.place for one in spec.devices if privileges.device(one.path) == wanted), spec.place)
    if wanted is not None and attribute == "ports":
        return next((one.place for one in spec.ports if str(one.host) == wanted.argument), spec.place)
    if wanted is not None and attribute == "host_namespaces":
        return spec.at(f"host_{wanted.argument}")
    if attribute == "mounts":
        return spec.mounts[0].place if spec.mounts else spec.place
    return spec.at(attribute)


def _is_of(mount: Mount, wanted: Privilege) -> bool:
    if wanted.form == "run.propagation":
        return mount.propagation.lower() in ("shared", "rshared", "bidirectional")
    return mount.kind == "bind" and privileges.mount(mount.source, read_only=mount.read_only) == wanted


def findings(path: str, answers: Iterable[tuple[Spec, Answer]]) -> list[Finding]:
    """Return one finding a thing that would be denied, with the line of the key that asks for it and the command to request it.

    `path` is the file, "" for what has no lines. The fingerprint leaves the line out, so that it is stable as a file grows.
    """
    found: list[Finding] = []
    for spec, answer in answers:
        for denial in answer.decision.reasons:
            place = place_of(spec, denial)
            located = FindingLocation(path=path, line=place.line, column=place.column) if path else None
            found.append(_finding(spec, denial, located))
    return found


def _finding(spec: Spec, denial: Denial, location: FindingLocation | None) -> Finding:
    _, _, text = denial.rule.partition("privilege ")
    severity = _SEVERITIES[privileges.FORMS[privileges.parse(text).form].lifetime] if text else Severity.HIGH
    title = f"needs {text}, which is not granted" if text else f"the rule {denial.rule} denies it"
    help_ = f"; request it: {denial.request}" if denial.request else ""
    return Finding(
        kind="misconfiguration",
        id=ID,
        title=title,
        severity=severity,
        fingerprint=fingerprint(spec.subject, denial.rule),
        message=f"{spec.subject}: {denial.text}{help_}",
        location=location,
    )


def fingerprint(subject: str, rule: str) -> str:
    """Return what tells one finding from another: whose container, and what is denied."""
    return hashlib.sha256(f"{ID}\0{subject}\0{rule}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
