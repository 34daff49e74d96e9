"""An SBOM is read in a process that can do nothing else: whatever happens there, the caller gets an answer or one line."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pratique
from pratique._kit.sandbox import Limits
from pratique.cli.main import main
from pratique.inventory.sbom import read as reading
from pratique.inventory.sbom.bill import MAX_NAME
from pratique.inventory.sbom.read import read_bill, read_sbom
from pratique.inventory.sbom.settle import settle
from pratique.model.errors import ParseError, TargetError
from pratique.model.inventory import Inventory

DOCUMENTS = sorted(path for path in (Path(__file__).parent / "documents").iterdir() if path.suffix != ".md")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Return a sound document."""
    path = tmp_path / "sbom.json"
    component = {"type": "library", "name": "lodash", "version": "4.17.15", "purl": "pkg:npm/lodash@4.17.15"}
    path.write_text(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]}))
    return path


@pytest.mark.usefixtures("another_thread")
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_from_a_program_with_threads(path: Path) -> None:
    """The same comes out, by way of a new interpreter, and no descriptor stays."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert read_sbom(path, details=True)[0] == settle(read_bill(path.read_bytes()), details=True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.usefixtures("another_thread")
def test_the_library_from_a_thread(document: Path, tmp_path: Path) -> None:
    """A program that uses this as a library, and has threads, scans an SBOM as any other target."""
    report = pratique.scan(f"sbom:{document}", offline=True, cache_dir=tmp_path / "cache")
    assert [package.name for package in report.packages] == ["lodash"]


def _connect() -> None:
    socket.create_connection(("127.0.0.1", 9), timeout=1)


def _abort() -> None:
    os.abort()


def _fill() -> None:
    len(bytearray(1 << 31))


def _loop() -> None:
    while True:
        pass


def _leave() -> None:
    os._exit(0)


def _invent() -> None:
    raise UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed")


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        (_abort, "SIGABRT"),
        (_fill, "memory limit"),
        (_loop, "processor time"),
        (_leave, "status 0"),
        (_connect, "PermissionError|cannot be read"),
        (lambda: Path("/etc/passwd").read_bytes(), "cannot be read"),
        (_invent, "surrogates"),
    ],
)
def test_what_a_reader_can_do(what: Callable[[], None], said: str, document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was taken over, dies or loops costs its own process, and one line names the file."""

    def taken(*_: Any, **__: Any) -> NoReturn:
        what()
        raise AssertionError("nothing stopped it")

    monkeypatch.setattr(reading, "settle", taken)
    monkeypatch.setattr(reading, "BOUNDS", reading.BOUNDS._replace(limits=Limits(cpu_seconds=1)))
    with pytest.raises(TargetError, match=said) as caught:
        read_sbom(document)
    assert str(document) in caught.value.message


