"""Lock files of Gradle and project files of Maven in, declared Maven packages out.

Gradle's lines are `group:name:version=configuration,configuration`, and the last one `empty=...`. A package that only test
configurations use has the role "dev", as have those of the build itself (`buildscript-gradle.lockfile`).

https://docs.gradle.org/current/userguide/dependency_locking.html
"""

from __future__ import annotations

from pratique.inventory.lockfiles.entries import SHOWN, Entries, LockInspector, base_name
from pratique.model.errors import ParseError
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_BYTES = 8 * MEBIBYTE  # the lock file of a project with 1,000 dependencies is 300 KB

_POM = "pom.xml"
_BUILDSCRIPT = "buildscript-gradle.lockfile"
_GRADLE = ("gradle.lockfile", _BUILDSCRIPT, "settings-gradle.lockfile")
_OLD = ("Classpath.lockfile",)  # one a configuration, until Gradle 6
# A jar's own project file, unpacked: it says what the library once asked for, not what this project has.
_IN_ARCHIVE = "/META-INF/maven/"


def _read(file: File, entries: Entries) -> None:
    if base_name(file.path) == _POM:
        if _IN_ARCHIVE not in f"/{file.path}":
            from pratique.inventory.lockfiles.pom import read  # noqa: PLC0415 - only where there is such a file

            read(file.read(), entries)
        return
    _gradle(file.read().decode(), entries, build=base_name(file.path) == _BUILDSCRIPT)


def _gradle(text: str, entries: Entries, *, build: bool) -> None:
    # Gradle ends each line; what stands behind the last end was cut off.
    whole, _, rest = text.rpartition("\n")
    ended, lines = False, 0
    for raw in whole.split("\n"):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        lines += 1
        module, equals, configurations = line.partition("=")
        parts = module.split(":")
        if module == "empty":
            ended = True
        elif len(parts) == 3 and all(parts):
            # Without an equals sign it is a file of one configuration, and its name is the file's.
            names = configurations.split(",") if equals else [base_name(entries.path)]
            tests = all(name.startswith("test") or "Test" in name for name in names)
            entries.add(parts[1], parts[2], namespace=parts[0], role="dev" if build or tests else "")
            ended = ended or not equals
        else:
            entries.invalid(f"no module and version: {line[:SHOWN]!r}")
    if not lines and not rest:
        raise ParseError("no modules in a Gradle lock file")
    if not ended or rest.strip():
        entries.truncated("the file ends before its last line does")


INSPECTOR = LockInspector(
    "lock_java",
    "maven",
    Interest(names=(_POM, *_GRADLE), suffixes=_OLD, scope="declared", max_bytes=MAX_BYTES),
    _read,
)
