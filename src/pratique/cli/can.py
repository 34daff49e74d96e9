"""`pratique can`: what somebody wants to do in; whether they may now, and if not the command that asks for it, out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.options import setting
from pratique.cli.store import DEBUG, FORMAT, STORE, lasts, name_of, print_json, subject_of, when
from pratique.cli.target import HELP
from pratique.model.errors import ParseError, StoreError, UsageError
from pratique.model.privilege import CERTIFICATE, PEER, Provider, Subject
from pratique.report.text import safe

if TYPE_CHECKING:
    from pratique.grant.prompt import Answer, Asker, Book
    from pratique.workload.spec import Spec

_PROGRAMS = ("docker", "podman", "nerdctl")
_PROVIDERS: tuple[Provider, ...] = ("unix", "tls", "oidc", "k8s", "claimed")
_POINTS = ("docker", "podman", "runtime", "kubernetes", "registry", "ci")
_NAME = re.compile(r"(?![0-9a-f]{64})[A-Za-z0-9][A-Za-z0-9_.-]*")  # as engines have them; with it nothing can be smuggled in
_MAX_FILE = 8 << 20  # bytes, as lint reads


class _Line(click.Command):
    """A command whose words after docker, podman or nerdctl are that program's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = next((number for number, word in enumerate(args) if word in _PROGRAMS), -1)
        if at >= 0 and "--" not in args[:at]:
            args = [*args[:at], "--", *args[at:]]
        return super().parse_args(ctx, args)


@click.command(cls=_Line, short_help="Say what you may do now, and how to ask for the rest.", context_settings=HELP)
@click.argument("what", nargs=-1, metavar="[WHAT...]")
@setting("--policy", multiple=True, metavar="FILE", help="Ask this privilege policy instead of the store's; repeatable.")
@click.option(
    "--as", "name", metavar="SUBJECT", help="Ask for somebody else: NAME (a claim), or PROVIDER:NAME as a gate sees them."
)
@click.option(
    "--group",
    multiple=True,
    metavar="NAME",
    help="With --as: they are in this group (default for unix: as this machine knows); repeatable.",
)
@click.option(
    "--strength", type=click.IntRange(0, 3), help="With --as: how surely a gate knows them (default 1 for unix, else 2)."
)
@click.option("--container", default="", metavar="ID", help="About this container: its full id, or NAMESPACE/POD/CONTAINER.")
@click.option("--namespace", default="", metavar="NAME", help="In this namespace.")
@click.option("--cluster", default="", metavar="NAME", help="In this cluster.")
@click.option("--host", default="", metavar="NAME", help="On this host.")
@click.option("--label", multiple=True, metavar="NAME=VALUE", help="The container has this label; repeatable.")
@click.option("--point", type=click.Choice(_POINTS), help="At this gate (default: told from WHAT).")
@click.option("--task", default="", metavar="ID", help="Put this task into the command.")
@click.option("--ticket", default="", metavar="ID", help="Put this ticket into the command.")
@click.option("--reason", default="", metavar="TEXT", help="Put this reason into the command.")
@FORMAT
@STORE
@DEBUG
def command(what: tuple[str, ...], **given: Any) -> int:
    """Say whether you may do something now, by the policy and the grants of the store; and if not, how to ask for it.

    \b
    WHAT is one of:
      PRIVILEGE [IMAGE]        exec.root, run.cap:NET_ADMIN, run.mount:/srv/data:ro, ...
      FILE...                  a Dockerfile, Compose file, manifest, or JSON of docker inspect or config.json
      docker run OPTIONS ...   a line of docker, podman or nerdctl: run, create, exec, attach, cp, build
      nothing                  all that you may ask for

    It asks nobody and changes nothing. A gate knows more than the prompt: which digest a tag is, whose container it is.

    Exit codes: 0 you may, 1 you may not, 2 bad usage, 3 could not tell: a file that is none, or parts of it are in other files.
    """  # noqa: D301 - click's own mark for a paragraph that stays as it is
    asker, book = _asker(given), _book(given)
    if not what:
        return _overview(asker, book, given)
    given["unread"] = []
    answers = _answers(what, asker, book, given["unread"])
    for note in given["unread"]:
        click.echo(safe(f"pratique: {note}"), err=True)
    given["program"] = next((word for word in what[0].split() if word in _PROGRAMS), "docker")
    if not answers:
        raise ParseError(f"{what[0]}: nothing in it asks to run")
    if given["format"].lower() == "json":
        documents = [_document(spec, answer, given, book) for spec, answer in answers]
        print_json({"allowed": all(answer.decision.allowed for _, answer in answers), "answers": documents})
    else:
        _say(answers, asker, given, book)
    if not all(answer.decision.allowed for _, answer in answers):
        return 1
    return 3 if given["unread"] else 0


