"""Several connections of one process, as a gate has them, and other processes that come and go: the store stays whole."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import storing
from pratique.enforce.keeper import Keeper
from pratique.granting.desk import Desk
from pratique.store.grants import SqliteGrants
from pratique.store.verdicts import Verdicts
from pratique.store.watch import Live
from storing import PATHS, place_in

_COMMAND = (
    "import sys, storing; from pathlib import Path; from pratique.granting.desk import Desk\n"
    "from pratique.store.verdicts import Verdicts\n"
    "place = storing.place_in(Path(sys.argv[1])); Verdicts(place).close()\n"
    "with Desk(place) as desk: desk.request(storing.asked(sys.argv[2]))"
)


def _command(folder: Path, who: str) -> None:
    subprocess.run([sys.executable, "-c", _COMMAND, str(folder), who], env={"PYTHONPATH": PATHS}, check=True, timeout=60)


def test_a_commands_end_leaves_a_gates_log_alone(tmp_path: Path) -> None:
    """A gate has two connections to the grants; a command that ends beside it must not put their log away under them."""
    place = place_in(tmp_path)
    keeper = Keeper(place)
    keeper.live()
    for name in ("alice", "bob", "carol"):
        _command(tmp_path, name)
        assert place.database.with_name("grants.sqlite-wal").exists()
        keeper.desk.request(storing.asked(f"{name}-2"))
        keeper.live()
    keeper.close()
    with Desk(place) as desk:
        assert len(desk.store.find()) == 6
    with contextlib.closing(sqlite3.connect(place.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_second_connection_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """What one connection has locked stays locked when another one of the same process is opened and closed."""
    place = place_in(tmp_path)
    first = SqliteGrants(place)
    verdicts = Verdicts(place)
    live = Live(place)
    live.current()
    SqliteGrants(place).close()
    Verdicts(place).close()
    locks = Path("/proc/locks").read_text()
    for path in (place.database, place.folder / "verdicts.sqlite"):
        assert f":{path.stat().st_ino} " in locks
    first.close()
    verdicts.close()
    live.close()
