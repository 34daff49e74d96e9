"""A name in, a real image out: what Debian's, Python's, Node's and the OCI world's own tools make.

By hand: `python tests/real/build.py [--cache FOLDER] [NAME ...]`. It needs what `tools` of a name says; what it makes is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.images import SERVICES, SLIM, WEB, Builder, Debian, Modules, run
from benchmarks.layers import EPOCH, Item, Layer, from_difference, from_items, walk_folder, write_archive, write_layer

from loopback import free_port
from real import apks, rpms

MIRROR = "http://deb.debian.org/debian"
NODE_APP = Modules("express@4.18.2 lodash@4.17.20 axios@1.6.0 minimist@1.2.5 jsonwebtoken@8.5.1", "srv/app")
REGISTRY_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Image:
    """How one image is built, and the programs that this takes."""

    tools: tuple[str, ...]
    build: Callable[[Path], Path]


def debian(suite: str) -> Callable[[Path], Path]:
    """Return a builder of a debootstrapped release with one layer, as docker archive."""

    def build(cache: Path) -> Path:
        path = cache / f"debian-{suite}.tar"
        root = cache / f"root-{suite}.tar"
        if not root.exists():
            partial = cache / f"partial-{suite}.tar"
            command = ["mmdebstrap", "--quiet", "--variant=minbase", *SLIM, suite, str(partial), f"deb {MIRROR} {suite} main"]
            run(command, {"SOURCE_DATE_EPOCH": str(EPOCH)})
            partial.replace(root)
        layer = write_layer(cache / f"layer-{suite}.tar", "ADD rootfs.tar /", from_difference(root, None))
        return write_archive(path, [layer], f"debian:{suite}")

    return build


def _application(name: str, *recipes: Debian | Modules) -> Callable[[Path], Path]:
    def build(cache: Path) -> Path:
        builder = Builder(cache)
        layers: list[Layer] = [builder.layer(recipe) for recipe in recipes]
        return write_archive(cache / f"{name}.tar", layers, f"{name}:latest")

    return build


def python_app(cache: Path) -> Path:
    """Build Debian with python3, and an application's wheels above it."""
    builder = Builder(cache)
    layers = [builder.layer(recipe) for recipe in (Debian(), Debian(("python3", "python3-requests"), ()), WEB)]
    return write_archive(cache / "python-app.tar", layers, "python-app:latest")


LANGUAGES = (
    *("python3-yaml", "python3-gi", "python3-dbus", "python3-apt", "python3-jwt", "python3-cryptography", "python3-lxml"),
    *("python3-pip", "mercurial", "ruby", "ruby-sinatra", "ruby-nokogiri", "libcommons-io-java", "libjackson2-databind-java"),
    *("libhttpclient-java", "fzf", "composer"),
)


def languages(cache: Path) -> Path:
    """Build Debian with what its packages bring of Python, Ruby, Java, Go and PHP, and an application's wheels above it."""
    path = cache / "languages.tar"
    root = cache / "root-languages.tar"
    if not root.exists():
        partial = cache / "partial-languages.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", *SLIM, f"--include={','.join(LANGUAGES)}", "trixie"]
        run([*command, str(partial), f"deb {MIRROR} trixie main"], {"SOURCE_DATE_EPOCH": str(EPOCH)})
        partial.replace(root)
    base = write_layer(cache / "layer-languages.tar", "ADD rootfs.tar /", from_difference(root, None))
    return write_archive(path, [base, Builder(cache).layer(WEB)], "languages:latest")


_VENDOR = {
    "DEBIAN/control": (
        "Package: acme-agent\nVersion: 7.1.0-1\nArchitecture: all\nMaintainer: Acme <a@acme.example>\nDescription: agent\n"
    ),
    "opt/acme/node_modules/lodash/package.json": '{"name": "lodash", "version": "4.17.15"}',
    "opt/acme/site-packages/Jinja2-2.10.dist-info/METADATA": "Metadata-Version: 2.1\nName: Jinja2\nVersion: 2.10\n",
    "opt/acme/site-packages/Jinja2-2.10.dist-info/RECORD": "",
    "usr/lib/python3/dist-packages/PyYAML-5.3.dist-info/METADATA": "Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3\n",
    "usr/lib/python3/dist-packages/PyYAML-5.3.dist-info/RECORD": "",
}


def vendor(cache: Path) -> Path:
    """Build Debian with a vendor's package that holds packages of languages: no distributor answers for it."""
    path = cache / "vendor.tar"
    root = cache / "root-vendor.tar"
    if not root.exists():
        folder = cache / "vendor-package"
        for name, content in _VENDOR.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="ascii")
        run(["dpkg-deb", "--root-owner-group", "--build", str(folder), f"{folder}.deb"])
        partial = cache / "partial-vendor.tar"
        hook = f'--customize-hook=dpkg --root="$1" --install {folder}.deb'
        command = ["mmdebstrap", "--quiet", "--variant=minbase", *SLIM, hook, "trixie", str(partial), f"deb {MIRROR} trixie main"]
        run(command, {"SOURCE_DATE_EPOCH": str(EPOCH)})
        partial.replace(root)
    layer = write_layer(cache / "layer-vendor.tar", "ADD rootfs.tar /", from_difference(root, None))
    return write_archive(path, [layer], "vendor:latest")


