"""Build the example image, a `docker save` archive, without a container engine: the same bytes every time.

It holds what a scanner reads (package databases, metadata of packages, the configuration) and none of the programs themselves;
names and versions are those of Debian 12.0 as released on 2023-06-10 and of old releases on PyPI and npm.

usage: python3 build.py OUTPUT.tar
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

CREATED = "2023-06-12T00:00:00Z"

# package, source package (or the same), version, licence of the files in /usr/share/doc
DEBIAN = """
apt apt 2.6.1
base-files base-files 12.4
bash bash 5.2.15-2+b2 bash=5.2.15-2
bsdutils util-linux 1:2.38.1-5+b1 util-linux=2.38.1-5
ca-certificates ca-certificates 20230311
coreutils coreutils 9.1-1
curl curl 7.88.1-10
dash dash 0.5.12-2
debconf debconf 1.5.82
dpkg dpkg 1.21.22
gcc-12-base gcc-12 12.2.0-14
gpgv gnupg2 2.2.40-1.1
grep grep 3.8-5
gzip gzip 1.12-1
imagemagick imagemagick 8:6.9.11.60+dfsg-1.6
libc-bin glibc 2.36-9
libc6 glibc 2.36-9
libcurl4 curl 7.88.1-10
libexpat1 expat 2.5.0-1
libgcrypt20 libgcrypt20 1.10.1-3
libgnutls30 gnutls28 3.7.9-2
libkrb5-3 krb5 1.20.1-2
liblzma5 xz-utils 5.4.1-0.2
libnghttp2-14 nghttp2 1.52.0-1
libpam0g pam 1.5.2-6
libpng16-16 libpng1.6 1.6.39-2
libpython3.11-minimal python3.11 3.11.2-6
libpython3.11-stdlib python3.11 3.11.2-6
libsqlite3-0 sqlite3 3.40.1-2
libssh2-1 libssh2 1.10.0-3+b1 libssh2=1.10.0-3
libssl3 openssl 3.0.9-1
libsystemd0 systemd 252.6-1
libtiff6 tiff 4.5.0-6
libuv1 libuv1 1.44.2-1
libwebp7 libwebp 1.2.4-0.2
libxml2 libxml2 2.9.14+dfsg-1.2
login shadow 1:4.13+dfsg1-1+b1 shadow=1:4.13+dfsg1-1
nodejs nodejs 18.13.0+dfsg1-1
openssl openssl 3.0.9-1
passwd shadow 1:4.13+dfsg1-1+b1 shadow=1:4.13+dfsg1-1
perl-base perl 5.36.0-7
python3 python3-defaults 3.11.2-1+b1 python3-defaults=3.11.2-1
python3-requests requests 2.28.1+dfsg-1
python3-urllib3 python-urllib3 1.26.12-1
python3.11 python3.11 3.11.2-6
python3.11-minimal python3.11 3.11.2-6
tar tar 1.34+dfsg-1.2
tzdata tzdata 2023c-5
util-linux util-linux 2.38.1-5+b1 util-linux=2.38.1-5
zlib1g zlib 1:1.2.13.dfsg-1
"""
BASE = ("apt", "base-files", "bash", "bsdutils", "coreutils", "dash", "debconf", "dpkg", "gcc-12-base", "gpgv", "grep", "gzip",
        "libc-bin", "libc6", "libgcrypt20", "libgnutls30", "liblzma5", "libpam0g", "libsystemd0", "login", "passwd", "perl-base",
        "tar", "tzdata", "util-linux", "zlib1g")  # fmt: skip
PYTHON = {
    "aiohttp": "3.8.4", "certifi": "2022.12.7", "cryptography": "39.0.0", "Django": "4.1.0", "Flask": "2.2.2",
    "gunicorn": "20.1.0",
    "Jinja2": "2.11.2", "Pillow": "9.4.0", "PyYAML": "5.3.1", "requests": "2.28.1", "sqlparse": "0.4.3", "urllib3": "1.26.4",
    "Werkzeug": "2.2.2",
}  # fmt: skip
NODE = {
    "axios": "0.21.0", "ejs": "3.1.6", "express": "4.17.1", "handlebars": "4.7.6", "json5": "1.0.1", "jsonwebtoken": "8.5.1",
    "lodash": "4.17.15", "minimist": "1.2.5", "moment": "2.29.1", "node-fetch": "2.6.6", "qs": "6.7.0", "semver": "5.7.1",
    "ua-parser-js": "0.7.28", "ws": "7.4.5",
}  # fmt: skip
OS_RELEASE = """PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
"""

Files = dict[str, str]


def status(names: tuple[str, ...]) -> str:
    """Write the package database as dpkg does."""
    paragraphs = []
    for line in DEBIAN.strip().splitlines():
        name, source, version, *rest = line.split()
        if name not in names:
            continue
        built_from = f"{source} ({rest[0].partition('=')[2]})" if rest else source
        paragraphs.append(
            f"Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: misc\nArchitecture: amd64\n"
            + (f"Source: {built_from}\n" if source != name or rest else "")
            + f"Version: {version}\nDescription: example\n"
        )
    return "\n".join(paragraphs)


def owned(package: str, folder: str, name: str, version: str) -> Files:
    """Return Python metadata that a Debian package brings, and dpkg's list of it: linked to its owner, not matched twice."""
    path = f"usr/lib/python3/dist-packages/{folder}/PKG-INFO"
    listing = f"/.\n/usr\n/usr/lib/python3/dist-packages/{folder}\n/{path}\n"
    return {path: metadata(name, version), f"var/lib/dpkg/info/{package}.list": listing}