@pytest.mark.usefixtures("forks")
def test_it_cannot_write(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a document makes of its reader leaves a trace on the disk."""

    def taken(*_: Any, **__: Any) -> NoReturn:
        (tmp_path / "trace").write_text("x")
        raise AssertionError("nothing stopped it")

    monkeypatch.setattr(reading, "settle", taken)
    with pytest.raises(TargetError):
        read_sbom(document)
    assert not (tmp_path / "trace").exists()


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("answer", [b"", b"\xc1", msgspec.msgpack.encode({"inventory": 3}), msgspec.msgpack.encode({})])
def test_an_answer_that_is_none(answer: bytes, document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller believes nothing of what comes back but its form."""
    monkeypatch.setattr(reading, "_serve", lambda connection, *_, **__: connection.send(answer))
    with pytest.raises(TargetError, match="could not be read"):
        read_sbom(document)


def test_a_pipe(document: Path) -> None:
    """What another program is still writing is read as a file is, as in `sbom:<(syft ...)`."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as out:
            for byte in document.read_bytes():
                out.write(bytes([byte]))
                out.flush()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert [package.name for package in read_sbom(Path(f"/dev/fd/{reader}"))[0].packages] == ["lodash"]
    finally:
        thread.join()
        os.close(reader)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 and one line, without a traceback."""
    (tmp_path / "x").write_bytes(b'{"bomFormat": "CycloneDX", "components": 5}')
    monkeypatch.setattr("sys.argv", ["pratique", "scan", f"sbom:{tmp_path / 'x'}", "--offline", "--cache-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 3
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"pratique: {tmp_path / 'x'}: not a CycloneDX document")


def test_names_that_are_none() -> None:
    """A name as long as a document is told, and not kept."""
    long, sound = "a" * (MAX_NAME + 1), {"type": "library", "name": "b", "version": "1", "purl": "pkg:npm/b@1"}
    for key in ("name", "version", "purl"):
        document = {"bomFormat": "CycloneDX", "components": [{**sound, key: f"pkg:npm/{long}"}, {**sound, "purl": "pkg:npm/c@1"}]}
        found = settle(read_bill(json.dumps(document).encode()))
        assert [package.purl for package in found.packages] == ["pkg:npm/c@1"]
        assert [gap.code for gap in found.gaps] == ["inventory.invalid"]


# -- real documents, changed ----------------------------------------------------------------------------------------------------

_ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, 0, -1, 10**400, 1e308, "", "\0", "a" * 5000, [], {}, [[]], [None], {"": {}}, "../../etc/passwd", ":::",
        "1:2:3",
        "NOASSERTION", "pkg:deb/debian/x@1?distro=debian-12", "pkg:golang/a/b@(devel)#x", "pkg:npm/%ff",
        "pkg:rpm/x@1?epoch=9" + "9" * 40,
        "pkg:deb/x@1?upstream=%40", "pkg:rpm/x@1?upstream=a-b-c.src.rpm", "sha256:zz", "Tool: trivy-1", "syft",
    ]
)  # fmt: skip


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value[:8]) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*at, key)
        yield from _places(inner, (*at, key))


_PARSED = {path.name: json.loads(path.read_bytes()) for path in DOCUMENTS if path.suffix == ".json"}
_PLACES = {name: list(_places(parsed)) for name, parsed in _PARSED.items()}


def _answered(data: bytes) -> Inventory | None:
    """Read a document; what comes out can be sent. None where it is refused in words."""
    try:
        found = settle(read_bill(data), details=True)
    except ParseError:
        return None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Inventory) == found
    return found


@settings(max_examples=60)
@given(st.data())
def test_wrong_types_anywhere(data: st.DataObject) -> None:
    """Whatever stands wherever in a real document: an inventory, or one line."""
    name = data.draw(st.sampled_from(sorted(_PARSED)))
    changed = json.loads(json.dumps(_PARSED[name]))
    for place in data.draw(st.lists(st.sampled_from(_PLACES[name]), min_size=1, max_size=4)):
        inner = changed
        try:
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = data.draw(_ODD)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
    _answered(json.dumps(changed).encode())


@settings(max_examples=60)
@given(st.data())
def test_wrong_bytes_anywhere(data: st.DataObject) -> None:
    """Bytes that are changed, doubled or gone, in UTF-8 or not."""
    content = bytearray(data.draw(st.sampled_from(DOCUMENTS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 40))
        content[start : start + length] = data.draw(
            st.sampled_from([b"", bytes(content[start : start + 200]), b"\xff\xfe", b'"', b"]"])
        )
    _answered(bytes(content))


@pytest.mark.usefixtures("forks")
def test_time_is_bounded(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that sleeps is not waited for longer than its time."""
    monkeypatch.setattr(reading, "settle", lambda *_, **__: time.sleep(3600))
    monkeypatch.setattr(reading, "BOUNDS", reading.BOUNDS._replace(wait_seconds=2.0))
    with pytest.raises(TargetError, match="waited for longer than 2 s"):
        read_sbom(document)
