"""Options about a store in, an open one out; grants in, what people and programs read out. For grant, break-glass and audit."""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.options import F, duration, setting
from pratique.model.errors import UsageError
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.report.text import safe

if TYPE_CHECKING:
    from pratique.granting.approvers import Act
    from pratique.granting.desk import Desk
    from pratique.granting.remote import RemoteDesk
    from pratique.store.place import Place

STORE = setting(
    "--store", metavar="DIR|unix:SOCKET", help="The store (default: $XDG_STATE_HOME/pratique, else this machine's desk)."
)
FOLDER = setting("--store", metavar="DIR", help="The store of grants and ledger (default: $XDG_STATE_HOME/pratique).")
KEY = setting("--key", metavar="FILE", help="Sign with this Ed25519 key, PEM or OpenSSH, so that you are known with strength 2.")
_DESK = "/run/pratique/desk.sock"  # as pratique.granting.wire has it, which start-up does not import
FORMAT = setting(
    "-f", "--format", type=click.Choice(["table", "json"], case_sensitive=False), default="table", help="table or json."
)
DEBUG = setting("--debug", is_flag=True, help="Show where an error came from.")
AS = click.option("--as", "name", metavar="NAME", help="A claimed identity: recorded as claimed, honoured by no gate.")

_HASHED = re.compile(r"sha256:[0-9a-f]{64}")
_ASKING = (
    click.option("--privilege", "-p", multiple=True, required=True, metavar="P", help="What for, such as exec.root; repeatable."),
    click.option("--task", required=True, metavar="ID", help="The task that needs it."),
    click.option("--ticket", default="", metavar="ID", help="The ticket of the task, where a policy asks for one."),
    click.option("--reason", required=True, metavar="TEXT", help="Why, in a sentence."),
    click.option("--for", "lifetime", required=True, metavar="DURATION", help="How long, such as 30m; from approval on."),
    click.option("--image", multiple=True, metavar="NAME@DIGEST", help="Only containers of this image; a tag is looked up now."),
    click.option("--container", default="", metavar="ID", help="Only this container: its full id, or NAMESPACE/POD/CONTAINER."),
    click.option("--namespace", multiple=True, metavar="GLOB", help="Only in these namespaces; repeatable."),
    click.option("--cluster", multiple=True, metavar="GLOB", help="Only in these clusters; repeatable."),
    click.option("--host", multiple=True, metavar="GLOB", help="Only on these hosts; repeatable."),
    click.option("--label", multiple=True, metavar="NAME=VALUE", help="Only containers with this label; repeatable."),
    click.option(
        "--point",
        multiple=True,
        type=click.Choice(["docker", "podman", "runtime", "kubernetes", "registry", "ci"]),
        help="Only at these gates; repeatable.",
    ),
    click.option(
        "--argv",
        default="",
        metavar="COMMAND",
        help="Only this command, in words as a shell splits them; or sha256:HEX of the words joined by NUL.",
    ),
    click.option("--argv-prefix", is_flag=True, help="The command may have further words."),
    click.option("--uid", type=click.IntRange(0), default=0, help="No uid below this one."),
    click.option("--capability", multiple=True, metavar="CAP", help="No capabilities but these; repeatable."),
    click.option("--uses", type=click.IntRange(0), default=1, help="How often; 0 is without limit (default 1)."),
    click.option("--idle", default="0s", metavar="DURATION", help="End it when it is not used for so long."),
    setting("--offline", is_flag=True, help="Make no connection at all."),
    setting("--insecure-registry", multiple=True, metavar="HOST", help="This registry may speak plain HTTP."),
)


def asking(function: F) -> F:
    """Give a command the options that say what is asked for."""
    for add in reversed(_ASKING):
        function = add(function)
    return function


def asked(given: dict[str, Any], subject: Subject) -> Asked:
    """Read what is asked for. Raises UsageError."""
    from pratique.granting.images import by_digest  # noqa: PLC0415 - start-up stays lazy

    insecure = given["insecure_registry"]
    images = tuple(by_digest(image, offline=given["offline"], insecure=insecure) for image in given["image"])
    scope = Scope(
        points=given["point"],
        hosts=given["host"],
        clusters=given["cluster"],
        namespaces=given["namespace"],
        container=given["container"],
        labels=dict(label(text) for text in given["label"]),
        images=images,
        argv=_words(given["argv"]),
        argv_match="sha256" if _HASHED.fullmatch(given["argv"]) else "prefix" if given["argv_prefix"] else "exact",
        uid=given["uid"],
        capabilities=given["capability"] or None,
    )
    return Asked(
        subject=subject,
        task=Task(id=given["task"], ticket=given["ticket"], purpose=given["reason"]),
        privileges=given["privilege"],
        scope=scope,
        lifetime=float(duration(given["lifetime"])),
        uses=given["uses"],
        idle=float(duration(given["idle"])),
    )


