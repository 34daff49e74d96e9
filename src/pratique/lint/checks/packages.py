"""Checks of Dockerfiles: what package managers are asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pratique.lint.build import Build, Run, hit
from pratique.lint.hit import Hit
from pratique.lint.shell import Command, ShellWord

APT = ("apt-get", "apt", "aptitude", "xx-apt-get", "xx-apt")  # those with xx- are for the platform that is built for
_APK = ("apk", "xx-apk")
_RPM = ("yum", "dnf", "microdnf", "zypper", "tdnf")
_UPGRADES = ("upgrade", "dist-upgrade", "dup", "full-upgrade", "distro-sync")
_RPM_UPGRADES = ("update", "up", "patch")  # which for apt and apk fetch lists only
_INSTALL = frozenset(("install", "add", "in", "reinstall"))
# Options whose value is the next word, so that it is no package.
_VALUED = frozenset(("-t", "-o", "-c", "--target-release", "--option", "--repository", "-X", "--virtual", "-p", "--root"))


def verb(command: Command) -> str:
    """Return what a package manager is asked to do: its first word that is no option."""
    words = iter(command.arguments)
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def _named(command: Command) -> bool:
    """Say whether packages are named, so that not everything is meant."""
    words = iter(command.arguments)
    plain = [word for word in words if not (word in _VALUED and next(words, "") is not None) and not word.startswith("-")]
    return len(plain) > 1


def installed(command: Command) -> list[ShellWord]:
    """Return the packages that a command of a distribution's package manager installs."""
    if command.name not in (*APT, *_RPM, *_APK) or verb(command) not in _INSTALL:
        return []
    found, skip = [], False
    for word in command.program[1:]:
        if skip or word.text.startswith("-"):
            skip = not skip and word.text in _VALUED
        elif word.text not in _INSTALL:
            found.append(word)
    return found


def _removes(run: Run, folder: str) -> bool:
    """Say whether the same RUN empties a folder, or has it as a cache that is no part of the image."""
    removed = any(
        command.name == "rm"
        and any(folder.startswith(word.rstrip("/*")) for word in command.arguments if word.startswith("/var"))
        for command in run.every
    )
    return removed or any(
        flag.name == "mount" and flag.value and "type=cache" in flag.value and folder.rsplit("/", 1)[0] in flag.value
        for flag in run.instruction.flags
    )


def _first(run: Run, names: tuple[str, ...], *verbs: str) -> Command | None:
    return next((command for command in run.every if command.name in names and verb(command) in verbs), None)


def apt_cache(build: Build) -> Iterator[Hit]:
    """The lists that apt-get update fetches stay in the layer."""
    for run in build.runs:
        command = _first(run, APT, "update")
        if run.shipped and command is not None and not _removes(run, "/var/lib/apt/lists"):
            yield hit(run.instruction, "apt's package lists stay in the layer", command.program[0].place)


def apk_cache(build: Build) -> Iterator[Hit]:
    """The index of apk stays in the layer."""
    for run in build.runs:
        command = next((item for item in run.every if item.name in _APK and verb(item) in ("add", "update")), None)
        if run.shipped and command is not None and not command.has("--no-cache") and not _removes(run, "/var/cache/apk"):
            yield hit(run.instruction, "apk's index stays in the layer", command.program[0].place)


def rpm_cache(build: Build) -> Iterator[Hit]:
    """The cache of yum, dnf or zypper stays in the layer."""
    for run in build.runs:
        command = _first(run, _RPM, "install", "update", "upgrade", "in")
        cleaned = _first(run, _RPM, "clean") is not None or any(
            _removes(run, f"/var/cache/{name}") for name in ("yum", "dnf", "zypp", "libdnf5")
        )
        if run.shipped and command is not None and not cleaned:
            yield hit(run.instruction, f"the cache of {command.name} stays in the layer", command.program[0].place)