def _asker(given: dict[str, Any]) -> Asker:
    from pratique.cli.store import label  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.prompt import Asker  # noqa: PLC0415
    from pratique.grant.request import Target  # noqa: PLC0415

    labels = dict(label(text) for text in given["label"])
    target = Target(
        host=given["host"],
        cluster=given["cluster"],
        namespace=given["namespace"],
        container=given["container"],
        labels=labels,
    )
    return Asker(_subject(given), target, given["point"])


def _subject(given: dict[str, Any]) -> Subject:
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


def _book(given: dict[str, Any]) -> Book:
    """Return the policy and the grants; without a store there are the built-in limits and no grant."""
    from pratique.grant.index import GrantIndex  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.policy import builtin, combine, load  # noqa: PLC0415
    from pratique.grant.prompt import Book  # noqa: PLC0415
    from pratique.granting.clock import present  # noqa: PLC0415
    from pratique.policyfiles import read_bounded  # noqa: PLC0415

    policy = combine([load(file, read_bounded(Path(file))) for file in given["policy"]]) if given["policy"] else None
    try:
        found, grants = _stored(given)
    except StoreError:
        if given["store"] and not given["policy"]:
            raise
        found, grants = builtin(), []
    given["waiting"] = [grant for grant in grants if grant.state == "requested"]
    return Book(policy or found, GrantIndex(grants), present())


def _stored(given: dict[str, Any]) -> tuple[Any, list[Any]]:
    from pratique.cli.store import desk  # noqa: PLC0415 - start-up stays lazy
    from pratique.store.interface import Wanted  # noqa: PLC0415

    with desk(given) as at:
        return at.standing().policy, [kept.grant for kept in at.store.find(Wanted(subject=_subject(given).id))]


def _answers(what: Sequence[str], asker: Asker, book: Book, unread: list[str]) -> list[tuple[Spec | None, Answer]]:
    from pratique.grant import privileges, prompt  # noqa: PLC0415 - start-up stays lazy

    words = shlex.split(what[0]) if len(what) == 1 and " " in what[0] and not Path(what[0]).exists() else list(what)
    if words and words[0] in _PROGRAMS:
        return [_line(words, asker, book)]
    if words and (
        Path(words[0]).is_file() or words[0] == "-" or (words[0].startswith(("./", "/")) and not Path(words[0]).is_dir())
    ):
        return [(spec, prompt.about_spec(spec, asker, book)) for file in words for spec in _specs(file, unread)]
    if Path(words[0]).is_dir():
        raise UsageError(f"{words[0]} is a folder", hint=f"pratique lint --privileges POLICY {words[0]}")
    if words[0] in ("exec", "run", "attach", "cp", "build"):
        raise UsageError(f"{words[0]!r} is no privilege", hint=f"docker {' '.join(words)}, or a privilege such as exec.root")
    wanted = privileges.parse(words[0])
    if len(words) > 2:
        raise UsageError(f"one image at most: {' '.join(words[1:])}")
    if len(words) == 2:
        name, _, digest = words[1].partition("@") if not words[1].startswith("sha256:") else ("", "", words[1])
        asker = asker._replace(target=msgspec.structs.replace(asker.target, reference=name, digest=digest))
    return [(None, prompt.about_privilege(wanted, asker, book))]


def _line(words: list[str], asker: Asker, book: Book) -> tuple[Spec | None, Answer]:
    from pratique.grant import prompt  # noqa: PLC0415 - start-up stays lazy
    from pratique.workload import docker_create, docker_line  # noqa: PLC0415

    try:
        line = docker_line.parse(words, str(Path.cwd()))
    except UsageError as error:
        raise UsageError(
            error.message, hint=f"{error.hint}; options of pratique can come before {words[0]}".removeprefix("; ")
        ) from None
    spec = None
    if line.verb == "run":
        spec = docker_create.extract(line.body, subject=line.name)
    elif line.verb == "exec":
        spec = docker_create.extract_exec(line.body)
    return spec, prompt.about_line(line, spec, asker, book)


