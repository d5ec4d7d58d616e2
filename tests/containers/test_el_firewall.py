"""A server whose own rules are firewalld's: users are out and answered, also when it reads its rules again, and it is left as it was."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from parallel_build.operations.new_firewalls import warn_of_closed_ports
from parallel_build.operations.packet_filter import Barrier, close, open_again
from parallel_build.remote.access import Access
from tests.containers.el_stand import ElStand, el_stand
from tests.containers.steps_bench import ADDRESSES

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]
SERVER = "newms1"
BARRIER = Barrier(allowed=["10.91.0.99/32"], ports=[8080], plain=[8080])
SERVE = "for p in 8080 8888; do systemd-run -q --unit=serve$p python3 -m http.server $p -d /srv; done"
LISTEN = "until ss -Htln 'sport = :8080' | grep -q . && ss -Htln 'sport = :8888' | grep -q .; do sleep 0.1; done"


@pytest.fixture(scope="module")
def stand() -> Iterator[ElStand]:
    """A machine that serves on a port that its firewalld lets in, and on one that it does not."""
    with el_stand() as made:
        made.bench.machine(SERVER)
        made.do(SERVER, lambda host: host.script(f"systemctl enable -q --now firewalld; {SERVE}; {LISTEN}", timeout=120))
        yield made


def asked(port: int) -> int | None:
    """Status of a user's call; None where there is no answer."""
    connection = http.client.HTTPConnection(ADDRESSES[SERVER], port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def rules(host: Access) -> str:
    """firewalld's own."""
    return host.run(["nft", "list", "table", "inet", "firewalld"]).stdout


def test_users_are_out_and_answered_next_to_it(stand: ElStand) -> None:
    def out_and_in(host: Access) -> None:
        assert host.run(["firewall-cmd", "--state"]).stdout.strip() == "running"
        before = rules(host)
        assert (asked(8080), asked(8888)) == (200, None)
        for words in ([], ["firewall-cmd", "--reload"], ["systemctl", "restart", "firewalld"]):
            if words:
                host.run(words, timeout=60)
                assert asked(8080) != 200, f"users are in after {' '.join(words)}"
            assert close(host, BARRIER) == ""
            assert (asked(8080), asked(8888)) == (503, None)
        for _ in range(2):
            open_again(host)
            assert (asked(8080), asked(8888)) == (200, None) and rules(host) == before

    stand.do(SERVER, out_and_in)


def test_a_port_that_it_does_not_let_in_is_named(stand: ElStand) -> None:
    with stand.bench.context(stand.bench.site(), "test") as context:
        assert stand.bench.inside(lambda: warn_of_closed_ports(context)) == []
        stand.shell(SERVER, "firewall-cmd --remove-port=8250/tcp")
        found = stand.bench.inside(lambda: warn_of_closed_ports(context))
        assert len(found) == 1 and "does not list 8250 as open" in found[0] and "firewall-cmd --permanent --add-port=8250/tcp" in found[0]
        stand.shell(SERVER, "firewall-cmd --add-port=8250/tcp")
        assert stand.bench.inside(lambda: warn_of_closed_ports(context)) == []