def update_alone(build: Build) -> Iterator[Hit]:
    """Package lists are fetched in one layer and used in another, which may be years younger."""
    for run in build.runs:
        command = next((item for item in run.every if item.name in (*APT, *_APK) and verb(item) == "update"), None)
        if command is None or (command.name in _APK and command.has("--no-cache")):
            continue
        family = _APK if command.name in _APK else APT
        others = (item for item in run.every if item.name in family and item is not command)
        if not any(verb(item) not in ("update", "clean", "autoclean") for item in others):
            message = f"{command.name} update alone in a RUN: later layers install from lists of the day it was cached"
            yield hit(run.instruction, message, command.program[0].place)


def upgrade(build: Build) -> Iterator[Hit]:
    """Everything is upgraded, so that two builds of one file differ, and the base's digest says little."""
    for run, command in build.invocations():
        every = (*_UPGRADES, *_RPM_UPGRADES) if command.name in _RPM else _UPGRADES
        if command.name in (*APT, *_APK, *_RPM) and verb(command) in every and not _named(command):
            message = f"{command.name} {verb(command)}: take a newer base image instead"
            yield hit(run.instruction, message, command.program[0].place)


def recommends(build: Build) -> Iterator[Hit]:
    """Packages that were only recommended are installed as well."""
    for run, command in build.invocations():
        if not run.shipped or command.name not in APT or verb(command) != "install":
            continue
        spelt = " ".join(command.arguments).replace(" ", "").lower()
        configured = any("install-recommends" in word.lower() for other in run.every for word in other.arguments)
        if not command.has("--no-install-recommends") and "install-recommends" not in spelt and not configured:
            yield hit(run.instruction, f"{command.name} install without --no-install-recommends", command.program[0].place)


def signatures(build: Build) -> Iterator[Hit]:
    """Packages are installed although nobody signed them."""
    options = {
        **dict.fromkeys(APT, ("--allow-unauthenticated", "--force-yes", "--allow-insecure-repositories")),
        **dict.fromkeys(_RPM, ("--nogpgcheck", "--no-gpg-checks", "--no-gpg-check")),
        "apk": ("--allow-untrusted",),
        "rpm": ("--nosignature", "--nodigest"),
    }
    for run, command in build.invocations():
        for word in command.program[1:]:
            if word.text in options.get(command.name, ()) or _is_trusted(command, word.text):
                yield hit(run.instruction, f"{command.name} {word.text} takes packages that nobody signed", word.place)


def package_version(build: Build) -> Iterator[Hit]:
    """Packages of the distribution are those of the day of the build."""
    for run, command in build.invocations():
        loose = [word.text for word in installed(command) if not _has_version(command, word.text)]
        if run.shipped and loose:
            told = ", ".join(name[:40] for name in loose[:5]) + (" ..." if len(loose) > 5 else "")
            yield hit(run.instruction, f"{command.name} installs packages without a version: {told}", command.program[0].place)


def _has_version(command: Command, text: str) -> bool:
    """Say whether a package is named with a version, or by what only the build knows, or is a file.

    rpm joins name and version by a hyphen, which many names have, too: they get the benefit of the doubt.
    """
    unknown = not text or "$" in text or text.startswith((".", "/", "http:", "https:", "@"))
    return unknown or any(sign in text for sign in "=<>~") or (command.name in _RPM and "-" in text)


def _is_trusted(command: Command, word: str) -> bool:
    text = word.replace(" ", "").lower()
    return (command.name == "echo" and "[trusted=yes" in text) or (
        command.name in (*APT, *_RPM) and ("allowunauthenticated=true" in text or "gpgcheck=0" in text)
    )


CHECKS: dict[str, Callable[[Build], Iterator[Hit]]] = {
    "df-apt-cache": apt_cache,
    "df-apk-cache": apk_cache,
    "df-rpm-cache": rpm_cache,
    "df-update-alone": update_alone,
    "df-upgrade": upgrade,
    "df-recommends": recommends,
    "df-package-signatures": signatures,
    "df-package-version": package_version,
}
