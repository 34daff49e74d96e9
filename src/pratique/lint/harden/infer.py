"""What an image shows and what a manifest asks for in, the least privileges out, each with its reason.

Two sorts of conclusions are kept apart. What follows from files is certain as far as files go. What only running can show is
proposed when an attempt is asked for, and is named as open otherwise; nothing is guessed in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pratique.lint.harden.facts import ImageFacts, Program, Who, is_below
from pratique.lint.harden.proposal import PORTS, Known, Proposal, Start, programs
from pratique.lint.harden.script import Read, read_script
from pratique.workload.rootfs import ROOT, Item

FREE_ACCOUNT = 10_001  # an account of nobody: above those of people and services
FIRST_FREE_PORT = 1024  # where nobody says otherwise
MAX_NAMED = 6  # files or folders that a line names
MAX_TMPFS = 40  # folders; an image in which an account may write more is one in which it may write everywhere

_INVALID = frozenset(("ALL", "SYS_ADMIN"))  # https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
# Where programs of a distribution write while they run: https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html
_USUAL = ("/tmp", "/var/tmp", "/run", "/var/run", "/var/lock", "/var/cache", "/var/log")  # noqa: S108 - folders of an image


def infer(facts: ImageFacts, start: Start, *, attempt: bool = False) -> Proposal:
    """Work out the least privileges of a container. `attempt` takes what only running can show, too."""
    return _Inference(facts, start, attempt=attempt).proposal()


class _Inference:
    def __init__(self, facts: ImageFacts, start: Start, *, attempt: bool) -> None:
        self._facts = facts
        self._start = start
        self._spec = start.spec
        self._attempt = attempt
        self._because: list[str] = []
        self._attempts: list[str] = []
        self._open: list[str] = []
        entrypoint = start.entrypoint if start.entrypoint is not None else facts.words("Entrypoint")
        replaced = start.entrypoint is not None and start.command is None
        command = start.command if start.command is not None else () if replaced else facts.words("Cmd")
        self._program = facts.program([*entrypoint, *command])
        self._script = read_script(self._program.script) if self._program is not None and self._program.script else None
        self._final = self._last(command)
        user = self._spec.user if self._spec.user is not None else facts.user
        self._given = facts.who(user, self._spec.group)

    def _last(self, command: tuple[str, ...]) -> Program | None:
        """Return what is running in the end: what a script ends in, else the program itself."""
        if self._program is None or self._script is None:
            return self._program
        words = list(self._script.final)
        if "..." in words:
            arguments = self._program.arguments if self._program.name not in ("sh", "bash", "dash", "ash") else ()
            words = [*words[: words.index("...")], *(arguments or command)]
        return self._facts.program(words)

    def proposal(self) -> Proposal:
        if self._spec.privileged and not self._attempt:
            self._open.append(
                "it is privileged: what of that it needs (devices, mounts, the kernel) no file tells; nothing is proposed"
            )
            return Proposal(open=tuple(self._open))
        if self._spec.privileged:
            self._attempts.append("it is no longer privileged: it has none of the machine's devices, mounts and capabilities")
        self._left()
        who, keeps_root = self._account()
        no_new = self._escalation()
        sure, needs = self._capabilities(who, keeps_root=keeps_root)
        low = self._low_port(who)
        if low and keeps_root and sure:
            needs = {**needs, "NET_BIND_SERVICE": f"to open port {low}"}
            low = 0
        elif keeps_root:
            low = 0
        if sure:
            needs.update((name, "the manifest adds it") for name in self._spec.capabilities_add if name not in needs)
            self._because.append("all capabilities are dropped" + (f", but {_by_reason(needs)}" if needs else ""))
        if no_new and self._start.format == "kubernetes" and _INVALID & {*needs, *self._spec.capabilities_add}:
            no_new = False
            self._because.append("a cluster takes no pod that has SYS_ADMIN and forbids escalation, so that is not set")
        read_only, tmpfs = self._storage(who, keeps_root=keeps_root)
        tmpfs = self._with_inner(tmpfs)
        if len(tmpfs) > MAX_TMPFS:
            self._open.append(f"a read-only root: {len(tmpfs)} folders would have to be mounted")
            read_only, tmpfs = False, []
        self._open.append("limits on memory, processors and processes: no file tells how much it uses")
        changed = who.uid != self._given.uid
        number = who.uid if changed or (self._start.format == "kubernetes" and who.named and self._spec.user is None) else None
        return Proposal(
            user=number if not keeps_root else None,
            group=who.gid if number is not None and not keeps_root else None,
            non_root=not keeps_root,
            no_new_privileges=no_new,
            seccomp=self._start.format == "kubernetes" and self._spec.seccomp is None,
            drop_all=sure,
            unprivileged=self._spec.privileged,
            add=tuple(sorted(needs)) if sure else (),
            read_only=read_only,
            tmpfs=tuple(tmpfs),
            modes=tuple(self._mode(folder, who, keeps_root=keeps_root) for folder in tmpfs),
            low_port=low,
            because=tuple(self._because),
            attempts=tuple(self._attempts),
            open=tuple(self._open),
        )

    def _left(self) -> None:
        """Say what the manifest gives to the container and is left to it."""
        spec = self._spec
        folders = [mount.source for mount in spec.mounts if mount.kind == "bind" and mount.source.startswith("/")]
        given = {
            "it shares namespaces of the machine": list(spec.host_namespaces),
            "it is given folders of the machine": folders,
            "it is given devices of the machine": [device.path for device in spec.devices],
            "seccomp is not the runtime's": [spec.seccomp] if spec.seccomp in ("unconfined", "custom") else [],
            "AppArmor is off": ["unconfined"] if spec.apparmor == "unconfined" else [],
        }
        for what, names in given.items():
            if names:
                self._open.append(f"{what} ({', '.join(names[:MAX_NAMED])}): whether it needs that no file tells; it is left")
        if self._start.format == "kubernetes":
            if spec.seccomp is None:
                self._because.append("the runtime's seccomp profile, which engines give to every container")
            if self._start.token:
                self._open.append("a token of the cluster is mounted: whether it calls the cluster's API no file tells")

    def _mode(self, folder: str, who: Who, *, keeps_root: bool) -> str:
        """Return a mounted folder's mode: open where the account may write, since engines mount as root; else the image's."""
        item = self._facts.rootfs.items.get(folder, ROOT)
        writes = not keeps_root and who.uid is not None and item.allows(2, who.uid, who.groups)
        return "1777" if writes else f"{item.mode & 0o7777:04o}"

    def _with_inner(self, folders: Sequence[str]) -> list[str]:
        """Return folders with those in them, which would be gone when something is mounted over them."""
        covered = self._covered()
        inner = {path for folder in folders for path, item in self._facts.rootfs.below(folder) if item.kind == "folder"}
        return sorted({*folders, *(path for path in inner if not is_below(path, covered))})

    # -- who it runs as ---------------------------------------------------------------------------------------------------------

    def _account(self) -> tuple[Who, bool]:
        """Return the account to run as, and whether that may be root."""
        given = self._given
        if given.uid is None:
            self._open.append(f"the image has no account {given.text[:80]!r}: it is not known who that is")
            return given, True
        if given.uid != 0:
            self._because.append(f"it runs as {given.text[:80]} ({given.uid}:{given.gid}), which is not root")
            return given, False
        script = self._script
        if script is not None and script.account:
            other = self._facts.who(script.account)
            if other.uid:
                return self._hand_over(other, script)
        if self._attempt:
            return self._trial()
        name = self._program.name if self._program is not None else "nothing that is known"
        self._open.append(f"it runs as root: whether {name} could do without, only running it as somebody else shows (--attempt)")
        return given, True

    def _hand_over(self, other: Who, script: Read) -> tuple[Who, bool]:
        text = f"its script hands over to {script.account} ({other.uid}:{other.gid})"
        if self._attempt and script.conditional:
            self._attempts.append(f"{text} when it is root: it is started as that account at once")
            if script.given:
                given = ", ".join(script.given[:MAX_NAMED])
                self._open.append(
                    f"what its script gives to {script.account} ({given}) must be that account's already: see to the volumes"
                )
            return other._replace(named=True), False
        self._because.append(f"{text}; until then it is root")
        return self._given, True

    def _trial(self) -> tuple[Who, bool]:
        program = self._program
        outsider = Who(FREE_ACCOUNT, FREE_ACCOUNT, frozenset((FREE_ACCOUNT,)), named=True, text=str(FREE_ACCOUNT))
        if program is not None and program.item is not None and not program.item.allows(1, FREE_ACCOUNT, outsider.groups):
            self._open.append(f"it runs as root, and only root may start {program.path}")
            return self._given, True
        if self._known() is not None:
            return self._given, True  # what it does as root is known, and it cannot do that as anybody else
        owner = self._facts.rootfs.resolve(self._facts.workdir)[1]
        if owner is not None and owner.uid and self._facts.workdir != "/":
            outsider = Who(owner.uid, owner.gid, frozenset((owner.gid,)), named=True, text=str(owner.uid))
            self._attempts.append(f"it runs as {owner.uid}:{owner.gid}, whose the working directory {self._facts.workdir} is")
        else:
            self._attempts.append(f"it runs as {FREE_ACCOUNT}, an account without any rights, in the place of root")
        return outsider, False

    # -- what it may ------------------------------------------------------------------------------------------------------------

    def _called(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the files with rights of their own that are certainly started, with the capabilities that they give."""
        started = [program for program in (self._program, self._final) if program is not None and program.item is not None]
        names = self._script.called if self._script is not None else frozenset()
        paths = {program.path for program in started}
        for path, item in self._facts.rootfs.items.items():
            if item.privileged and path.rpartition("/")[2] in names:
                paths.add(path)
        items = self._facts.rootfs.items
        return sorted((path, items[path].capabilities) for path in paths if path in items and items[path].privileged)

    def _escalation(self) -> bool:
        called = self._called()
        if called:
            for path, capabilities in called:
                what = "gives " + ", ".join(capabilities) if capabilities else "runs with the rights of its owner"
                self._because.append(f"{path} is started and {what}: no-new-privileges would stop that, so it is not set")
            return False
        others = [path for path, item in self._facts.rootfs.items.items() if item.privileged]
        if others:
            named = ", ".join(others[:MAX_NAMED]) + (f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else "")
            self._because.append(
                f"no-new-privileges: nothing that is seen to be started has rights of its own; these give none then: {named}"
            )
        else:
            self._because.append("no-new-privileges: no file of the image gives rights")
        return True

    def _known(self) -> Known | None:
        """Return what is known of the program that stays; a link to something else, such as BusyBox, is not it."""
        final = self._final
        if final is None or final.path.rpartition("/")[2] != final.name:
            return None
        return programs().get(final.name)

    def _capabilities(self, who: Who, *, keeps_root: bool) -> tuple[bool, dict[str, str]]:
        """Say whether it is known which capabilities are needed, and which these are, with who needs each."""
        needs: dict[str, str] = {}
        sure = True
        for path, capabilities in self._called():
            needs.update((name, f"for {path}") for name in capabilities)
            if not capabilities:
                sure = False
                self._open.append(f"{path} changes its account: what it then needs no file tells")
        if not sure and self._attempt:
            self._attempts.append("it is given no capability but those named")
        if not keeps_root:
            return sure or self._attempt, needs
        if who.uid is None:
            return False, needs
        if self._script is not None:
            needs.update(self._of_script(self._script))
            if self._script.unknown:
                named = ", ".join(self._script.unknown[:MAX_NAMED])
                self._open.append(f"its script calls what is not known here: {named}")
                sure = False
            if self._script.account or self._final is None:
                return sure or self._attempt, needs
        known = self._known()
        if known is not None:
            needs.update((need, f"{known.name}: {known.why}") for need in known.caps)
            closed = [path for path, item in self._filled(known) if not self._root_writes(path, item)]
            if closed:  # in a tmpfs, too: Podman copies into it what the image has there
                needs.setdefault(
                    "DAC_OVERRIDE", f"{known.name} writes into {', '.join(closed)}, where files are another account's"
                )
            return sure or self._attempt, needs
        name = self._final.name if self._final is not None else "nothing that is known"
        self._open.append(f"{name} stays root: which capabilities it uses no file tells")
        if self._attempt:
            self._attempts.append(f"{name} is given no capability but those named")
        return self._attempt, needs

    def _of_script(self, script: Read) -> dict[str, str]:
        needs = {need: f"for {name} in its script" for need, name in script.needs}
        if script.writer and self._has_folders_of_others():
            needs.setdefault("DAC_OVERRIDE", f"for {script.writer} in its script, in folders of other accounts")
        if self._program is not None and self._program.wrapper and script.account:
            needs.setdefault("KILL", f"for {self._program.wrapper}, which passes signals on to another account")
        return needs

    def _has_folders_of_others(self) -> bool:
        mounted = bool(self._spec.mounts or self._facts.names("Volumes"))
        return mounted or any(item.kind == "folder" and item.uid for item in self._facts.rootfs.items.values())

    def _low_port(self, who: Who) -> int:
        """Return the lowest port below 1024 that it listens on, 0 without one."""
        texts = [port.partition("/")[0] for port in self._facts.names("ExposedPorts")]
        texts += [port.container.partition("/")[0] for port in self._spec.ports]
        low = min((int(text) for text in texts if text.isdecimal() and 0 < int(text[:6]) < FIRST_FREE_PORT), default=0)
        bound = self._spec.sysctls.get(PORTS, "")
        if not low or (bound.isdecimal() and len(bound) < 6 and int(bound) <= low):
            return 0
        if who.uid and "net" in self._spec.host_namespaces:
            self._open.append(
                f"port {low} on the machine's own network needs NET_BIND_SERVICE, which an account cannot be given here"
            )
            return 0
        if who.uid:
            self._because.append(
                f"port {low} is opened without root: ports from {low} on are open to everybody in its own network"
            )
        return low

    # -- where it writes --------------------------------------------------------------------------------------------------------

    def _covered(self) -> list[str]:
        covered = [mount.target.rstrip("/") or "/" for mount in self._spec.mounts if mount.target.startswith("/")]
        if self._start.format != "kubernetes":  # engines make a volume of each; a cluster may, or may not
            covered += [name.rstrip("/") for name in self._facts.names("Volumes") if name.startswith("/") and name != "/"]
        return covered

    def _storage(self, who: Who, *, keeps_root: bool) -> tuple[bool, list[str]]:
        """Return whether the root file system can be read-only, and what has to be mounted where."""
        covered = self._covered()
        if keeps_root:
            return self._storage_of_root(covered)
        if who.uid is None:
            return False, []
        folders = [folder for folder in self._facts.writable(who) if not is_below(folder, covered)]
        if len(folders) > MAX_TMPFS:
            self._open.append(f"it may write into {len(folders)} folders of the image: which of them it does, only running shows")
            return False, []
        empty = [folder for folder in folders if self._facts.is_empty(folder)]
        full = [folder for folder in folders if folder not in empty]
        loose = self._facts.loose_files(who, [*covered, *folders])
        if (full or loose) and not self._attempt:
            named = ", ".join((full + loose)[:MAX_NAMED])
            self._open.append(
                f"a read-only root: it may change what the image has in {named}; whether it does, only running shows"
            )
            return False, []
        if empty:
            self._because.append(
                f"read-only root: {', '.join(empty)}: all that {who.uid} may write into, empty in the image and at each start"
            )
        elif not full:
            self._because.append(f"read-only root: {who.uid} may write nowhere in the image")
        return self._kept(full, loose, empty)

    def _kept(self, full: list[str], loose: list[str], empty: list[str]) -> tuple[bool, list[str]]:
        if full or loose:
            self._attempts.append(
                f"it is taken not to write into {', '.join((full + loose)[:MAX_NAMED])}, where the image has files"
            )
        return True, empty

    def _storage_of_root(self, covered: list[str]) -> tuple[bool, list[str]]:
        """Root may write everywhere: where it does is known of known programs, and else a trial."""
        known, script = self._known(), self._script
        if known is None and not self._attempt:
            self._open.append("a read-only root: root may write everywhere, and where it does only running shows")
            return False, []
        wished = [*(known.writes if known is not None else _USUAL)]
        if script is not None and script.account:
            wished += self._facts.writable(self._facts.who(script.account))
        found: list[str] = []
        filled = [path for path, _ in self._filled(known)] if known is not None else []
        if known is not None and filled and not self._attempt:
            self._open.append(
                f"a read-only root: {known.name} writes into {', '.join(filled)}, where the image has files: mount a volume"
            )
            return False, []
        for folder in sorted(wished):
            path, item = self._facts.rootfs.resolve(folder)
            if item is None or item.kind != "folder" or is_below(path, [*covered, *found]):
                continue
            if self._facts.is_empty(path) or path in filled:
                found.append(path)
        if filled:
            self._attempts.append(f"what the image has in {', '.join(filled)} is hidden by an empty folder")
        if known is not None:
            self._because.append(
                f"read-only root: {known.name} writes into {', '.join(found) or 'what is mounted'} ({known.reference})"
            )
        else:
            self._attempts.append(f"read-only root: it is taken to write into {', '.join(found) or 'nothing'} alone")
        return True, found

    def _filled(self, known: Known) -> list[tuple[str, Item]]:
        """Return the folders that a known program writes into and in which the image has files; links to devices are none."""
        found = []
        for folder in sorted(known.writes):
            path, item = self._facts.rootfs.resolve(folder)
            if item is None or item.kind != "folder" or is_below(path, self._covered()) or self._facts.is_empty(path):
                continue
            if not self._facts.is_of_devices(path):
                found.append((path, item))
        return found

    def _root_writes(self, path: str, folder: Item) -> bool:
        """Say whether root may write into a folder and its files by their modes alone, as it must without DAC_OVERRIDE."""
        inner = (item for _, item in self._facts.rootfs.below(path) if item.kind in ("file", "folder"))
        return all(item.allows(2, 0, frozenset((0,))) for item in (folder, *inner))


def _by_reason(needs: Mapping[str, str]) -> str:
    """Return capabilities, those with one reason together: `CHOWN, SETUID (why); ...`."""
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(needs.items()):
        reasons.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
