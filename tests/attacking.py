"""Attacks as data in, what came of them out: each is tried on an engine without a gate, and on one behind it.

An attack is steps (a docker command, an HTTP request, bytes, a shell command) that an ordinary user does, and an effect that
shows that it worked. `docs/reference/attacks.md` lists them; `tests/enforce/attacks/README.md` says how one is written.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

import loopback
from dockerengine import Done, Engine, Person, connect, converse, request
from dockergate import Gate, docker, subject
from pratique.enforce.docker.identity import HEADER, stamp
from pratique.enforce.serving import Peer
from pratique.granting.desk import Desk
from pratique.model.errors import PratiqueError
from pratique.store.line import Line
from pratique.store.place import open_place

FOLDER = Path(__file__).parent / "enforce" / "attacks"
ANSWER_SECONDS = 60.0  # of an engine, on a machine that does other things
# What a busy machine had no time for is tried again with longer waits, as a gate that is late denies: never what got past it.
_PATIENCE = (0.0, 3.0, 12.0)
SECRET = "only root may read this"


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """A grant that is asked for and approved before the attack goes on; `by` approves (an impostor is refused)."""

    privileges: list[str]
    to: str = "mallory"
    seconds: float = 60.0
    uses: int = 1
    container: str = ""
    image: str = ""
    argv: list[str] = []
    by: str = "oncall"
    claimed: bool = False


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """One thing that somebody does: one of the first group. What is `setup` must succeed everywhere."""

    docker: list[str] = []
    http: str = ""
    raw: str = ""
    create: str = ""
    shell: str = ""
    grant: Ask | None = None
    revoke: bool = False
    wait: float = 0
    gate: Literal["", "kill", "start", "clock-back"] = ""
    serve: str = ""

    who: str = msgspec.field(default="mallory", name="as")
    setup: bool = False
    background: bool = False
    own: bool = False
    body: str = ""
    padding: int = 0
    type: str = "application/json"
    type_again: str = ""
    headers: dict[str, str] = {}
    chunked: bool = False
    stamp: str = ""
    text: str = ""
    save: str = ""
    seconds: float = 0


class Effect(msgspec.Struct, forbid_unknown_fields=True):
    """What shows that an attack worked: what was printed, a file of the machine, or what the engine says."""

    output: str = ""
    file: str = ""
    get: str = ""
    shows: str = ""


class Stopped(msgspec.Struct, forbid_unknown_fields=True):
    """Where it is stopped, and how the ledger says so. `closed`: it is let through, with what it was after taken away."""

    at: Literal["edge", "runtime", "desk", "revocation", "closed"]
    event: str = ""
    rule: str = ""
    reason: str = ""


class Attack(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One attempt. `alone`: it takes something of which the machine has one, so that the sides come one after the other."""

    name: str
    what: str
    step: list[Step]
    effect: Effect
    stopped: Stopped
    undo: list[list[str]] = []
    alone: bool = False
    family: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    family: str
    attack: list[Attack]


def load(kind: str) -> list[Attack]:
    """Return the attacks of a folder. Raises msgspec.ValidationError for what is not written as it should be."""
    found = []
    for path in sorted((FOLDER / kind).glob("*.toml")):
        file = msgspec.convert(tomllib.loads(path.read_text()), _File)
        found += [msgspec.structs.replace(attack, family=file.family) for attack in file.attack]
    return found


