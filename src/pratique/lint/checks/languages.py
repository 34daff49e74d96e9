"""Checks of Dockerfiles: what is installed from the registries of languages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pratique.lint.build import Build, hit
from pratique.lint.hit import Hit
from pratique.lint.shell import Command, ShellWord

_PIP = frozenset(("-r", "--requirement", "-e", "--editable", "--require-hashes"))
_INSTALL = ("install",)
_NODE = ("install", "i", "add")
# Programs that install packages of a language: their verbs, and the options with which a file, or they, say which version.
_LANGUAGES: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "pip": (_INSTALL, _PIP),
    "pip3": (_INSTALL, _PIP),
    "npm": (_NODE, frozenset()),
    "pnpm": (_NODE, frozenset()),
    "yarn": (("add",), frozenset()),
    "gem": (_INSTALL, frozenset(("-v", "--version", "-g", "--file"))),
    "go": (("install", "get"), frozenset()),
    "cargo": (_INSTALL, frozenset(("--version", "--vers", "--path", "--rev", "--tag"))),
}
# Options whose value is the next word, so that it is no package.
_VALUED = frozenset(
    (
        "-i", "--index-url", "--extra-index-url", "-t", "--target", "--prefix", "--root", "-c", "--constraint", "--registry",
        "--cache-dir", "--cache", "-f", "--find-links", "--trusted-host", "--timeout", "--platform", "--python-version",
        "-ldflags", "-tags", "--features", "-F", "--git", "--branch", "--source", "-s", "--bindir", "-n", "--loglevel",
        "--proxy", "--retries",
    )
)  # fmt: skip
_LOCAL = (".", "/", "~", "$", "http://", "https://", "git+", "git@", "git:", "file:", "github:")


def language_version(build: Build) -> Iterator[Hit]:
    """What is installed from a language's registry is whatever somebody put there last."""
    reaching = _reaching(build)
    numbers = {id(step): stage.number for stage in build.stages for step in stage.steps}
    for run, command in build.invocations():
        name, words = _language(command)
        for word in words if numbers[id(run.step)] in reaching else ():
            if not _is_pinned(name, word.text):
                yield hit(run.instruction, f"{name} installs {word.text[:80]}, whatever its newest version is", word.place)


def _reaching(build: Build) -> frozenset[int]:
    """Return the stages of which something reaches the image: those it is built from, and those that these copy from."""
    named = {stage.name: stage.number for stage in build.stages if stage.name}
    sources = [(stage.number, (step.flag("from") or "").lower()) for stage, _, step in build.steps("COPY", "ADD")]
    found: set[int] = set()
    waiting = list(build.shipped)
    while waiting:
        number = waiting.pop()
        if number not in found and 0 <= number < len(build.stages):
            found.add(number)
            waiting.append(build.stages[number].parent)
            copied = (source for at, source in sources if at == number and source)
            waiting += [named.get(source, int(source) if source.isdecimal() and len(source) < 6 else -1) for source in copied]
    return frozenset(found)


def _language(command: Command) -> tuple[str, list[ShellWord]]:
    """Return the program and the packages that it is told by name to install; none where a file says which versions."""
    program = command.program
    if len(program) > 3 and command.name.startswith("python") and program[1].text == "-m":
        program = program[2:]
    name = program[0].text.rpartition("/")[2] if program else ""
    verbs, settled = _LANGUAGES.get(name, ((), frozenset()))
    words = _without_options(program[1:]) if verbs else []
    if name == "yarn" and words and words[0].text == "global":
        words = words[1:]
    if not words or words[0].text not in verbs or any(word.text.partition("=")[0] in settled for word in program):
        return name, []
    return name, words[1:]


def _without_options(program: Iterable[ShellWord]) -> list[ShellWord]:
    found, skip = [], False
    for word in program:
        if skip or word.text.startswith("-"):
            skip = not skip and word.text in _VALUED
        else:
            found.append(word)
    return found


def _is_pinned(name: str, text: str) -> bool:
    if not text or text.startswith(_LOCAL) or "$" in text or text.endswith((".whl", ".gz", ".tgz", ".gem", ".zip")):
        return True
    if name in ("npm", "pnpm", "yarn", "go", "cargo"):
        _, at, version = text.rpartition("@") if not text.startswith("@") else text[1:].rpartition("@")
        return bool(at) and version not in ("latest", "next", "master", "main")
    if name == "gem":
        return ":" in text
    return any(sign in text for sign in ("==", "===", "~=", " @ "))


CHECKS: dict[str, Callable[[Build], Iterator[Hit]]] = {"df-language-version": language_version}
