"""Checks of Dockerfiles: where what is in the image comes from, and whether anybody could have changed it on the way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pratique.lint.build import Build, Run, hit
from pratique.lint.hit import Hit
from pratique.lint.shell import Command
from pratique.workload.dockerfile.instructions import Instruction
from pratique.workload.place import Place

_INTERPRETERS = re.compile(r"(?:ba|da|a|k|z|fi|c|tc)?sh|python[0-9.]*|perl|ruby|node|php[0-9.]*|pwsh")
_FETCHERS = frozenset(("curl", "wget", "aria2c", "fetch"))
_ARCHIVE = re.compile(r"\.(?:tar|tgz|tbz2?|txz|tar\.[a-z0-9]+|t?gz|bz2|xz|zst)$", re.IGNORECASE)
_OPEN_END = re.compile(r"[*?\]][^./]*$")  # what only the build knows may be an archive
_REMOTE = re.compile(r"https?://|ftp://|git@|git://", re.IGNORECASE)
_COMMIT = re.compile(r"#[0-9a-f]{40}(?:[0-9a-f]{24})?(?::|$)")
_EXPRESSION = re.compile(r"(?<![\w.-])(?:iex|Invoke-Expression)(?![\w-])", re.IGNORECASE)
_DOWNLOAD = re.compile(
    r"\.DownloadString\(|(?<![\w.-])(?:iwr|irm|curl|wget|Invoke-(?:WebRequest|RestMethod))(?![\w-])", re.IGNORECASE
)
UNCHECKED = {
    "curl": ("-k", "--insecure", "--proxy-insecure"),
    "wget": ("--no-check-certificate",),
    "pip": ("--trusted-host",),
    "pip3": ("--trusted-host",),
}
_SWITCHES = {
    "NODE_TLS_REJECT_UNAUTHORIZED": ("0",),
    "PYTHONHTTPSVERIFY": ("0",),
    "GIT_SSL_NO_VERIFY": ("1", "true"),
    "NPM_CONFIG_STRICT_SSL": ("false",),
    "GOINSECURE": ("*",),
    "GONOSUMDB": ("*",),
    "GOFLAGS": ("-insecure",),
    "PIP_TRUSTED_HOST": ("*",),
}


def bases(build: Build) -> Iterator[tuple[Instruction, Place | None, str]]:
    """Yield the images that are pulled, as far as the file itself decides: bases that are no stage, and what is copied from."""
    for stage in build.stages:
        if stage.parent < 0 and stage.base.known and stage.base.text and stage.base.text.lower() != "scratch":
            yield stage.start, stage.image.place if stage.image else None, stage.base.text
    names = {stage.name for stage in build.stages}
    for _, _, instruction in build.steps("COPY", "ADD"):
        for flag in instruction.flags:
            source = flag.value or ""
            if flag.name == "from" and source and source.lower() not in names and not source.isdecimal() and "$" not in source:
                yield instruction, flag.place, source


def tag_of(image: str) -> str:
    """Return the tag of a reference, "" without one."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def base_tag(build: Build) -> Iterator[Hit]:
    """The base has no tag, or one that moves with every release."""
    for instruction, place, image in bases(build):
        if "@" not in image and tag_of(image) in ("", "latest"):
            what = "latest" if tag_of(image) else "no tag, which is latest"
            yield hit(instruction, f"image {image}: {what}", place)


def base_digest(build: Build) -> Iterator[Hit]:
    """The base has a tag, but no digest."""
    for instruction, place, image in bases(build):
        if "@sha256:" not in image and tag_of(image) not in ("", "latest"):
            yield hit(instruction, f"image {image} is not pinned to a digest", place)


def pipe_to_shell(build: Build) -> Iterator[Hit]:
    """What the network answers is run without being looked at."""
    for run in build.runs:
        yield from _invoked(run)
        for number, command in enumerate(run.commands):
            if not _interprets(command):
                continue
            source = _source(run, number)
            if source is not None:
                message = f"what {source.name} fetches is run by {command.name} unseen"
                yield hit(run.instruction, message, source.program[0].place)


def _invoked(run: Run) -> Iterator[Hit]:
    """PowerShell's way to do it, which is no pipe that a shell of Unix would know."""
    text = run.instruction.rest.text
    found = _EXPRESSION.search(text)
    if found is not None and _DOWNLOAD.search(text):
        yield hit(run.instruction, f"what is fetched is run by {found[0]} unseen", run.instruction.rest.at(found.start()))