class Side:
    """One engine as attacks see it, with the people who use it and the folders that attacks are about."""

    def __init__(self, engine: Engine, people: dict[str, Person]) -> None:
        self.engine = engine
        self.people = people
        self.gate = engine if isinstance(engine, Gate) else None
        self.out, self.work = engine.folder / "out", engine.folder / "work"
        # Nobody but root gets past `closed`; what is bound in there is open to whoever gets it bound.
        self.closed = self.out / "closed" / "inner"
        self.closed.mkdir(parents=True, exist_ok=True)
        (engine.folder / "shared").mkdir(exist_ok=True)
        (engine.folder / "shared" / "notes").write_text("for everybody\n")
        self.work.mkdir(exist_ok=True)
        self.work.chmod(0o1777)
        self.closed.parent.chmod(0o700)
        (self.closed / "secret").write_text(SECRET + "\n")

    def command(self, who: Person, words: list[str], *, text: str = "", seconds: float = 0) -> Done:
        """Run docker's command line as somebody."""
        return docker(self.engine, who, *words, text=text, seconds=seconds, cwd=str(self.work))

    def look(self, path: str) -> Any:
        """Return what the engine says of something, past every gate."""
        return self.engine.look(path)

    def clean(self) -> None:
        """Remove every container, volume and network that is left."""
        for kind, key, listing in (("containers", "Id", "json?all=1"), ("volumes", "Name", ""), ("networks", "Id", "")):
            found = self.engine.look(f"/{kind}/{listing}".rstrip("/")) or []
            items = found.get("Volumes") or [] if isinstance(found, dict) else found
            for item in items:
                if kind != "networks" or item["Name"] not in ("host", "none", "bridge"):
                    options = "?force=1&v=1" if kind == "containers" else "?force=1" if kind == "volumes" else ""
                    request(connect(self.engine.socket), "DELETE", f"/{kind}/{item[key]}{options}")