def _specs(file: str, unread: list[str]) -> list[Spec]:
    """Read a file; what of it stands in other files is added to `unread`."""
    from pratique.workload import read  # noqa: PLC0415 - start-up stays lazy

    try:
        with open(0, "rb", closefd=False) if file == "-" else Path(file).open("rb") as stream:
            content = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    if len(content) > _MAX_FILE:
        raise ParseError(f"{file}: larger than {_MAX_FILE} bytes")
    try:
        found = read.specs(file, content)
        unread += [f"{file}:{place.line}: {what} is in another file, which is not read" for place, what in read.unread(content)]
    except ParseError as error:
        raise ParseError(f"{file}: {error.message}") from None
    return found


# What is said


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
    if given["name"] is not None and _subject(given).provider == "claimed":
        words += ["--as", given["name"].removeprefix("claimed:")]
    if given["store"]:
        words += ["--store", given["store"]]
    return " ".join(map(shlex.quote, words)) + text


def _image(answer: Answer) -> str:
    """Return the image by its tag where a request should be narrowed to it: the command that asks looks the tag up."""
    target = answer.request.target
    return target.reference if answer.request.action in ("run", "exec") and not target.digest else ""


def _document(spec: Spec | None, answer: Answer, given: dict[str, Any], book: Book) -> dict[str, Any]:
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
            for name, until, left, uses in _held(answer, book)
        ],
        "obligations": [msgspec.to_builtins(one) for one in decision.obligations],
        "reasons": reasons,
        "waiting": _waiting(answer, given),
        "subject": answer.request.subject.id if answer.request.subject else "",
        "policy": decision.policy,
    }


def _held(answer: Answer, book: Book) -> list[tuple[str, str, int, int | None]]:
    """Return the grants that would be used: id, until when (seconds left), and how often they may be used still."""
    ends = [float(one.value) for one in answer.decision.obligations if one.kind == "kill_at"]
    found = []
    for name in answer.decision.grants:
        grant = book.grants.get(name)
        assert grant is not None  # the decision took it from there
        until = min([*ends, grant.expires_at or float("inf")])
        uses = grant.asked.uses - grant.used if grant.asked.uses else None
        found.append((name, when(until), int(until - book.now.wall), uses))
    return found


def _say(answers: list[tuple[Spec | None, Answer]], asker: Asker, given: dict[str, Any], book: Book) -> None:
    for spec, answer in answers:
        allowed = answer.decision.allowed
        why = {"allow": "within the baseline", "allow_with_grant": "by a grant", "deny": "no"}[answer.decision.ruling]
        click.echo(
            safe(f"{'yes' if allowed else 'no'}: {answer.name} for {name_of(asker.subject)}" + (f", {why}" if allowed else ""))
        )
        for name, until, left, uses in _held(answer, book):
            often = "as often as you like" if uses is None else f"{uses} more use{'' if uses == 1 else 's'}"
            click.echo(safe(f"  {name} until {until} ({_about(left)} left), {often}"))
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
        if waiting := _waiting(answer, given):
            click.echo(safe(f"  asked for already: {', '.join(waiting)} (to be approved: pratique grant approve {waiting[0]})"))
            continue
        for line in dict.fromkeys(_fill(one.request, given, _image(answer)) for one in answer.decision.reasons if one.request):
            click.echo("  ask for it: " + safe(line))
    if asker.subject.provider == "claimed" and any(answer.decision.allowed for _, answer in answers):
        click.echo("note: a claimed name is honoured by no gate")


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


def _overview(asker: Asker, book: Book, given: dict[str, Any]) -> int:
    """Show the baseline, the grants that live, and what may be asked for."""
    subject = asker.subject
    parts = book.policy.parts_for(subject, asker.target)
    baseline = sorted({str(one) for part in parts for one in part.baseline.privileges})
    live = book.grants.live(subject)
    entitlements = [one for part in parts for one in part.entitlements]
    if given["format"].lower() == "json":
        print_json(
            {
                "subject": subject.id,
                "policy": book.policy.digest,
                "baseline": baseline,
                "grants": [
                    {"id": one.id, "privileges": list(one.asked.privileges), "until": when(one.expires_at)} for one in live
                ],
                "entitlements": [
                    {"id": one.id, "privileges": [str(p) for p in one.privileges], "seconds": one.max_ttl} for one in entitlements
                ],
            }
        )
        return 0
    click.echo(safe(f"{name_of(subject)}, by the policy {book.policy.name}"))
    click.echo(safe("  without asking: " + (", ".join(baseline) or "what needs no privilege")))
    for grant in live:
        click.echo(safe(f"  granted: {', '.join(grant.asked.privileges)} until {when(grant.expires_at)} ({grant.id})"))
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
