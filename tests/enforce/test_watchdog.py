"""A gate that hangs ends itself; one that is busy does not; systemd hears that it is ready and alive."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pratique.enforce import notify
from pratique.enforce.watchdog import HUNG


def run(text: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, check=False, timeout=60, env=env or None
    )


def test_a_loop_that_hangs_ends_the_process() -> None:
    done = run("""
        import asyncio, time
        from pratique.enforce.watchdog import Watchdog
        async def main():
            Watchdog(0.4).start()
            await asyncio.sleep(0.05)
            time.sleep(50)
        asyncio.run(main())
    """)
    assert (done.returncode, done.stderr) == (HUNG, "pratique: the gate hangs and ends itself\n")


def test_a_loop_that_turns_goes_on() -> None:
    done = run("""
        import asyncio, time
        from pratique.enforce.watchdog import Watchdog
        async def main():
            dog = Watchdog(3)
            dog.start()
            for _ in range(4):
                time.sleep(0.3)
                await asyncio.sleep(0.3)
            dog.stop()
            time.sleep(4)
        asyncio.run(main())
    """)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["notify.sock", "@pratique-{}"])
def test_systemd_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = name.format(tmp_path.name) if name[0] == "@" else str(tmp_path / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if name[0] == "@" else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify.ready()
        notify.alive()
        assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"WATCHDOG=1"]
        monkeypatch.delenv("NOTIFY_SOCKET")
        notify.ready()
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    assert notify.watchdog_seconds() == pytest.approx(5 / 3)
    monkeypatch.setenv("WATCHDOG_USEC", "often")
    assert notify.watchdog_seconds() == 0