def pipefail(build: Build) -> Iterator[Hit]:
    """What a transfer that broke off has left is used: a pipe is as good as its last command."""
    for run in build.runs:
        if "pipefail" in " ".join(run.step.shell) or any("pipefail" in word for item in run.commands for word in item.arguments):
            continue
        for command in run.commands:
            source = run.commands[command.piped_from] if command.piped_from >= 0 else None
            if source is not None and source.name in _FETCHERS and not _interprets(command):
                message = f"where {source.name} fails, {command.name or 'the next command'} goes on with what it has got"
                yield hit(run.instruction, message, source.program[0].place)


def _interprets(command: Command) -> bool:
    name = (command.elevated or command).name
    return _INTERPRETERS.fullmatch(name) is not None or name in ("eval", "source", ".")


def _source(run: Run, number: int) -> Command | None:
    """Return the command that fetches what this one reads by a pipe, or in its words by a substitution."""
    at = run.commands[number].piped_from
    while at >= 0:
        fetcher = run.commands[at].elevated or run.commands[at]
        if fetcher.name in _FETCHERS:
            return fetcher
        at = run.commands[at].piped_from
    return next((other for other in run.commands if other.inside == number and other.name in _FETCHERS), None)


def add_remote(build: Build) -> Iterator[Hit]:
    """ADD fetches from the network, and nothing says what must come."""
    for _, _, instruction in build.steps("ADD"):
        if instruction.flag("checksum"):
            continue
        for word in instruction.words[:-1]:
            if _REMOTE.match(word.text) and not _COMMIT.search(word.text):
                yield hit(instruction, f"ADD fetches {_bare(word.text)} without --checksum", word.place)


def _bare(address: str) -> str:
    """Take a login out of an address."""
    return re.sub(r"//[^/@]*@", "//", address)[:120]


def add_local(build: Build) -> Iterator[Hit]:
    """ADD where COPY does, which neither fetches nor unpacks."""
    for _, _, instruction in build.steps("ADD"):
        sources = [word.text for word in instruction.words[:-1]]
        plain = [
            text
            for text in sources
            if not (
                _REMOTE.match(text) or _ARCHIVE.search(text) or _OPEN_END.search(text) or "<<" in text or text.endswith(".git")
            )
        ]
        if sources and len(plain) == len(sources):
            yield hit(instruction, f"ADD of local files ({plain[0][:80]}): COPY does this and nothing else")


def maintainer(build: Build) -> Iterator[Hit]:
    """An instruction that builders will forget."""
    for _, _, instruction in build.steps("MAINTAINER"):
        yield hit(instruction, "MAINTAINER is deprecated: a label says the same")


def certificates(build: Build) -> Iterator[Hit]:
    """Certificates are not checked, so that anybody on the way can answer."""
    for run, command in build.invocations():
        for option in UNCHECKED.get(command.name, ()):
            if command.has(option):
                yield hit(run.instruction, f"{command.name} {option} checks no certificate", command.program[0].place)
        text = " ".join(command.arguments).lower()
        if command.name in ("npm", "yarn", "pnpm") and re.search(r"strict-ssl[ =]false", text):
            yield hit(run.instruction, f"{command.name} strict-ssl false checks no certificate", command.program[0].place)
        if command.name == "git" and re.search(r"sslverify[ =](?:false|0)", text):
            yield hit(run.instruction, "git http.sslVerify false checks no certificate", command.program[0].place)
        for word in command.assignments:
            if _switched(*word.text.split("=", 1)):
                yield hit(run.instruction, f"{word.text} checks no certificate", word.place)
    for _, _, instruction in build.steps("ENV", "ARG"):
        for name, value in instruction.pairs:
            if value is not None and _switched(name.text, value.text.strip("'\"")):
                yield hit(instruction, f"{name.text}={value.text} checks no certificate", name.place)


def _switched(name: str, value: str) -> bool:
    return value.strip("'\"").lower() in _SWITCHES.get(name.upper(), ())


CHECKS: dict[str, Callable[[Build], Iterator[Hit]]] = {
    "df-base-tag": base_tag,
    "df-base-digest": base_digest,
    "df-pipe-to-shell": pipe_to_shell,
    "df-pipefail": pipefail,
    "df-add-remote": add_remote,
    "df-add-local": add_local,
    "df-maintainer": maintainer,
    "df-certificate-checks": certificates,
}
