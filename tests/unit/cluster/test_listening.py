"""Who listens where: real sockets, read back from /proc."""

from __future__ import annotations

import os
import socket

import pytest

from aiopt.errors import InputError
from cluster import ports
from cluster.listening import Listener, listeners
from cluster.processes import identify


@pytest.mark.parametrize(
    ("family", "host", "local"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "0.0.0.0", False),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::", False),
        (socket.AF_INET6, "::ffff:127.0.0.1", True),
    ],
)
def test_a_socket_of_this_process_is_found_where_it_listens(
    family: socket.AddressFamily, host: str, local: bool
) -> None:
    me = identify(os.getpid())
    assert me is not None
    with socket.socket(family) as holder:
        try:
            holder.bind((host, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {host}: {error}")
        holder.listen()
        port = holder.getsockname()[1]
        found = [each for each in listeners([me]) if each.port == port]
        assert [each.is_local for each in found] == [local]
        assert found[0].pid == os.getpid()
        assert found[0].command
    assert port not in [each.port for each in listeners([me])]


def test_an_address_of_the_network_is_not_local() -> None:
    assert not Listener(port=1, address="192.0.2.7", pid=1, command="x").is_local


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "*", "192.0.2.254", "no.such.host.invalid"])
def test_a_head_can_be_opened_on_an_address_of_this_machine_alone(host: str) -> None:
    with pytest.raises(InputError, match=r"--host must be .*ip -brief address"):
        ports.check_host(host)


def test_loopback_is_told_from_other_addresses() -> None:
    ports.check_host("127.0.0.1")
    assert ports.is_loopback("127.0.0.1:6379")
    assert ports.is_loopback("127.0.0.1")
    assert not ports.is_loopback("10.0.0.5:6379")
    assert not ports.is_loopback("")
