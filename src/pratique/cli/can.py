"""`pratique can`: what somebody wants to do in; whether they may now, and if not the command that asks for it, out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pratique.cli.can_says import document, overview, say, subject
from pratique.cli.options import setting
from pratique.cli.store import DEBUG, FORMAT, STORE, print_json
from pratique.cli.target import HELP
from pratique.model.errors import ParseError, StoreError, UsageError
from pratique.report.text import safe

if TYPE_CHECKING:
    from pratique.grant.prompt import Answer, Asker, Book
    from pratique.workload.spec import Spec

_PROGRAMS = ("docker", "podman", "nerdctl")
_POINTS = ("docker", "podman", "runtime", "kubernetes", "registry", "ci")
_FILE = re.compile(r".*\.(?:ya?ml|json)|.*[Dd]ockerfile[^:]*|.*[Cc]ontainerfile[^:]*")  # no privilege is called so
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
        return overview(asker, book, given)
    given["unread"] = []
    answers = _answers(what, asker, book, given["unread"])
    for note in given["unread"]:
        click.echo(safe(f"pratique: {note}"), err=True)
    given["program"] = next((word for word in what[0].split() if word in _PROGRAMS), "docker")
    if not answers:
        raise ParseError(f"{what[0]}: nothing in it asks to run")
    if given["format"].lower() == "json":
        documents = [document(spec, answer, given, book) for spec, answer in answers]
        print_json({"allowed": all(answer.decision.allowed for _, answer in answers), "answers": documents})
    else:
        say(answers, asker, given, book)
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
    return Asker(subject(given), target, given["point"])


def _book(given: dict[str, Any]) -> Book:
    """Return the policy and the grants; without a store there are the built-in limits and no grant."""
    from pratique.grant.index import GrantIndex  # noqa: PLC0415 - start-up stays lazy
    from pratique.grant.policy import builtin, combine, load  # noqa: PLC0415
    from pratique.grant.prompt import Book  # noqa: PLC0415
    from pratique.granting.clock import present  # noqa: PLC0415
    from pratique.policyfiles import read_given  # noqa: PLC0415

    policy = combine([load(file, read_given(file)) for file in given["policy"]]) if given["policy"] else None
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
        return at.standing().policy, [kept.grant for kept in at.store.find(Wanted(subject=subject(given).id))]


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
    if _FILE.fullmatch(words[0]):
        raise UsageError(f"{words[0]}: there is no such file")
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