def rocky(cache: Path) -> Path:
    """Build a distribution of rpm: a real database, and what pip installs beside it."""
    upper = [Item(path, text.encode()) for path, text in rpms.UPPER.items()]
    layers = [
        write_layer(cache / "layer-rocky.tar", "ADD rootfs.tar /", from_items(walk_folder(rpms.root(cache), ""))),
        write_layer(cache / "layer-rocky-pip.tar", "RUN pip install jinja2", from_items(upper)),
    ]
    return write_archive(cache / "rocky.tar", layers, "rocky:latest")


def alpine(cache: Path) -> Path:
    """Build an Alpine image in apk's own form."""
    items = [Item(path, text.encode()) for path, text in apks.files().items()]
    return write_archive(
        cache / "alpine.tar", [write_layer(cache / "layer-apk.tar", "ADD / /", from_items(items))], "alpine:latest"
    )


def umoci_image(cache: Path) -> Path:
    """Build an OCI layout by umoci: a base layer, then changed files, a removed one and a symbolic link, repacked."""
    layout = cache / "umoci"
    if (layout / "index.json").exists():
        return layout
    scratch = cache / "umoci.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(_root_folder(cache), scratch / "root", symlinks=True)
    image, bundle = f"{scratch / 'layout'}:latest", str(scratch / "bundle")
    run(["umoci", "init", "--layout", str(scratch / "layout")])
    run(["umoci", "new", "--image", image])
    run(["umoci", "unpack", *_rootless(), "--image", image, bundle])
    root = scratch / "bundle" / "rootfs"
    shutil.copytree(scratch / "root", root, symlinks=True, dirs_exist_ok=True)
    run(["umoci", "repack", "--image", image, bundle])
    shutil.rmtree(bundle)
    run(["umoci", "unpack", *_rootless(), "--image", image, bundle])
    (root / "opt").mkdir(exist_ok=True)
    (root / "opt" / "release").write_text("2\n", encoding="ascii")
    (root / "opt" / "current").symlink_to("release")
    (root / "srv" / "app" / "node_modules" / "lodash" / "package.json").unlink()
    run(["umoci", "repack", "--image", image, bundle])
    run(["umoci", "config", "--image", image, "--config.user", "nobody", "--config.cmd", "sh"])
    (scratch / "layout").rename(layout)
    shutil.rmtree(scratch)
    return layout


def _root_folder(cache: Path) -> Path:
    """Return a folder with a small root file system: a dpkg database and a Node application."""
    folder = cache / "root-folder"
    if not folder.exists():
        partial = cache / "root-folder.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        builder = Builder(cache)
        for recipe in (Debian(), NODE_APP):
            layer = builder.layer(recipe)
            run(
                ["tar", "--extract", "--no-same-owner", "--exclude=dev/*", "--file", str(layer.path), "--directory", str(partial)]
            )
        partial.rename(folder)
    return folder


def _rootless() -> list[str]:
    return [] if os.geteuid() == 0 else ["--rootless"]


IMAGES = {
    "debian-bookworm": Image(("mmdebstrap",), debian("bookworm")),
    "debian-trixie": Image(("mmdebstrap",), debian("trixie")),
    "python-app": Image(("mmdebstrap",), python_app),
    "node-app": Image(("mmdebstrap", "npm"), _application("node-app", Debian(), Debian(SERVICES, ()), NODE_APP)),
    "languages": Image(("mmdebstrap", "pip"), languages),
    "vendor": Image(("mmdebstrap", "dpkg", "dpkg-deb"), vendor),
    "rocky": Image(("rpm", "rpmbuild"), rocky),
    "alpine": Image((), alpine),
    "umoci": Image(("mmdebstrap", "npm", "umoci", "tar"), umoci_image),
}


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry on the loopback interface; yield its HOST:PORT."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}', secret: none}}\n",
        encoding="utf-8",
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(configuration)], stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/v2/", process)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + REGISTRY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"no registry answers at {address}")


def push(layout: Path, host: str, name: str) -> str:
    """Push the tag "latest" of a layout as HOST/NAME:1 by skopeo; return the manifest's digest."""
    digest = layout.parent / f"{layout.name}.pushed"
    reference = f"docker://{host}/{name}:1"
    run(["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile", str(digest),
         f"oci:{layout}:latest", reference])  # fmt: skip
    return digest.read_text(encoding="ascii").strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="Build real images to scan.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(IMAGES))
    parser.add_argument("--cache", type=Path, default=Path("/var/tmp/pratique-real"), help="where they are kept (%(default)s)")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    for name in options.names or IMAGES:
        missing = [tool for tool in IMAGES[name].tools if shutil.which(tool) is None]
        sys.stdout.write(f"{name}: needs {', '.join(missing)}\n" if missing else f"{IMAGES[name].build(options.cache)}\n")


if __name__ == "__main__":
    main()
