"""What `pratique can` found out in, how it is said out: lines for people, documents for programs, commands to be pasted."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.store import lasts, name_of, print_json, subject_of, when
from pratique.model.errors import UsageError
from pratique.model.privilege import CERTIFICATE, PEER, Provider, Subject
from pratique.report.text import safe

if TYPE_CHECKING:
    from pratique.grant.elsewhere import Elsewhere
    from pratique.grant.prompt import Answer, Asker, Book
    from pratique.model.privilege import Decision
    from pratique.workload.spec import Spec

_PROVIDERS: tuple[Provider, ...] = ("unix", "tls", "oidc", "k8s", "claimed")
_NAME = re.compile(r"(?![0-9a-f]{64})[A-Za-z0-9][A-Za-z0-9_.-]*")  # as engines have them; with it nothing can be smuggled in


def subject(given: dict[str, Any]) -> Subject:
    """Return who is meant: this user, a claimed name, or somebody as a gate would see them."""
    from pratique.granting.who import groups_of  # noqa: PLC0415 - start-up stays lazy

    name: str | None = given["name"]
    provider, colon, rest = (name or "").partition(":")
    if name is None:
        if given["group"]:
            raise UsageError("--group is for --as: your own groups are known")
        return subject_of(None)
    if colon and provider in _PROVIDERS and rest and provider != "claimed":
        groups = given["group"] or (groups_of(rest) if provider == "unix" else ())
        usual = PEER if provider == "unix" else CERTIFICATE
        strength = usual if given["strength"] is None else given["strength"]
        return Subject(id=rest, provider=provider, groups=groups, strength=strength)
    return msgspec.structs.replace(subject_of(name.removeprefix("claimed:")), groups=given["group"])


def _fill(text: str, given: dict[str, Any], request_image: str) -> str:
    """Return the command with what is known put into it: the store and the name that were given here, task, ticket, reason."""
    words = shlex.split(text)
    for option, value in (("--task", given["task"]), ("--reason", given["reason"]), ("--ticket", given["ticket"])):
        if value and option in words:
            words[words.index(option) + 1] = value
    if request_image and "--image" not in words and "--container" not in words:
        words += ["--image", request_image]
    text = ""
    if "--container" in words and _NAME.fullmatch(words[at := words.index("--container") + 1]):
        # names of containers move: the shell asks the engine which one it is, when the command is given
        text = f""" --container "$({given["program"]} inspect --format '{{{{.Id}}}}' {words[at]})\""""
        del words[at - 1 : at + 1]
    if given["name"] is not None and subject(given).provider == "claimed":
        words += ["--as", given["name"].removeprefix("claimed:")]
    if given["store"]:
        words += ["--store", given["store"]]
    return " ".join(map(shlex.quote, words)) + text


def _image(answer: Answer) -> str:
    """Return the image by its tag where a request should be narrowed to it: the command that asks looks the tag up."""
    target = answer.request.target
    return target.reference if answer.request.action in ("run", "exec") and not target.digest else ""


def document(spec: Spec | None, answer: Answer, given: dict[str, Any], book: Book) -> dict[str, Any]:
    """Return an answer as programs read it."""
    from pratique.grant.prompt import place_of  # noqa: PLC0415 - start-up stays lazy

    decision = answer.decision
    reasons = []
    for reason in decision.reasons:
        place = place_of(spec, reason) if spec is not None else None
        reasons.append(
            {
                "rule": reason.rule,
                "path": reason.path,
                "text": reason.text,
                "request": _fill(reason.request, given, _image(answer)) if reason.request else "",
                "line": place.line if place is not None else 0,
            }
        )
    return {
        "what": answer.name,
        "allowed": decision.allowed,
        "ruling": decision.ruling,
        "needed": list(decision.needed),
        "grants": [
            {"id": name, "until": until, "seconds_left": left, "uses_left": uses}
            for name, until, left, uses in _held(answer.decision, book)
        ],
        "obligations": [msgspec.to_builtins(one) for one in decision.obligations],
        "reasons": reasons,
        "elsewhere": _elsewhere_document(answer, given, book),
        "waiting": _waiting(answer, given),
        "subject": answer.request.subject.id if answer.request.subject else "",
        "policy": decision.policy,
    }


