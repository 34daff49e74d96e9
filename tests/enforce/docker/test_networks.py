"""A network of containers takes nothing that the machine reaches itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pratique.enforce.docker.networks import beyond

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
SIX = "fd000000000000010000000000000000 40 " + "0" * 32 + " 00 " + "0" * 32 + " 00000100 00000001 00000000 00000001     eth0\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a machine at 192.168.1.0/24 and fd00:0:0:1::/64 that asks 10.9.8.7 for names."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(ROUTES)
    (tmp_path / "net/ipv6_route").write_text(SIX)
    (tmp_path / "resolv.conf").write_text("# names\nnameserver 10.9.8.7\nnameserver fe80::1%eth0\nnameserver what\n")
    return tmp_path


def network(*subnets: str, **more: Any) -> dict[str, Any]:
    return {"Name": "n", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": one} for one in subnets]}, **more}


@pytest.mark.parametrize(
    "asked",
    [
        {"Name": "n"},
        network(),
        network("172.28.0.0/16"),
        network("10.5.0.1/24", "fd00:0:0:2::/64"),
        network("172.17.5.0/24"),
        network(Options={"com.docker.network.driver.mtu": "1400"}, Scope="local", Internal=True, Attachable=True),
        {"Name": "n", "IPAM": {"Driver": "default", "Options": {}, "Config": []}},
    ],
)
def test_ordinary(asked: dict[str, Any], machine: Path) -> None:
    assert beyond(asked, machine, machine) == ""


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (network("8.8.8.0/24"), "private use"),
        (network("0.0.0.0/1"), "private use"),
        (network("10.0.0.0/7"), "private use"),
        (network("2001:db8::/64"), "private use"),
        (network("192.168.1.128/25"), "192.168.1.0/24"),
        (network("192.168.0.0/16"), "192.168.1.0/24"),
        (network("172.28.0.0/16", "10.9.0.0/16"), "10.9.8.7"),
        (network("fd00::/32"), "fd00:0:0:1::/64"),
        (network("none"), "cannot be read"),
        (network(Driver="macvlan"), "macvlan"),
        (network(Options={"com.docker.network.bridge.name": "eth0"}), "bridge.name"),
        (network(Scope="swarm"), "alone"),
        (network(Ingress=True), "alone"),
        ({"Name": "n", "IPAM": {"Driver": "disk"}}, "plugin"),
        ({"Name": "n", "IPAM": {"Options": {"a": "b"}}}, "plugin"),
    ],
)
def test_more(asked: dict[str, Any], why: str, machine: Path) -> None:
    assert why in beyond(asked, machine, machine)


def test_a_machine_without_tables(tmp_path: Path) -> None:
    assert beyond(network("10.5.0.0/24"), tmp_path, tmp_path) == ""