def label(text: str) -> tuple[str, str]:
    """Read NAME=VALUE. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--label {text!r} is no label", hint="NAME=VALUE")
    return name, value


def _words(text: str) -> tuple[str, ...]:
    import shlex  # noqa: PLC0415 - start-up stays lazy

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--argv {text!r}: {error}") from None


def place(given: dict[str, Any], *, create: bool) -> Place:
    """Return the store that is meant. Raises StoreError, UsageError."""
    from pratique.store.place import open_place  # noqa: PLC0415 - start-up stays lazy

    return open_place(given["store"], create=create)


def desk(given: dict[str, Any], *, create: bool = False) -> Desk | RemoteDesk:
    """Open the store that is meant, or the desk of whoever owns it. Raises StoreError, UsageError."""
    socket = _socket(given["store"])
    if socket is not None:
        from pratique.granting.remote import Key, RemoteDesk  # noqa: PLC0415 - start-up stays lazy

        return RemoteDesk(socket, Key(Path(given["key"]), _passphrase) if given.get("key") else None)
    from pratique.granting.desk import Desk  # noqa: PLC0415 - start-up stays lazy

    return Desk(place(given, create=create))


def _socket(store: str | None) -> Path | None:
    """Return the socket of a desk: where one is named, or where this user has no store, or may not read it, and there is one."""
    from pratique._kit.folders import default_store_dir  # noqa: PLC0415 - start-up stays lazy

    if store and store.startswith("unix:"):
        return Path(store.removeprefix("unix:").removeprefix("//"))
    folder, socket = Path(store) if store else default_store_dir(), Path(_DESK)
    if os.geteuid() == 0 or not socket.is_socket():
        return None
    if not store:
        return socket if not folder.exists() else None
    return socket if folder.exists() and not os.access(folder, os.R_OK | os.X_OK) else None


def signed_by(at: Desk | RemoteDesk, given: dict[str, Any], act: Act, name: str, by: Subject) -> Subject:
    """Return who somebody is known as by their key, in a store of this process; a desk asks for the signature itself."""
    from pratique.granting.remote import RemoteDesk  # noqa: PLC0415 - start-up stays lazy

    if not given["key"] or isinstance(at, RemoteDesk):
        return by
    from pratique.granting.approvers import Approvers, Signed, sign  # noqa: PLC0415 - as above

    grant = at.store.get(name).grant
    said = Signed(act=act, grant=grant.id, request=grant.request, at=at.now().wall)
    return Approvers(at).strengthened(by, sign(Path(given["key"]), said, _passphrase))


def signed_asker(at: Desk | RemoteDesk, given: dict[str, Any], wanted: Asked) -> Asked:
    """Return what is asked for by whom their key makes of who asks, as `signed_by` does."""
    from pratique.granting.remote import RemoteDesk  # noqa: PLC0415 - start-up stays lazy

    if not given["key"] or isinstance(at, RemoteDesk):
        return wanted
    from pratique.grant.asking import request_hash  # noqa: PLC0415 - as above
    from pratique.granting.approvers import Approvers, Signed, sign  # noqa: PLC0415

    said = Signed(act="break-glass", grant="", request=request_hash(wanted), at=at.now().wall)
    by = Approvers(at).strengthened(wanted.subject, sign(Path(given["key"]), said, _passphrase))
    return msgspec.structs.replace(wanted, subject=by)


def _passphrase() -> str:
    return str(click.prompt("Passphrase of the key", hide_input=True, err=True))


def subject_of(name: str | None) -> Subject:
    """Return who gives the command: whom the kernel knows, or who is claimed."""
    from pratique.granting.who import claimed, this_user  # noqa: PLC0415 - start-up stays lazy

    return claimed(name) if name is not None else this_user()


def time_of(text: str | None) -> str:
    """Read a time, RFC 3339 or so long ago (24h), as the ledger writes it; "" for none. Raises UsageError."""
    from pratique.cli.target import moment  # noqa: PLC0415 - start-up stays lazy
    from pratique.store.line import stamp  # noqa: PLC0415

    if not text:
        return ""
    if text[-1:].isalpha() and text[:-1].isdigit():
        return stamp(dt.datetime.now(dt.UTC).timestamp() - duration(text))
    return stamp(dt.datetime.fromisoformat(moment(text)).timestamp())


def when(seconds: float) -> str:
    """Write seconds since the epoch as RFC 3339, to the second; "" for 0."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def print_json(document: Any) -> None:
    """Print a document."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def as_document(grant: Grant) -> dict[str, Any]:
    """Return what programs read of a grant."""
    wanted = grant.asked
    scope = {name: value for name, value in msgspec.to_builtins(wanted.scope).items() if value}
    if not wanted.scope.argv:
        scope.pop("argv_match", None)
    return {
        "id": grant.id,
        "state": grant.state,
        "subject": _who(wanted.subject),
        "privileges": list(wanted.privileges),
        "task": {"id": wanted.task.id, "ticket": wanted.task.ticket, "reason": wanted.task.purpose},
        "scope": scope,
        "seconds": wanted.lifetime,
        "uses": wanted.uses,
        "used": grant.used,
        "idle": wanted.idle,
        "break_glass": wanted.break_glass,
        "entitlement": wanted.entitlement,
        "policy": wanted.policy,
        "request": grant.request,
        "requested_at": when(grant.requested_at),
        "approvals": [
            {"by": _who(one.by), "at": when(one.at), "reason": one.reason, "request": one.request} for one in grant.approvals
        ],
        "active_from": when(grant.activated_at),
        "expires_at": when(grant.expires_at),
        "last_used_at": when(grant.last_used_at),
        "ended_at": when(grant.ended_at),
        "ended_by": grant.ended_by,
        "why": grant.why,
    }


def _who(subject: Subject) -> dict[str, Any]:
    return {"id": subject.id, "provider": subject.provider, "strength": subject.strength, "kind": subject.kind}


def name_of(subject: Subject) -> str:
    """Name a person for people; a claim is called one."""
    return f"{subject.id} (claimed)" if subject.provider == "claimed" else f"{subject.provider}:{subject.id}"


def print_grant(grant: Grant) -> None:
    """Print what people read of a grant, two columns."""
    wanted = grant.asked
    rows = [
        ("state", grant.state + (f": {grant.why}" if grant.why else "")),
        ("for", name_of(wanted.subject)),
        ("privileges", ", ".join(wanted.privileges)),
        ("task", wanted.task.id + (f", ticket {wanted.task.ticket}" if wanted.task.ticket else "")),
        ("reason", wanted.task.purpose),
        ("only", ", ".join(scope_of(wanted.scope))),
        ("lasts", lasts(wanted.lifetime) + (f", ends when not used for {lasts(wanted.idle)}" if wanted.idle else "")),
        ("uses", f"{grant.used} of {wanted.uses or 'any number'}"),
        ("entitled by", wanted.entitlement),
        ("requested", when(grant.requested_at)),
        *(
            (
                "reviewed" if wanted.break_glass else "approved",
                f"{when(one.at)} by {name_of(one.by)}" + (f": {one.reason}" if one.reason else ""),
            )
            for one in grant.approvals
        ),
        ("review", "awaited: pratique break-glass review " + grant.id if is_unreviewed(grant) else ""),
        ("active", when(grant.activated_at)),
        ("until", when(grant.expires_at)),
        ("ended", when(grant.ended_at) + (f" by {grant.ended_by}" if grant.ended_by else "")),
        ("request", grant.request),
    ]
    click.echo(safe(grant.id))
    for name, text in rows:
        if text:
            click.echo(f"  {name:<12} {safe(text)}")


def is_unreviewed(grant: Grant) -> bool:
    """Say whether somebody broke the glass and nobody has looked at it yet."""
    return grant.asked.break_glass and bool(grant.activated_at) and not grant.approvals


def scope_of(scope: Scope) -> list[str]:
    """Say in words where a grant holds."""
    plain = msgspec.to_builtins(scope)
    found = [
        f"{name} {' '.join(value) if isinstance(value, (list, tuple)) else value}"
        for name in ("points", "hosts", "clusters", "namespaces", "container", "images", "argv")
        if (value := plain[name])
    ]
    found += [f"label {name}={value}" for name, value in scope.labels.items()]
    if scope.uid:
        found.append(f"uid {scope.uid} and above")
    if scope.capabilities is not None:
        found.append(f"capabilities {' '.join(scope.capabilities)}")
    return found


def lasts(seconds: float) -> str:
    """Write a duration as people do."""
    from pratique.grant.asking import lasts as words  # noqa: PLC0415 - start-up stays lazy

    return words(seconds)
