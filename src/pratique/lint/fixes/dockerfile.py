"""A Dockerfile and what was found in it in, rewrites of its instructions out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from pratique.lint.build import Build, Run
from pratique.lint.checks.origins import UNCHECKED
from pratique.lint.checks.packages import APT, verb
from pratique.lint.fixes.edit import Edit, Fix
from pratique.lint.hit import Hit
from pratique.lint.regions import Lines
from pratique.lint.shell import Command, ShellWord
from pratique.workload.dockerfile.instructions import Instruction
from pratique.workload.place import Place
from pratique.workload.spec import is_root

# What COPY knows of ADD's flags: https://docs.docker.com/reference/dockerfile/#copy
_OF_COPY = frozenset(("chown", "chmod", "link", "exclude"))
# Sources that are certainly no archive, which ADD would unpack whatever its name: folders, and files whose names say what they
# are.
_PLAIN_SOURCE = re.compile(
    r"\.|.*/|[^*?\[$]*\.(?!(?:bin|img|dat|data|pack|layer|rootfs|lzma|tlz|z)$)[A-Za-z][A-Za-z0-9]{0,9}", re.IGNORECASE
)
_COMMENT = re.compile(r"(?:^|\s)#")
_OPEN = tuple("&|;({\\")  # a script that ends so goes on
_MODES = {
    "777": "755", "0777": "0755", "666": "644", "0666": "0644", "a+rwx": "u+rwx", "ugo+rwx": "u+rwx", "a+w": "u+w", "o+w": "u+w",
}  # fmt: skip
_NEEDS_LISTS = ("install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "source", "download")
_CLEANS = {"dnf": "dnf clean all", "yum": "yum clean all", "microdnf": "microdnf clean all"}
_CLEANS_TOO = {"zypper": "zypper clean --all", "tdnf": "tdnf clean all"}  # which may not fetch anew what they need


class Scene:
    """A Dockerfile in which things are looked up by where they begin."""

    def __init__(self, text: str, build: Build) -> None:
        self.text = text
        self.build = build
        self.lines = Lines(text)
        outer = build.dockerfile.instructions
        self.instructions = {item.place: item for top in outer for item in (top, top.inner) if item is not None}
        self.commands: dict[Place, tuple[Run, Command]] = {}
        self.words: dict[Place, tuple[Command, ShellWord]] = {}
        for run in build.runs:
            for command in run.commands if not run.instruction.json else ():
                if command.program:
                    self.commands.setdefault(command.program[0].place, (run, command))
                for word in command.words:
                    self.words.setdefault(word.place, (command, word))

    def span(self, word: ShellWord) -> tuple[int, int] | None:
        """Return where a word stands, if it stands there as it reads: neither quoted nor continued on another line."""
        start, end = self.lines.at(word.place), self.lines.at(word.end)
        return (start, end) if self.text[start:end] == word.text else None

    def behind(self, word: ShellWord, option: str) -> Edit | None:
        """Return the edit that puts an option behind a word."""
        span = self.span(word)
        return Edit(span[1], span[1], " " + option) if span is not None else None

    def without(self, word: ShellWord) -> Edit | None:
        """Return the edit that takes a word away, and the blanks before it."""
        span = self.span(word)
        if span is None:
            return None
        start = len(self.text[: span[0]].rstrip(" \t"))
        return Edit(start, span[1], "") if start < span[0] and self.text[start - 1] not in "\r\n" else None

    def last(self, run: Run) -> int | None:
        """Return the offset behind the last character of a script to which a command can be added; None where it cannot."""
        rest = run.instruction.rest
        text = rest.text.rstrip()
        if (
            run.instruction.json
            or run.step.instruction.heredocs
            or "<<" in text
            or _COMMENT.search(text)
            or text[-1:] in "&|;({\\"
        ):
            return None
        return self.lines.at(rest.at(len(text) - 1)) + 1

    def appended(self, run: Run, command: str) -> Edit | None:
        """Return the edit that adds `&& command` to a script, laid out as its last line is."""
        end = self.last(run)
        if end is None:
            return None
        first, last = self.lines.at(run.instruction.place), self.text.rfind("\n", 0, end) + 1
        if last <= first:
            return Edit(end, end, f" && {command}")
        line = self.text[last:end]
        indent = line[: len(line) - len(line.lstrip())]
        ending = "\r\n" if self.text[last - 2 : last] == "\r\n" else "\n"
        return Edit(end, end, f" {self.build.dockerfile.escape}{ending}{indent}&& {command}")


Fixer = Callable[[Scene, Hit], tuple[str, bool, list[Edit | None]] | None]


def add_local(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """ADD becomes COPY, where nothing is unpacked or fetched and every flag is known to COPY."""
    instruction = scene.instructions.get(hit.place)
    if instruction is None or instruction.name != "ADD" or not {flag.name for flag in instruction.flags} <= _OF_COPY:
        return None
    start = scene.lines.at(instruction.place)
    word = scene.text[start : start + 3]
    if word.upper() != "ADD":
        return None
    safe = all(_PLAIN_SOURCE.fullmatch(source.text) for source in instruction.words[:-1])
    return "Write COPY", safe, [Edit(start, start + 3, "copy" if word.islower() else "COPY")]


def maintainer(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """MAINTAINER becomes the label that took its place."""
    instruction = scene.instructions.get(hit.place)
    if instruction is None or not instruction.words:
        return None
    start = scene.lines.at(instruction.place)
    rest = instruction.rest
    end = scene.lines.at(rest.at(len(rest.text.rstrip()) - 1)) + 1
    name = rest.text.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    if "\n" in scene.text[start:end] or not name.isprintable():
        return None
    value = json.dumps(name, ensure_ascii=False).replace("$", "\\$")
    if scene.build.dockerfile.escape != "\\" and "\\" in value:
        return None
    return "Write a label", True, [Edit(start, end, f"LABEL org.opencontainers.image.authors={value}")]


def apk_cache(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """Every apk of the step gets --no-cache, which fetches the index for that call alone."""
    found = scene.commands.get(hit.place)
    if found is None:
        return None
    run = found[0]
    edits = [scene.behind(word, "--no-cache") for word in _apk_verbs(run)]
    safe = not any(_leans_on_index(other) for other in scene.build.runs if not (other.shipped and _apk_verbs(other)))
    return "Add --no-cache", safe, edits


def _apk_verbs(run: Run) -> list[ShellWord]:
    commands = (item for item in run.commands if item.name == "apk" and not item.has("--no-cache"))
    return [
        word
        for command in commands
        for word in [_verb(command)]
        if word is not None and word.text in ("add", "update", "upgrade")
    ]


def _verb(command: Command) -> ShellWord | None:
    wanted = verb(command)
    return next((word for word in command.program[1:] if wanted and word.text == wanted), None)


def _leans_on_index(run: Run) -> bool:
    """Say whether a step needs an index that an earlier one left."""
    updated = False
    for command in run.every:
        if command.name != "apk":
            continue
        if verb(command) == "update" or command.has("-U", "--update", "--update-cache"):
            updated = True
        elif verb(command) in ("add", "upgrade", "fix", "search", "fetch") and not updated and not command.has("--no-cache"):
            return True
    return False


def apt_cache(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """The lists are removed at the end of the step that fetched them."""
    found = scene.commands.get(hit.place)
    if found is None:
        return None
    safe = not any(_leans_on_lists(run) for run in scene.build.runs)
    return "Remove the lists in the same step", safe, [scene.appended(found[0], "rm -rf /var/lib/apt/lists/*")]


def _leans_on_lists(run: Run) -> bool:
    updated = False
    for command in run.every:
        if command.name in APT:
            if verb(command) == "update":
                updated = True
            elif verb(command) in _NEEDS_LISTS and not updated:
                return True
    return False


def rpm_cache(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """The package manager clears its cache at the end of the step."""
    found = scene.commands.get(hit.place)
    clean = {**_CLEANS, **_CLEANS_TOO}.get(found[1].name) if found is not None else None
    if found is None or clean is None:
        return None
    return f"End with {clean}", found[1].name in _CLEANS, [scene.appended(found[0], clean)]


def recommends(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """Only what is named is installed, and what that cannot do without."""
    found = scene.commands.get(hit.place)
    word = _verb(found[1]) if found is not None else None
    return ("Add --no-install-recommends", False, [scene.behind(word, "--no-install-recommends")]) if word is not None else None


def sudo(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """The command is run as it is: by root, as far as the file says who runs it."""
    found = scene.commands.get(hit.place)
    user = found[0].step.user if found is not None else None
    if user is not None and not (user.known and is_root(user.text)):
        return None
    if found is None or found[1].name != "sudo" or len(found[1].program) < 2:
        return None
    first, then = found[1].program[:2]
    start, end = scene.lines.at(first.place), scene.lines.at(then.place)
    gap = scene.text[start + len(first.text) : end]
    if scene.span(first) is None or gap.strip(" \t") or then.text.startswith("-") or "=" in then.text:
        return None
    return "Run it without sudo", False, [Edit(start, end, "")]


def certificates(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """The switch is taken away."""
    found = scene.commands.get(hit.place)
    if found is None:
        return None
    command = found[1]
    edits = [scene.without(word) for word in command.program[1:] if word.text in UNCHECKED.get(command.name, ())]
    return ("Check certificates", False, edits) if edits else None


def signatures(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """The switch is taken away."""
    found = scene.words.get(hit.place)
    if found is None or not found[1].text.startswith("--"):
        return None
    return "Check signatures", False, [scene.without(found[1])]


def world_writable(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
    """Only the owner may write."""
    found = scene.commands.get(hit.place)
    word = next((item for item in found[1].program[1:] if item.text in _MODES), None) if found is not None else None
    span = scene.span(word) if word is not None else None
    if word is None or span is None:
        return None
    return f"Write {_MODES[word.text]}", False, [Edit(*span, _MODES[word.text])]


def _without_flag(name: str, title: str) -> Fixer:
    def fixer(scene: Scene, hit: Hit) -> tuple[str, bool, list[Edit | None]] | None:
        instruction = scene.instructions.get(hit.place)
        return (title, False, list(_flag_edits(scene, instruction, name))) if instruction is not None else None

    return fixer


def _flag_edits(scene: Scene, instruction: Instruction, name: str) -> Iterator[Edit]:
    for flag in instruction.flags:
        start = scene.lines.at(flag.place)
        written = f"--{flag.name}={flag.value}"
        if flag.name == name and scene.text.startswith(written, start):
            end = start + len(written)
            blanks = scene.text[end : end + 80]
            yield Edit(start, end + len(blanks) - len(blanks.lstrip(" \t")), "")


FIXERS: dict[str, Fixer] = {
    "df-add-local": add_local,
    "df-maintainer": maintainer,
    "df-apk-cache": apk_cache,
    "df-apt-cache": apt_cache,
    "df-rpm-cache": rpm_cache,
    "df-recommends": recommends,
    "df-sudo": sudo,
    "df-certificate-checks": certificates,
    "df-package-signatures": signatures,
    "df-world-writable": world_writable,
    "df-insecure-build": _without_flag("security", "Take the flag away"),
    "df-host-network": _without_flag("network", "Take the flag away"),
}


def propose(scene: Scene, name: str, hit: Hit) -> Fix | None:
    """Return how to mend a hit, None where that is not known."""
    fixer = FIXERS.get(name)
    found = fixer(scene, hit) if fixer is not None else None
    if found is None:
        return None
    title, safe, edits = found
    made = tuple(sorted({edit for edit in edits if edit is not None}))
    return Fix(name, hit, title, safe, made) if made and None not in edits else None
