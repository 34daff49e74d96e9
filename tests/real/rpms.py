"""Package names in, an image of a distribution of rpm out, made by rpmbuild and rpm themselves: database, files and all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

OS_RELEASE = (
    'NAME="Rocky Linux"\nVERSION="9.3 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.3"\n'
    'PLATFORM_ID="platform:el9"\nPRETTY_NAME="Rocky Linux 9.3 (Blue Onyx)"\n'
)
_SITE = "/usr/lib/python3.9/site-packages"


class Rpm(NamedTuple):
    """One binary package. `source` is its source package where that has another name, `epoch` "" for none."""

    name: str
    version: str
    release: str
    epoch: str = ""
    source: str = ""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    module: str = ""


def _python(name: str, version: str, needs: str = "") -> tuple[tuple[str, str], ...]:
    folder = f"{_SITE}/{name.replace('-', '_')}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    return ((f"{folder}/METADATA", metadata), (f"{_SITE}/{name}/__init__.py", f"# {name}\n"))


RPMS = (
    Rpm("glibc", "2.34", "83.el9_3.7", files=(("/usr/lib64/libc.so.6", "glibc\n"),), provides=("libc.so.6()(64bit)",)),
    Rpm("bash", "5.1.8", "6.el9_1", requires=("libc.so.6()(64bit)",), files=(("/usr/bin/bash", "bash\n"),)),
    Rpm("openssl-libs", "3.0.7", "24.el9", epoch="1", source="openssl", requires=("libc.so.6()(64bit)", "/usr/bin/bash"),
        files=(("/usr/lib64/libssl.so.3", "ssl\n"),)),
    Rpm("openssl", "3.0.7", "24.el9", epoch="1", requires=("openssl-libs = 1:3.0.7-24.el9",),
        files=(("/usr/bin/openssl", "x\n"),)),
    Rpm("bind-libs", "9.16.23", "14.el9_3", epoch="32", source="bind", requires=("(glibc or musl)",)),
    Rpm("nodejs", "18.19.0", "1.module+el9.3.0+16737+4b1e27ff", epoch="1", module="nodejs:18:9030020231214150000:rhel9"),
    Rpm("python3-libs", "3.9.18", "1.el9_3.1", source="python3.9", files=(("/usr/lib64/libpython3.9.so.1.0", "p\n"),)),
    Rpm("python3-requests", "2.25.1", "7.el9_2", source="python-requests", requires=("python3-urllib3", "python3-missing"),
        files=_python("requests", "2.25.1", "urllib3 (<1.27,>=1.21.1)")),
    Rpm("python3-urllib3", "1.26.5", "3.el9_3.1", source="python-urllib3", files=_python("urllib3", "1.26.5")),
    Rpm("python3-pyyaml", "5.4.1", "6.el9", source="PyYAML", files=_python("PyYAML", "5.4.1")),
)  # fmt: skip
# What pip put beside them, which nobody's list names.
UPPER = {
    "usr/local/lib/python3.9/site-packages/idna-3.6.dist-info/METADATA": "Metadata-Version: 2.1\nName: idna\nVersion: 3.6\n",
    "usr/local/lib/python3.9/site-packages/jinja2-3.1.2.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: Jinja2\nVersion: 3.1.2\nRequires-Dist: MarkupSafe>=2.0\n"
        "Requires-Dist: babel ; extra == 'i18n'\n"
    ),
    "usr/local/lib/python3.9/site-packages/MarkupSafe-2.1.3.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: MarkupSafe\nVersion: 2.1.3\n"
    ),
}


def _spec(package: Rpm) -> str:
    source = package.source or package.name
    lines = [
        f"Name: {source}",
        f"Version: {package.version}",
        f"Release: {package.release}",
        "Summary: x",
        "License: MIT",
        "Vendor: Rocky Enterprise Software Foundation",
    ]
    lines += [f"Epoch: {package.epoch}"] if package.epoch else []
    tags = [f"Requires: {name}" for name in package.requires] + [f"Provides: {name}" for name in package.provides]
    tags += [f"ModularityLabel: {package.module}"] if package.module else []
    part = "" if source == package.name else f" -n {package.name}"
    if part:
        lines += ["%description", "x", f"%package{part}", "Summary: x", *tags, f"%description{part}", "x"]
    else:
        lines += [*tags, "%description", "x"]
    lines.append("%install")
    for path, text in package.files:
        lines += [
            f"mkdir -p %{{buildroot}}{path.rpartition('/')[0]}",
            f"cat > %{{buildroot}}{path} <<'END'",
            text.rstrip("\n"),
            "END",
        ]
    return "\n".join([*lines, f"%files{part}", *(path for path, _ in package.files)]) + "\n"


def root(cache: Path) -> Path:
    """Return a folder with the distribution, made once."""
    folder = cache / "rpm-root"
    if folder.exists():
        return folder
    scratch = cache / "rpm.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    new = scratch / "root"
    (new / "etc").mkdir(parents=True)
    (new / "etc" / "os-release").write_text(OS_RELEASE, encoding="utf-8")
    for name in ("rocky-release", "redhat-release"):
        (new / "etc" / name).write_text("Rocky Linux release 9.3 (Blue Onyx)\n", encoding="utf-8")
    (new / "var" / "lib" / "rpm").mkdir(parents=True)
    for package in RPMS:
        _build(package, scratch)
    made = sorted(str(path) for path in (scratch / "RPMS").rglob("*.rpm"))
    options = ["--root", str(new.resolve()), "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"]
    _run(["rpm", *options, "--initdb"])
    _run(["rpm", *options, "-i", "--nodeps", "--noscripts", "--nosignature", "--ignorearch", *made])
    new.rename(folder)
    shutil.rmtree(scratch)
    return folder


def _build(package: Rpm, scratch: Path) -> None:
    spec = scratch / f"{package.name}.spec"
    spec.write_text(_spec(package), encoding="utf-8")
    command = ["rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", f"_topdir {scratch.resolve()}"]
    for macro in ("__os_install_post %{nil}", "_build_id_links none", "debug_package %{nil}", "_rpmdir %{_topdir}/RPMS"):
        command += ["--define", macro]
    _run([*command, str(spec)])


def _run(command: list[str]) -> None:
    environment = {**os.environ, "HOME": "/nonexistent", "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-600:]}")
