"""A network that somebody wants in, why it is more than one of the engine's own bridges out.

A bridge is a route of the machine: whatever goes to its subnet goes to the containers in it from then on. So a subnet is one of
private use, and none that the machine reaches itself or asks for names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Drivers of networks that reach no further than the engine's own bridges.
_OWN = ("", "bridge")
# Options of a bridge that touch no interface of the machine.
_HARMLESS = frozenset(("com.docker.network.bridge.enable_icc", "com.docker.network.driver.mtu", "com.docker.network.enable_ipv6"))
# https://datatracker.ietf.org/doc/html/rfc1918, rfc6598 (shared address space), rfc4193 (unique local addresses)
_PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")]
# Interfaces whose routes are containers' own.
_CONTAINERS = ("br-", "docker", "veth", "lo")
_MAX_TABLE = 1 << 20  # a routing table of ten thousand lines
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def beyond(asked: Mapping[str, Any], proc: Path = Path("/proc"), etc: Path = Path("/etc")) -> str:
    """Return why a network takes who administers the engine; "" where it does not."""
    driver, ipam = str(asked.get("Driver") or ""), asked.get("IPAM") or {}
    if driver not in _OWN:
        return f"a network of the driver {driver[:60]!a}"
    odd = sorted(set(asked.get("Options") or ()) - _HARMLESS)
    if odd:
        return f"the option {odd[0][:80]!a} reaches beyond a network of containers"
    if asked.get("Ingress") or asked.get("ConfigFrom") or asked.get("Scope") not in (None, "", "local"):
        return "a network that is not this engine's alone"
    if ipam.get("Driver") not in (None, "", "default") or ipam.get("Options"):
        return "addresses that a plugin of the engine gives"
    return next(filter(None, (_of_subnet(str(one.get("Subnet") or ""), proc, etc) for one in ipam.get("Config") or ())), "")


def _of_subnet(text: str, proc: Path, etc: Path) -> str:
    if not text:
        return ""
    try:
        subnet = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"the subnet {text[:60]!a} cannot be read"
    if not any(_is_within(subnet, one) for one in _PRIVATE):
        return f"the subnet {subnet} is not of private use: what the machine sends there would go to containers"
    taken = next((one for one in _reached(proc, etc) if one.version == subnet.version and one.overlaps(subnet)), None)
    return f"the subnet {subnet} takes what the machine reaches itself: {taken}" if taken is not None else ""


def _is_within(subnet: Network, other: Network) -> bool:
    if isinstance(subnet, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and subnet.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and subnet.subnet_of(other)


def _reached(proc: Path, etc: Path) -> Iterator[Network]:
    """Yield where the machine's own routes lead, and whom it asks for names."""
    for line in _lines(proc / "net/route")[1:]:
        name, target, *_, mask = [*line.split()[:2], *line.split()[7:8]]
        network = ipaddress.ip_network(f"{_address(target)}/{_address(mask)}")
        if network.prefixlen and not name.startswith(_CONTAINERS):
            yield network
    for line in _lines(proc / "net/ipv6_route"):
        target, length, *_, name = line.split()
        if int(length, 16) and not name.startswith(_CONTAINERS):
            yield ipaddress.ip_network((int(target, 16), int(length, 16)))
    for line in _lines(etc / "resolv.conf"):
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                yield ipaddress.ip_network(words[1].partition("%")[0])
            except ValueError:
                continue  # nobody can ask it


def _address(text: str) -> ipaddress.IPv4Address:
    """Read an address as the kernel writes it: in the order of this machine's bytes."""
    import sys  # noqa: PLC0415 - beside its one use

    return ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder))


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_TABLE).decode("ascii", "replace").splitlines()
    except OSError:
        return []  # there is no such family of addresses here
