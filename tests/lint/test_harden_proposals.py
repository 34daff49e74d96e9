"""What is proposed for an image: what follows from files, what is a trial, and what is said to be open."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from pratique.lint.harden.facts import ImageFacts
from pratique.lint.harden.infer import infer
from pratique.lint.harden.proposal import Proposal, Start
from pratique.lint.harden.runline import flags, lines_of
from pratique.lint.harden.script import read_script
from pratique.workload.place import Place
from pratique.workload.rootfs import Item, Rootfs
from pratique.workload.spec import Device, Mount, Spec

HERE = Place(1, 1)
PASSWD = b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"
ROOTFS = {
    "/": Item("folder", 0o755, 0, 0, members=9),
    "/etc/passwd": Item("file", 0o644, 0, 0, content=PASSWD),
    "/etc/group": Item("file", 0o644, 0, 0, content=b"app:x:1001:\nextra:x:3000:app\n"),
    "/tmp": Item("folder", 0o1777, 0, 0),
    "/usr/bin/tool": Item("file", 0o755, 0, 0, content=b"\x7fELF"),
}


def facts(config: dict[str, Any], **more: Item) -> ImageFacts:
    """Return an image with a tool; names of more files have `__` for `/`."""
    items = ROOTFS | {"/" + name.replace("__", "/"): item for name, item in more.items()}
    return ImageFacts({"Cmd": ["tool"]} | config, Rootfs(dict(sorted(items.items()))))


def start(format_: Any = "docker", **spec: Any) -> Start:
    """Return what a manifest says of a container."""
    return Start(format=format_, spec=Spec(format="docker-create", subject="s", place=HERE, **spec))


def script(text: str) -> Item:
    """Return an entrypoint script."""
    return Item("file", 0o755, 0, 0, content=b"#!/bin/sh\n" + text.encode())


def said(lines: tuple[str, ...], *words: str) -> bool:
    """Say whether one line has all these words."""
    return any(all(word in line for word in words) for line in lines)


def test_an_account_without_rights_loses_everything() -> None:
    """All that it may write into is empty in the image: nothing of the proposal is a guess."""
    found = infer(facts({"User": "app"}), start())
    assert flags(found) == ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp:mode=1777"]
    assert not found.attempts
    assert said(found.open, "limits")


def test_a_cluster_needs_the_number_of_a_name() -> None:
    """The kubelet refuses runAsNonRoot for a name; a number in the image is enough as it is."""
    named = infer(facts({"User": "app"}), start("kubernetes"))
    assert (named.user, named.group, named.non_root) == (1000, 1001, True)
    numbered = infer(facts({"User": "1000"}), start("kubernetes"))
    assert (numbered.user, numbered.non_root) == (None, True)


def test_an_unknown_account_is_not_guessed() -> None:
    """A name that the image does not know may be root."""
    found = infer(facts({"User": "somebody"}), start())
    assert not found.drop_all
    assert not found.read_only
    assert found.user is None
    assert said(found.open, "no account 'somebody'")


def test_root_is_left_as_it_is_unless_a_trial_is_asked_for() -> None:
    """What a program does with root no file tells."""
    sure = infer(facts({}), start())
    assert flags(sure) == ["--security-opt=no-new-privileges"]
    assert said(sure.open, "runs as root")
    tried = infer(facts({}), start(), attempt=True)
    assert (tried.user, tried.drop_all, tried.read_only) == (10_001, True, True)
    assert said(tried.attempts, "10001")


def test_a_trial_takes_the_owner_of_the_working_directory() -> None:
    """Who owns /app is who was meant to run what is in it."""
    image = facts({"WorkingDir": "/app"}, app=Item("folder", 0o755, 1000, 1001))
    assert infer(image, start(), attempt=True).user == 1000


def test_a_program_for_root_alone_stays_with_root() -> None:
    """An account that may not start the program is no proposal."""
    image = facts({"Cmd": ["/sbin/only"]}, sbin__only=Item("file", 0o700, 0, 0, content=b"\x7fELF"))
    found = infer(image, start(), attempt=True)
    assert found.user is None
    assert said(found.open, "only root may start /sbin/only")


def test_a_low_port_is_opened_without_root() -> None:
    """The bound of the container's own network is lowered, no more than to that port."""
    image = facts({"User": "app", "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "8080/tcp": {}}})
    assert infer(image, start()).low_port == 80
    assert infer(facts({"User": "app", "ExposedPorts": {"8080/tcp": {}}}), start()).low_port == 0
    on_host = infer(image, start(host_namespaces=("net",)))
    assert on_host.low_port == 0
    assert said(on_host.open, "port 80", "machine's own network")


@pytest.mark.parametrize("attempt", [False, True])
def test_a_program_with_capabilities_of_its_own_keeps_them(attempt: bool) -> None:
    """no-new-privileges would take them away; others are dropped."""
    image = facts({"User": "app", "Cmd": ["ping"]}, usr__bin__ping=Item("file", 0o755, 0, 0, "", ("NET_RAW",)))
    found = infer(image, start(), attempt=attempt)
    assert (found.no_new_privileges, found.drop_all, found.add) == (False, True, ("NET_RAW",))
    assert said(found.because, "/usr/bin/ping", "NET_RAW")


def test_a_setuid_program_that_is_started_is_open() -> None:
    """It becomes root: what it then needs no file tells."""
    image = facts({"User": "app", "Cmd": ["helper"]}, usr__bin__helper=Item("file", 0o4755, 0, 0))
    found = infer(image, start())
    assert (found.no_new_privileges, found.drop_all) == (False, False)
    assert said(found.open, "/usr/bin/helper")


def test_setuid_programs_that_nothing_starts_are_named() -> None:
    """They stop giving rights, and whoever calls one after all can read why."""
    image = facts({"User": "app"}, usr__bin__passwd=Item("file", 0o4755, 0, 0))
    found = infer(image, start())
    assert found.no_new_privileges
    assert said(found.because, "/usr/bin/passwd")


def test_a_script_that_hands_over_keeps_what_it_needs() -> None:
    """Each capability has the program of the script that needs it; at once as the account is a trial."""
    entry = script('if [ "$(id -u)" = 0 ]; then\n  chown -R app /data\n  exec gosu app "$0" "$@"\nfi\nexec "$@"\n')
    image = facts({"Entrypoint": ["/entry.sh"], "Cmd": ["tool"], "Volumes": {"/data": {}}}, **{"entry.sh": entry})
    sure = infer(image, start())
    assert sure.add == ("CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID")
    assert (sure.drop_all, sure.user) == (True, None)
    assert said(sure.because, "CHOWN, DAC_OVERRIDE (for chown in its script)", "SETGID, SETUID (for gosu in its script)")
    tried = infer(image, start(), attempt=True)
    assert (tried.user, tried.group, tried.add) == (1000, 1001, ())
    assert said(tried.open, "/data", "already")


def test_an_init_that_stays_root_may_signal() -> None:
    """Without KILL, tini as root could not end what runs as another account."""
    entry = script('exec su-exec app "$@"\n')
    image = facts({"Entrypoint": ["tini", "--", "/entry.sh"]}, **{"entry.sh": entry})
    assert infer(image, start()).add == ("KILL", "SETGID", "SETUID")


def test_what_a_script_calls_and_nobody_knows_is_open() -> None:
    """An unknown program is never taken to need nothing."""
    entry = script('prepare-database --all\nexec gosu app "$@"\n')
    found = infer(facts({"Entrypoint": ["/entry.sh"]}, **{"entry.sh": entry}), start())
    assert not found.drop_all
    assert said(found.open, "prepare-database")


def test_a_known_program_is_known_by_its_file() -> None:
    """nginx is nginx; a link of that name to BusyBox is not."""
    own = facts(
        {"Cmd": ["nginx"], "ExposedPorts": {"80/tcp": {}}},
        usr__sbin__nginx=Item("file", 0o755, 0, 0, content=b"\x7fELF"),
        run=Item("folder", 0o755, 0, 0),
        var__lib__nginx=Item("folder", 0o755, 0, 0),
    )
    found = infer(own, start())
    assert found.add == ("CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID")
    assert found.tmpfs == ("/run", "/tmp", "/var/lib/nginx")
    link = facts(
        {"Cmd": ["nginx"]}, bin__nginx=Item("link", 0o777, 0, 0, "busybox"), bin__busybox=Item("file", 0o755, 0, 0, content=b"")
    )
    assert not infer(link, start()).drop_all


def test_logs_of_a_known_daemon() -> None:
    """Debian's nginx has logs of another account in its image: it writes into them, and not by root's name alone."""
    files = {
        "usr__sbin__nginx": Item("file", 0o755, 0, 0, content=b"\x7fELF"),
        "var__log__nginx": Item("folder", 0o755, 0, 4, members=2),
        "run": Item("folder", 0o755, 0, 0),
    }
    config = {"Cmd": ["nginx"]}
    logs = {f"var__log__nginx__{name}": Item("file", 0o640, 33, 4) for name in ("access.log", "error.log")}
    sure = infer(facts(config, **files, **logs), start())
    assert sure.add == ("CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID")
    assert not sure.read_only
    assert any("/var/log/nginx, where the image has files" in line for line in sure.open)
    tried = infer(facts(config, **files, **logs), start(), attempt=True)
    assert tried.add == sure.add  # Podman copies into a tmpfs what the image has there
    assert tried.tmpfs == ("/run", "/tmp", "/var/log/nginx")
    links = {f"var__log__nginx__{name}": Item("link", 0o777, 0, 0, f"/dev/std{name}") for name in ("out", "err")}
    linked = infer(facts(config, **files, **links), start())
    assert (linked.read_only, linked.tmpfs, linked.add) == (True, ("/run", "/tmp"), ("CHOWN", "SETGID", "SETUID"))


def test_files_that_it_may_change_make_a_read_only_root_a_trial() -> None:
    """A folder mounted over would hide them."""
    files = {"app": Item("folder", 0o755, 1000, 1001, members=1), "app__main.py": Item("file", 0o644, 1000, 1001)}
    image = facts({"User": "app"}, **files)
    sure = infer(image, start())
    assert not sure.read_only
    assert said(sure.open, "/app")
    tried = infer(image, start(), attempt=True)
    assert (tried.read_only, tried.tmpfs) == (True, ("/tmp",))
    assert said(tried.attempts, "/app")


def test_a_home_with_nothing_but_a_skeleton_is_empty() -> None:
    """useradd copies .bashrc into it, which nobody writes."""
    home = {"home__app": Item("folder", 0o755, 1000, 1001, members=1), "home__app__.bashrc": Item("file", 0o644, 1000, 1001)}
    assert infer(facts({"User": "app"}, **home), start()).tmpfs == ("/home/app", "/tmp")


def test_folders_in_folders_stay() -> None:
    """What is mounted over a folder hides those in it, which a program may look for."""
    inner = {"srv": Item("folder", 0o777, 0, 0, members=1), "srv__run": Item("folder", 0o755, 0, 0)}
    found = infer(facts({"User": "app"}, **inner), start())
    assert dict(zip(found.tmpfs, found.modes, strict=True)) == {"/srv": "1777", "/srv/run": "0755", "/tmp": "1777"}
    many = {f"srv__{number}": Item("folder", 0o755, 0, 0) for number in range(50)}
    found = infer(facts({"User": "app"}, srv=Item("folder", 0o777, 0, 0, members=50), **many), start())
    assert (found.read_only, found.tmpfs) == (False, ())
    assert said(found.open, "52 folders")


def test_root_s_files_in_a_folder_are_not_overlooked() -> None:
    """A folder that is group-writable for the account has files of root's, of which only their number is known."""
    image = facts({"User": "app"}, srv=Item("folder", 0o775, 0, 1001, members=3))
    assert not infer(image, start()).read_only


def test_groups_count() -> None:
    """An account writes where a group that names it may."""
    image = facts({"User": "app"}, shared=Item("folder", 0o770, 0, 3000))
    assert infer(image, start()).tmpfs == ("/shared", "/tmp")


def test_what_is_mounted_needs_nothing() -> None:
    """Volumes of the manifest, and those that the image declares, are writable anyway; a cluster may ignore the latter."""
    image = facts({"User": "app", "Volumes": {"/data": {}}}, data=Item("folder", 0o755, 1000, 1001))
    mounts = (Mount(kind="volume", source="v", target="/tmp", place=HERE),)
    assert infer(image, start(mounts=mounts)).tmpfs == ()
    assert infer(image, start("kubernetes", mounts=mounts)).tmpfs == ("/data",)


def test_a_privileged_container_is_open() -> None:
    """It may need anything, and the proposal is nothing at all."""
    found = infer(facts({"User": "app"}), start(privileged=True))
    assert found == Proposal(open=found.open)
    assert said(found.open, "privileged")


def test_what_a_manifest_gives_is_named() -> None:
    """Folders, devices and switches that somebody wrote down are left, and said to be."""
    mounts = (Mount(kind="bind", source="/var/run/docker.sock", target="/d.sock", place=HERE),)
    found = infer(facts({"User": "app"}), start(mounts=mounts, devices=(Device("/dev/kvm", HERE),), seccomp="unconfined"))
    assert said(found.open, "/var/run/docker.sock", "left")
    assert said(found.open, "/dev/kvm")
    assert said(found.open, "seccomp", "unconfined")


def test_a_trial_takes_privileged_away() -> None:
    """With what else it has then."""
    found = infer(facts({"User": "app"}), start("kubernetes", privileged=True), attempt=True)
    assert (found.unprivileged, found.drop_all) == (True, True)
    assert said(found.attempts, "no longer privileged")


def test_what_a_cluster_would_refuse_is_not_proposed() -> None:
    """The API server refuses SYS_ADMIN together with allowPrivilegeEscalation: false."""
    spec = {"capabilities_add": ("SYS_ADMIN",)}
    assert not infer(facts({"User": "app"}), start("kubernetes", **spec)).no_new_privileges
    assert infer(facts({"User": "app"}), start("compose", **spec)).no_new_privileges


def test_a_token_is_open() -> None:
    """Whether a program calls the cluster no file of its image tells."""
    asked = msgspec.structs.replace(start("kubernetes"), token=True)
    assert said(infer(facts({"User": "app"}), asked).open, "token")
    assert not said(infer(facts({"User": "app"}), start("kubernetes")).open, "token")


def test_what_somebody_added_is_kept() -> None:
    """A capability that the manifest adds is taken for meant."""
    assert infer(facts({"User": "app"}), start(capabilities_add=("SYS_NICE",))).add == ("SYS_NICE",)


@pytest.mark.parametrize(
    ("text", "account", "final"),
    [
        ('exec gosu redis "$@"', "redis", ("...",)),
        ("exec su-exec redis:redis redis-server --port 1", "redis", ("redis-server", "--port", "1")),
        ('exec setpriv --reuid=redis --regid=redis --clear-groups -- "$@"', "redis", ("...",)),
        ("exec setpriv --reuid 5 --regid 5 tool", "5", ("tool",)),
        ('su -s /bin/sh redis -c "redis-server"', "redis", ()),
        ('exec gosu "$USER" tool', "", ("tool",)),
        ('exec "$@"', "", ("...",)),
        ("exec tool", "", ("tool",)),
    ],
)
def test_what_a_script_ends_in(text: str, account: str, final: tuple[str, ...]) -> None:
    """The ways in which images hand over."""
    found = read_script(f"set -e\n{text}\n")
    assert (found.account, found.final) == (account, final)


def test_the_entrypoint_of_redis_is_read() -> None:
    """As its image has it: `find` gives files away, patterns and heads of `case` and `for` are no programs."""
    found = read_script(
        "set -e\n"
        'if [ "${1#-}" != "$1" ]; then\n\tset -- redis-server "$@"\nfi\n'
        'case "$1" in\n  redis-server | redis-*) mode=on ;;\n  sh) exec "$@" ;;\nesac\n'
        'for f in /etc/redis/*.conf; do echo "$f"; done\n'
        "if [ \"$1\" = 'redis-server' -a \"$(id -u)\" = '0' ]; then\n"
        '\tfind . \\! -user redis -exec chown redis \'{}\' +\n\texec gosu redis "$0" "$@"\nfi\n'
        'um="$(umask)"\nif [ "$um" = \'0022\' ]; then umask 0077; fi\nexec "$@"\n'
    )
    assert found.unknown == ()
    assert dict(found.needs) == {"CHOWN": "find and chown", "DAC_OVERRIDE": "find and chown", "SETGID": "gosu", "SETUID": "gosu"}
    assert (found.account, found.conditional, found.final) == ("redis", True, ("...",))


@pytest.mark.parametrize("text", ['. "$f"', "source /etc/more", "eval x", '"$f"', "sh /more.sh", "find / -exec mystery {} ;"])
def test_what_a_script_hands_on_is_unknown(text: str) -> None:
    """What another file does, or what is put together, is not known here."""
    assert read_script(f"set -e\n{text}\nexec tool\n").unknown


def test_functions_of_a_script_are_known() -> None:
    """Their names are no programs, what they call is."""
    found = read_script("log() { echo x; }\nfunction go { mystery; }\nlog a\ngo\n")
    assert found.unknown == ("mystery",)


def test_lines_of_docker_run_are_read() -> None:
    """Flags of all spellings, and the image where it stands."""
    text = "sudo docker run -dit --rm -p80:8080 -v a:/data:ro --tmpfs /run:size=1m --cap-add net_raw,CHOWN -u 5:6 x/y:1 serve\n"
    (run,) = lines_of(text)
    spec = run.start.spec
    assert (spec.image, run.start.command, spec.uid, spec.gid) == ("x/y:1", ("serve",), 5, 6)
    assert (spec.capabilities_add, [mount.target for mount in spec.mounts]) == (("NET_RAW", "CHOWN"), ["/data", "/run"])
    assert [port.container for port in spec.ports] == ["8080"]
    assert lines_of("echo docker run x\ndocker ps\ndocker run --name only\n") == []


@pytest.mark.parametrize("text", ["\n" * 200_000, " " * 200_000, "$(" * 100_000, "case x in " * 20_000, "function " * 30_000])
def test_a_hostile_script_is_read_in_time(text: str) -> None:
    """As long as a script may be, and made to be read again and again."""
    start_at = time.process_time()
    read_script(text)
    assert time.process_time() - start_at < 10