def metadata(name: str, version: str) -> str:
    """Write the metadata of an installed Python distribution."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: see the project\n\n"


def layers() -> list[tuple[str, Files]]:
    """Return the layers, each with the instruction that made it."""
    everything = tuple(line.split()[0] for line in DEBIAN.strip().splitlines())
    site = "srv/shop/venv/lib/python3.11/site-packages"
    python = {f"{site}/{name}-{version}.dist-info/METADATA": metadata(name, version) for name, version in PYTHON.items()}
    web = "srv/shop/web"
    node = {
        f"{web}/node_modules/{name}/package.json": json.dumps({"name": name, "version": version}, indent=1)
        for name, version in NODE.items()
    }
    installed = {
        "var/lib/dpkg/status": status(everything),
        **owned("python3-requests", "requests-2.28.1.egg-info", "requests", "2.28.1"),
        **owned("python3-urllib3", "urllib3-1.26.12.egg-info", "urllib3", "1.26.12"),
    }
    return [
        (
            "/bin/sh -c #(nop) ADD file:debian-12.0-slim in / ",
            {"etc/os-release": OS_RELEASE, "etc/debian_version": "12.0\n", "var/lib/dpkg/status": status(BASE)},
        ),
        ("RUN apt-get update && apt-get install -y python3 nodejs curl imagemagick", installed),
        ("RUN python3 -m venv /srv/shop/venv && /srv/shop/venv/bin/pip install -r /srv/shop/requirements.txt", python),
        ("RUN cd /srv/shop/web && npm ci", {f"{web}/package.json": '{"name": "shop-web", "version": "1.0.0"}', **node}),
        ("COPY shop.py /srv/shop/ # buildkit", {"srv/shop/shop.py": "print('shop')\n"}),
    ]


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file whose header depends on nothing but its name and content."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(data))


def tarball(files: dict[str, bytes]) -> bytes:
    """Return a tar archive with the folders of its files, sorted by name."""
    out = io.BytesIO()
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted([*files, *folders]):
            if name in files:
                add(archive, name, files[name])
            else:
                info = tarfile.TarInfo(name)
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
    return out.getvalue()


def build() -> bytes:
    """Return the image as `docker save` writes it."""
    blobs: dict[str, bytes] = {}
    diff_ids, history, places = [], [], []
    for instruction, files in layers():
        layer = tarball({name: text.encode() for name, text in files.items()})
        digest = hashlib.sha256(layer).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = layer
        places.append(f"blobs/sha256/{digest}")
        diff_ids.append(f"sha256:{digest}")
        history.append({"created": CREATED, "created_by": instruction})
    history.append({"created": CREATED, "created_by": "EXPOSE map[80/tcp:{}]", "empty_layer": True})
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": {"Cmd": ["/srv/shop/venv/bin/python", "/srv/shop/shop.py"], "ExposedPorts": {"80/tcp": {}}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        },
        sort_keys=True,
    ).encode()
    name = f"blobs/sha256/{hashlib.sha256(config).hexdigest()}"
    blobs[name] = config
    blobs["manifest.json"] = json.dumps([{"Config": name, "RepoTags": ["example/shop:1.0"], "Layers": places}]).encode()
    return tarball(blobs)


def main() -> int:
    """Write the archive."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    Path(sys.argv[1]).write_bytes(build())
    return 0


if __name__ == "__main__":
    sys.exit(main())