class Attempt:
    """One attack on one side."""

    def __init__(self, attack: Attack, side: Side, patience: float = 0.0) -> None:
        """Every wait is `patience` seconds longer than it says."""
        self.attack = attack
        self._patience = patience
        self.side = side
        self.said = ""
        self.problems: list[str] = []
        self._grant = ""
        self._stamps: dict[str, str] = {}
        self._threads: list[threading.Thread] = []
        self._servers: list[loopback.Server] = []
        engine = side.engine
        self.names = {
            "name": f"a-{attack.name}", "victim": f"v-{attack.name}", "out": str(side.out), "work": str(side.work),
            "closed": str(side.closed), "engine": str(engine.folder), "socket": str(engine.socket), "own": str(engine.own),
            "secret": SECRET, "free_port": str(loopback.free_port()), "pid": str(engine.pid or os.getpid()),
            **{f"ns_{kind}": _namespace(kind) for kind in ("net", "pid", "ipc", "uts", "cgroup")},
        }  # fmt: skip

    def run(self) -> bool:
        """Do the steps; return whether the effect shows."""
        for step in self.attack.step:
            if step.background:
                thread = threading.Thread(target=self._step, args=(step,), daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._step(step)
        for thread in self._threads:
            thread.join(60)
        return self.worked()

    def worked(self) -> bool:
        """Look for the effect."""
        effect = self.attack.effect
        if effect.file:
            path = Path(self._filled(effect.file))
            return path.exists() and path.stat().st_uid == 0
        if effect.get:
            found = self.side.look(self._filled(effect.get))
            return found is not None and re.search(self._filled(effect.shows), json.dumps(found)) is not None
        return re.search(self._filled(effect.output), self.said, re.MULTILINE) is not None

    def undo(self) -> None:
        """Take back what outlives containers."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self.side.clean()
        for words in self.attack.undo:
            self.side.command(self.side.people["root"], list(map(self._filled, words)))
        if self.side.gate is not None:
            self.side.gate.revoke_all()

    def _filled(self, text: str) -> str:
        return re.sub(r"@([a-z_]+)@", lambda found: self.names.get(found[1], found[0]), text)

    def _step(self, step: Step) -> None:
        before = len(self.said)
        code = self._do(step, self.side.people[step.who])
        if step.setup and code not in (0, 101) and not 200 <= code < 400:
            self.problems.append(f"the setup {step} came to {code}: {self.said[before:]}")
        if step.save and (found := re.search(self._filled(step.save), self.said[before:])):
            self.names["saved"] = found[1] if found.groups() else found[0]
        if step.setup:
            self.said = self.said[:before]

    def _do(self, step: Step, who: Person) -> int:
        if step.wait:
            time.sleep(step.wait + self._patience)
            return 0
        if step.docker:
            words = [self._filled(word) for word in step.docker]
            code, text = self.side.command(who, words, text=step.text, seconds=step.seconds)
            return self._say(int(code), text)
        if step.shell:
            env = {"DOCKER_HOST": f"unix://{self.side.engine.socket}", "DOCKER_CONFIG": "/nonexistent"}
            code, text = who.run(["sh", "-c", self._filled(step.shell)], env=env, cwd=str(self.side.work))
            return self._say(code, text)
        if step.grant or step.revoke:
            return self._on_desk(step)
        if step.gate:
            return self._to_gate(step.gate)
        if step.serve:
            self._serve(Path(self._filled(step.serve)))
            return 0
        if step.create:
            return self._create(step, who)
        return self._say(*self._ask(step, who))

    def _serve(self, file: Path) -> None:
        """Serve one file on loopback, as `@port@`, until the attempt is over."""

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = loopback.Server(("127.0.0.1", 0), functools.partial(Handler, directory=str(file.parent)))
        self.names["port"] = str(server.server_port)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def _say(self, code: int, text: str) -> int:
        self.said += text if text.endswith("\n") else text + "\n"
        return code

    def _ask(self, step: Step, who: Person) -> tuple[int, str]:
        end = who.connect(self.side.engine.own if step.own else self.side.engine.socket, step.seconds or ANSWER_SECONDS)
        if step.raw:
            sent = self._filled(step.raw).replace("\n", "\r\n")
            return 0, converse(end, sent.encode()).decode("utf-8", "replace")
        method, target = self._filled(step.http).split(" ", 1)
        body = self._filled(step.body).encode("utf-8", "surrogateescape") + b" " * step.padding
        headers = {name: self._filled(value) for name, value in step.headers.items()}
        if step.type_again:
            headers["content-type"] = step.type_again  # a second one: names of headers have no letter case
        if step.stamp:
            headers[HEADER] = self._stamp(step.stamp, method, target)
        if step.chunked:
            body, headers = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), {**headers, "Transfer-Encoding": "chunked"}
        status, data = request(end, method, target, body, step.type, **headers)
        return status, data.decode("utf-8", "replace")

    def _create(self, step: Step, who: Person) -> int:
        """Create a container, start it, wait for its end, and hear what it said."""
        asked = msgspec.structs.replace(step, http=step.http or "POST /v1.45/containers/create?name=@name@", body=step.create)
        status = self._say(*self._ask(asked, who))
        name = self.names["name"]
        for path in (f"/containers/{name}/start", f"/containers/{name}/wait"):
            code, body = request(who.connect(self.side.engine.socket, 20), "POST", path, kind="")
            self._say(code, body.decode("utf-8", "replace"))
            if code >= 400:
                return code
        self._say(0, self.side.engine.logs(name))
        return status

    def _stamp(self, given: str, method: str, target: str) -> str:
        """Return an identity for the engine's own socket: `forged`, or a true one (with the gate's own key) that leaked."""
        kind, _, name = given.partition(":")
        if kind == "forged":
            return f"v1 0 0 1 {time.time():.3f} 00112233 {'0' * 64}"
        if self.side.gate is None:
            return "there is no gate"
        key = (self.side.gate.store / "gate" / "front.key").read_bytes()
        person = self.side.people[name]
        age = 3600 if kind == "old" else 0
        line = ("GET", "/_ping") if kind == "other" else (method, target)
        peer = Peer(uid=person.uid, gid=person.gid, pid=1)
        if kind == "replayed" and given in self._stamps:
            return self._stamps[given]
        self._stamps[given] = stamp(key, peer, *line, time.time() - age)
        return self._stamps[given]

    def _on_desk(self, step: Step) -> int:
        gate = self.side.gate
        if gate is None:
            return 0
        with Desk(open_place(gate.store)) as desk:
            try:
                if step.revoke:
                    from pratique.grant.lifecycle import Revoke

                    desk.act(self._grant, Revoke(subject("oncall"), "enough"))
                elif step.grant is not None:
                    self._grant = self._granted(desk, step.grant)
            except PratiqueError as error:
                self._say(1, f"the desk: {error}")
                return 1
        return 0

    def _granted(self, desk: Desk, wanted: Ask) -> str:
        from pratique.model.privilege import Asked, Scope, Task

        scope = Scope(
            container=self._id(self._filled(wanted.container)) if wanted.container else "",
            images=(self._image(self._filled(wanted.image)),) if wanted.image else (),
            argv=tuple(wanted.argv),
        )
        task, privileges = Task(id="T-1", purpose=self.attack.name), tuple(map(self._filled, wanted.privileges))
        grant = desk.request(
            Asked(
                subject=subject(wanted.to), task=task, privileges=privileges, scope=scope, lifetime=float(wanted.seconds),
                uses=wanted.uses,
            )
        )  # fmt: skip
        by = subject(wanted.by)
        if wanted.claimed:
            by = msgspec.structs.replace(by, provider="claimed", strength=0)
        desk.approve(grant.id, by)
        return grant.id

    def _id(self, name: str) -> str:
        return str((self.side.look(f"/containers/{name}/json") or {}).get("Id") or name)

    def _image(self, name: str) -> str:
        return str((self.side.look(f"/images/{name}/json") or {}).get("Id") or name)

    def _to_gate(self, what: str) -> int:
        gate = self.side.gate
        if gate is None:
            return 0
        if what == "kill":
            import signal

            gate.stop_gate(signal.SIGKILL)
        elif what == "start":
            gate.start_gate()
        else:
            with Desk(open_place(gate.store)) as desk:
                desk.facts.put("clock", repr(time.time() + 3600))
        return 0


def _namespace(kind: str) -> str:
    """Return the number of the machine's own namespace of a kind."""
    return str(Path(f"/proc/self/ns/{kind}").readlink()).partition("[")[2].rstrip("]")