def _held(decision: Decision, book: Book) -> list[tuple[str, str, int, int | None]]:
    """Return the grants that would be used: id, until when (seconds left), and how often they may be used still."""
    ends = [float(one.value) for one in decision.obligations if one.kind == "kill_at"]
    found = []
    for name in decision.grants:
        grant = book.grants.get(name)
        assert grant is not None  # the decision took it from there
        until = min([*ends, grant.expires_at or float("inf")])
        uses = grant.asked.uses - grant.used if grant.asked.uses else None
        found.append((name, when(until), int(until - book.now.wall), uses))
    return found


def say(answers: list[tuple[Spec | None, Answer]], asker: Asker, given: dict[str, Any], book: Book) -> None:
    """Print answers as people read them."""
    for spec, answer in answers:
        allowed = answer.decision.allowed
        why = {"allow": "within the baseline", "allow_with_grant": "by a grant", "deny": "no"}[answer.decision.ruling]
        click.echo(
            safe(f"{'yes' if allowed else 'no'}: {answer.name} for {name_of(asker.subject)}" + (f", {why}" if allowed else ""))
        )
        for name, until, left, uses in _held(answer.decision, book):
            click.echo(safe(f"  {name} until {until} ({_about(left)} left), {_often(uses)}"))
        if (
            spec is not None
            and spec.format == "docker-create"
            and spec.uid
            and spec.gid is None
            and answer.request.action == "run"
        ):
            click.echo(
                safe(f"  note: with no group (-u {spec.user}:GROUP) it has group 0, unless the image knows user {spec.user}")
            )
        for reason in answer.decision.reasons:
            where = _where(spec, reason) if spec is not None else ""
            rule = "" if reason.rule.startswith("privilege ") else f" ({reason.rule})"
            click.echo(safe(f"  {where}{reason.text}{rule}"))
        _say_elsewhere(answer, given, book)
        if waiting := _waiting(answer, given):
            click.echo(safe(f"  asked for already: {', '.join(waiting)} (to be approved: pratique grant approve {waiting[0]})"))
            continue
        for line in dict.fromkeys(_fill(one.request, given, _image(answer)) for one in answer.decision.reasons if one.request):
            click.echo("  ask for it: " + safe(line))
    if asker.subject.provider == "claimed" and any(answer.decision.allowed for _, answer in answers):
        click.echo("note: a claimed name is honoured by no gate")


def _often(uses: int | None) -> str:
    return "as often as you like" if uses is None else f"{uses} more use{'' if uses == 1 else 's'}"


def _command_there(one: Elsewhere, answer: Answer, given: dict[str, Any]) -> str:
    """Return the question that gets a yes; "" for a file or a line of an engine, which names its place itself."""
    if not answer.request.extra:
        return ""
    words = ["pratique", "can", answer.name, *one.options]
    words += ["--as", given["name"]] if given["name"] is not None else []
    words += ["--store", given["store"]] if given["store"] else []
    return shlex.join(words)


def _elsewhere_document(answer: Answer, given: dict[str, Any], book: Book) -> list[dict[str, Any]]:
    from pratique.grant.elsewhere import elsewhere  # noqa: PLC0415 - start-up stays lazy

    found = []
    for one in elsewhere(answer, book):
        name, until, left, uses = next(held for held in _held(one.decision, book) if held[0] == one.grant.id)
        scope = one.grant.asked.scope
        found.append(
            {
                "id": name, "until": until, "seconds_left": left, "uses_left": uses, "where": one.where,
                "container": scope.container, "images": list(scope.images), "hosts": list(scope.hosts),
                "clusters": list(scope.clusters), "namespaces": list(scope.namespaces), "labels": scope.labels,
                "command": _command_there(one, answer, given),
            }
        )  # fmt: skip
    return found


