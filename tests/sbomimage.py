"""A small Debian image, with packages owned and not: the one that the SBOMs of other tools beside the tests describe."""

from __future__ import annotations

import json

import imagebuilder

_PACKAGES = (
    ("libc6", "2.36-9", "glibc", ""),
    ("libssl3", "3.0.8-1", "openssl", ""),
    ("vim-tiny", "2:9.0.1378-2", "vim", ""),
    ("libpam0g", "1.5.2-6+b1", "pam", "1.5.2-6"),
    ("python3-requests", "2.28.1+dfsg-1", "requests", ""),
)
_DIST = "usr/lib/python3/dist-packages/requests-2.28.1.egg-info"
_SITE = "usr/local/lib/python3.12/site-packages"
_MODULES = "srv/app/node_modules"


def _status() -> str:
    stanzas = []
    for name, version, source, source_version in _PACKAGES:
        built = f"{source} ({source_version})" if source_version else source
        stanzas.append(
            f"Package: {name}\nStatus: install ok installed\nMaintainer: Nobody <nobody@example.org>\nArchitecture: amd64\n"
            f"Source: {built}\nVersion: {version}\nDescription: {name}\n"
        )
    return "\n".join(stanzas)


def _metadata(name: str, version: str, licence: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: {licence}\n"


def _manifest(name: str, version: str) -> str:
    return json.dumps({"name": name, "version": version, "license": "MIT"})


def layers() -> tuple[dict[str, str], dict[str, str]]:
    """Return what is in its two layers."""
    base = {
        "etc/os-release": (
            'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nNAME="Debian GNU/Linux"\n'
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
        ),
        "etc/debian_version": "12.5\n",
        "var/lib/dpkg/status": _status(),
        "var/lib/dpkg/info/python3-requests.list": f"/.\n/{_DIST}\n/{_DIST}/PKG-INFO\n",
        "var/lib/dpkg/info/python3-requests.md5sums": f"d41d8cd98f00b204e9800998ecf8427e  {_DIST}/PKG-INFO\n",
        f"{_DIST}/PKG-INFO": _metadata("requests", "2.28.1", "Apache 2.0"),
    }
    upper = {
        f"{_SITE}/idna-3.6.dist-info/METADATA": _metadata("idna", "3.6", "BSD-3-Clause"),
        f"{_SITE}/PyYAML-5.3.dist-info/METADATA": _metadata("PyYAML", "5.3", "MIT"),
        f"{_SITE}/urllib3-1.25.dist-info/METADATA": _metadata("urllib3", "1.25", "MIT"),
        f"{_MODULES}/lodash/package.json": _manifest("lodash", "4.17.20"),
        f"{_MODULES}/@babel/traverse/package.json": _manifest("@babel/traverse", "7.22.0"),
    }
    return base, upper


def archive() -> bytes:
    """Return it as docker save writes it."""
    return imagebuilder.docker_archive([imagebuilder.layer(files) for files in layers()])
