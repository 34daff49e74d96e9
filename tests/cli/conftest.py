"""An image with known vulnerabilities, and the front door called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import imagebuilder
from pratique.cli.main import run

NOW = "2024-06-01T00:00:00Z"  # Debian 12 is supported then
_STATUS = "\n".join(
    f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
    for name, version in (("glibc", "2.36-9"), ("python3-requests", "2.28.1+dfsg-1"))
)
_METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"
_OWNED = "usr/lib/python3/dist-packages/requests-2.28.1.dist-info"
_FREE = "usr/local/lib/python3.12/site-packages"


class Ran(NamedTuple):
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as a document."""
        return json.loads(self.out)


Call = Callable[..., Ran]


@pytest.fixture
def call(capfdbinary: pytest.CaptureFixture[bytes]) -> Call:
    """Run a command line."""

    def ran(*arguments: object) -> Ran:
        capfdbinary.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return Ran(code, out.decode(), err.decode())

    return ran


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an archive of Debian 12 with glibc (exploited: CVE-2023-4911), Debian's requests, and pip's idna and urllib3."""
    base = imagebuilder.layer(
        {
            "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n',
            "var/lib/dpkg/status": _STATUS,
            "var/lib/dpkg/info/python3-requests.list": f"/{_OWNED}\n/{_OWNED}/METADATA\n",
            f"{_OWNED}/METADATA": _METADATA.format("requests", "2.28.1"),
        }
    )
    upper = imagebuilder.layer(
        {
            f"{_FREE}/idna-3.6.dist-info/METADATA": _METADATA.format("idna", "3.6"),
            f"{_FREE}/urllib3-1.25.dist-info/METADATA": _METADATA.format("urllib3", "1.25"),
        }
    )
    path = tmp_path_factory.mktemp("image") / "image.tar"
    path.write_bytes(imagebuilder.docker_archive([base, upper]))
    return f"docker-archive:{path}"


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with one package that has no known vulnerability."""
    root: Path = tmp_path_factory.mktemp("clean")
    folder = root / "usr/lib/python3/site-packages/harmless-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(_METADATA.format("harmless", "1.0"))
    return f"rootfs:{root}"