def _say_elsewhere(answer: Answer, given: dict[str, Any], book: Book) -> None:
    for one in _elsewhere_document(answer, given, book):
        ends = f"until {one['until']} ({_about(one['seconds_left'])} left), {_often(one['uses_left'])}"
        click.echo(safe(f"  but you may for {one['where']}: {one['id']} {ends}"))
        if one["command"]:
            click.echo(safe(f"    see: {one['command']}"))


def _waiting(answer: Answer, given: dict[str, Any]) -> list[str]:
    """Return the requests that wait for approval and are for what is missing, here."""
    from pratique.grant import privileges  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.scopes import outside  # noqa: PLC0415

    if answer.decision.allowed or not all(reason.request for reason in answer.decision.reasons):
        return []
    needed = privileges.parse_all(answer.decision.needed)
    return [
        grant.id
        for grant in given["waiting"]
        if not outside(grant.asked.scope, answer.request)
        and all(privileges.covered(privileges.parse_all(grant.asked.privileges), one) for one in needed)
    ]


def _where(spec: Spec, reason: Any) -> str:
    from pratique.grant.prompt import place_of  # noqa: PLC0415 - start-up stays lazy

    place = place_of(spec, reason)
    return f"line {place.line}: " if spec.format in ("dockerfile", "compose", "kubernetes") and place.line else ""


def _about(seconds: int) -> str:
    return lasts(seconds - seconds % 60) if seconds >= 60 else f"{max(seconds, 0)}s"


def overview(asker: Asker, book: Book, given: dict[str, Any]) -> int:
    """Show the baseline, the grants that live, and what may be asked for."""
    from pratique.grant.asking import is_for  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.elsewhere import place_of_scope  # noqa: PLC0415 - as above

    who = asker.subject
    parts = book.policy.parts_for(who, asker.target)
    baseline = sorted({str(one) for part in parts for one in part.baseline.privileges})
    live = book.grants.live(who)
    entitlements = [one for part in parts for one in part.entitlements if is_for(one, who, book.now)]
    if given["format"].lower() == "json":
        print_json(
            {
                "subject": who.id,
                "policy": book.policy.digest,
                "baseline": baseline,
                "grants": [
                    {
                        "id": one.id,
                        "privileges": list(one.asked.privileges),
                        "until": when(one.expires_at),
                        "where": place_of_scope(one.asked.scope),
                    }
                    for one in live
                ],
                "entitlements": [
                    {"id": one.id, "privileges": [str(p) for p in one.privileges], "seconds": one.max_ttl} for one in entitlements
                ],
            }
        )
        return 0
    click.echo(safe(f"{name_of(who)}, by the policy {book.policy.name}"))
    click.echo(safe("  without asking: " + (", ".join(baseline) or "what needs no privilege")))
    for grant in live:
        where = f", for {place}" if (place := place_of_scope(grant.asked.scope)) else ""
        uses = f", {_often(grant.asked.uses - grant.used)}" if grant.asked.uses else ""
        until = f"until {when(grant.expires_at)}" if grant.expires_at else "from its first use on"
        click.echo(safe(f"  granted: {', '.join(grant.asked.privileges)} {until}{where}{uses} ({grant.id})"))
    for one in entitlements:
        terms = one.written.approvals
        how = "given at once" if not terms.count else "approved by " + (" or ".join(terms.whom) or "somebody else")
        names = "anything" if len(one.privileges) > 30 else ", ".join(map(str, one.privileges))
        more = ", with a ticket" if one.written.ticket.required else ""
        longest = f"at most {lasts(one.max_ttl)}" if one.max_ttl else "for 15m to 8h, by what it is"
        click.echo(safe(f"  may be asked for: {names} ({one.id}: {longest}{more}, {how})"))
    if not entitlements:
        click.echo("  nothing may be asked for")
    return 0