class Tried(NamedTuple):
    """What came of an attempt on one side."""

    worked: bool
    said: str
    problems: str


def try_both(attack: Attack, bare: Side, gated: Side) -> tuple[Tried, Tried]:
    """Try an attack without a gate and behind one, side by side where they do not get into each other's way."""
    gate = gated.gate
    before = max((line.seq for line in gate.ledger()), default=0) if gate is not None else 0
    for patience in _PATIENCE:
        free, held = _both(attack, bare, gated, patience)
        told = gate is None or attack.stopped.at == "closed" or any(denials(gate, before, attack.stopped))
        if held.worked or (free.worked and not free.problems and not held.problems and told):
            break
    return free, held


def _both(attack: Attack, bare: Side, gated: Side, patience: float) -> tuple[Tried, Tried]:
    if attack.alone:
        return _try(attack, bare, patience), _try(attack, gated, patience)
    with ThreadPoolExecutor(2) as both:
        free, held = both.submit(_try, attack, bare, patience), both.submit(_try, attack, gated, patience)
        return free.result(), held.result()


def _try(attack: Attack, side: Side, patience: float) -> Tried:
    attempt = Attempt(attack, side, patience)
    try:
        worked = attempt.run()
        return Tried(worked, attempt.said[-2000:], "\n".join(attempt.problems))
    finally:
        attempt.undo()


def denials(gate: Gate, after: int, stopped: Stopped) -> Iterator[Line]:
    """Yield the ledger's lines that say that an attack was stopped as expected."""
    points = {"edge": ("docker",), "runtime": ("runtime", "podman")}.get(stopped.at)
    event = stopped.event or {"desk": "refused", "revocation": "ended"}.get(stopped.at, "decision")
    for line in gate.ledger(after):
        fits = line.event == event and (points is None or (line.point in points and line.decision == "deny"))
        if fits and re.search(stopped.rule, line.rule) and re.search(stopped.reason, line.reason):
            yield line
