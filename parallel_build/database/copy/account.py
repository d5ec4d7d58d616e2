"""The temporary account through which the new database server reads the original.

It exists while a copy runs: limited to the new server's address, with a random password, with TLS where the original offers it, and with
the rights to read and nothing else. It is made outside the binary log, so that the original's own replica never sees it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from parallel_build.cancel import clearing_up
from parallel_build.database.copy import account_notes
from parallel_build.database.server import certificates, processes
from parallel_build.database.server.dialects import DatabaseServer, identify, require
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.remote.access import Access
from parallel_build.remote.sql import Row, Session, quote, session
from parallel_build.secret import Secret

COPY_USER = "cutover_copy"
FLUSH_TABLES_SINCE = (8, 0, 23)  # MySQL's privilege of that name


@dataclass(frozen=True)
class CopyAccount:
    """How the new server reaches the original.

    Attributes:
        address: the original's address.
        port: its port.
        user: account.
        host: address the account is limited to.
        password: its password.
        tls: TLS is required.
        authority: the original's CA certificate (PEM) where it has one to check against, else None.
        verified: its certificate names its address and is that authority's, so that the new server checks both.
    """

    address: str
    port: int
    user: str
    host: str
    password: Secret
    tls: bool
    authority: bytes | None
    verified: bool = False


def own_address(host: Access, peer: str) -> str:
    """The address with which `host` appears at `peer`."""
    result = host.run(["ip", "-o", "route", "get", peer])
    words = result.stdout.split()
    if "src" not in words:
        raise CommandFailed(
            f"{host.name}: no address of its own is known towards {peer}", result.stdout.strip(), f"check the network of {host.name}"
        )
    return words[words.index("src") + 1]


def offers_tls(opened: Session, server: DatabaseServer) -> bool:
    """Whether the server takes TLS connections over the network."""
    return bool(opened.value(server.dialect.require_tls))


def authority(host: Access, opened: Session) -> bytes | None:
    """The CA certificate that the server names, or None."""
    row = opened.row("SELECT @@GLOBAL.ssl_ca AS ca, @@GLOBAL.datadir AS datadir") or {}
    path = str(row.get("ca") or "")
    if not path:
        return None
    return host.read(_absolute(path, row))


def names_its_address(host: Access, opened: Session, ca: bytes | None) -> bool:
    """Whether the server's certificate is of that authority and bears the address that the stack has for it."""
    row = opened.row("SELECT @@GLOBAL.ssl_cert AS certificate, @@GLOBAL.datadir AS datadir") or {}
    path = str(row.get("certificate") or "")
    text = host.read(_absolute(path, row)) if path else None
    if ca is None or text is None:
        return False
    return certificates.names_address(ca, text, host.server.address)


def _absolute(path: str, row: Row) -> str:
    return path if path.startswith("/") else f"{str(row['datadir']).rstrip('/')}/{path}"


def read_grants(server: DatabaseServer, schemas: Sequence[str], account: str) -> list[str]:
    """The rights to read `schemas` in one consistent snapshot."""
    everywhere = ["RELOAD", "PROCESS", server.dialect.status_grant]
    if server.family == "mysql" and server.version >= FLUSH_TABLES_SINCE:
        everywhere += ["FLUSH_TABLES"]
    return [
        f"GRANT {', '.join(everywhere)} ON *.* TO {account}",
        *(f"GRANT SELECT, SHOW VIEW, LOCK TABLES ON {quote(schema.replace('_', chr(92) + '_'))}.* TO {account}" for schema in schemas),
    ]


@contextlib.contextmanager
def temporary(
    source: Access, target: Access, schemas: Sequence[str], *, replication: bool = False, through_here: bool = False
) -> Iterator[CopyAccount]:
    """The account, for the time of the block; arguments as for `make`."""
    made = make(source, target, schemas, replication=replication, through_here=through_here)
    try:
        if through_here:
            with source.forward(f"{made.host}:{made.port}") as local, target.offer(local) as offered:
                yield replace(made, address="127.0.0.1", port=offered)
        else:
            yield made
    finally:
        with clearing_up(), session(source) as opened:
            revoke(opened)


def make(source: Access, target: Access, schemas: Sequence[str], *, replication: bool = False, through_here: bool = False) -> CopyAccount:
    """Make the account; leftovers of an interrupted copy go first. Who makes it has to `revoke` it.

    Args:
        replication: may also read the binary log.
        through_here: for a target that can't open a connection to the original: it reaches it through the two SSH connections that were
            opened from this machine, and the account is one of the original's own host.
    Raises:
        StepFailed: the original takes no connections over the network.
    """
    if through_here:
        with session(source) as opened:
            address = _own_side(opened, source)
    else:
        address = own_address(target, source.server.address)
    password = Secret(secrets.token_urlsafe(24))
    with session(source) as opened:
        server = identify(opened)
        if not through_here:
            _check_network(opened, source)
        tls = offers_tls(opened, server)
        account = f"{quote(COPY_USER)}@{quote(address)}"
        revoke(opened)
        account_notes.note(source, COPY_USER)
        opened.execute("SET SESSION sql_log_bin = 0")
        require = "SSL" if tls else "NONE"
        opened.execute(f"CREATE USER {account} {server.dialect.password_clause} REQUIRE {require}", [password.reveal()])
        for grant in read_grants(server, schemas, account):
            opened.execute(grant)
        if replication:
            opened.execute(f"GRANT {server.dialect.replication_grant} ON *.* TO {account}")
        port = int(opened.value("SELECT @@GLOBAL.port"))
        certificate = authority(source, opened) if tls else None
        verified = tls and not through_here and names_its_address(source, opened, certificate)
    return CopyAccount(source.server.address, port, COPY_USER, address, password, tls, certificate, verified)


def revoke(opened: Session, user: str = COPY_USER) -> int:
    """Drop every account of that name, outside the binary log, and end its sessions; return how many there were. Also after a cancel."""
    found = opened.rows("SELECT Host AS h FROM mysql.user WHERE User = %s", [user])
    if found:
        opened.execute("SET SESSION sql_log_bin = 0")
    for row in found:
        opened.execute(f"DROP USER IF EXISTS {quote(user)}@{quote(row['h'])}")
    for row in opened.rows(f"SELECT ID AS i FROM {processes.table(opened)} WHERE USER = %s", [user]):
        with contextlib.suppress(StepFailed):  # ended by itself since it was listed
            opened.execute(f"KILL {int(row['i'])}")
    account_notes.forget(opened.host, user)
    return len(found)


def client_options(access: CopyAccount, family: str, authority_path: str) -> str:
    """The `[client]` file with which the client program of `family` on the new server reaches the original."""
    lines = [
        "[client]",
        "protocol=tcp",
        f"host={access.address}",
        f"port={access.port}",
        f"user={access.user}",
        f'password="{access.password.reveal()}"',
    ]
    if family == "mysql":
        mode = (
            "VERIFY_IDENTITY"
            if access.verified
            else "VERIFY_CA"
            if access.tls and access.authority
            else "REQUIRED"
            if access.tls
            else "DISABLED"
        )
        lines.append(f"ssl-mode={mode}")
    elif access.tls:
        # The default differs between versions, and a certificate without the address would stop a newer client.
        lines += ["ssl", "ssl-verify-server-cert" if access.verified else "disable-ssl-verify-server-cert"]
    if access.tls and access.authority:
        lines.append(f"ssl-ca={authority_path}")
    return "\n".join(lines) + "\n"


def _bound(opened: Session, source: Access) -> str | None:
    """The addresses that the server takes TCP connections at, as bind_address has them; None where it takes none.

    MariaDB has no such variable before 10.3: its listening socket says it then.
    """
    if require(opened, "skip_networking") in ("1", "ON"):
        return None
    rows = opened.rows(r"SHOW GLOBAL VARIABLES LIKE 'bind\_address'")
    if rows:
        return str(rows[0]["Value"] or "*")
    port = int(opened.value("SELECT @@GLOBAL.port"))
    lines = source.run(["ss", "-ltn", f"sport = :{port}"]).stdout.splitlines()
    addresses = [line.split()[3].rpartition(":")[0].strip("[]") for line in lines if line.startswith("LISTEN")]
    return ",".join("*" if each in ("0.0.0.0", "*", "::") else each for each in addresses) or None  # noqa: S104 - compared, not bound


def _own_side(opened: Session, source: Access) -> str:
    """The address at which the server is reached from its own host.

    Raises:
        StepFailed: it takes no TCP connections at all.
    """
    bound = _bound(opened, source)
    if bound is None:
        raise StepFailed(
            f"{source.name}: the database server takes no TCP connections at all (skip_networking)",
            "a copy is read through one",
            f"take skip_networking out of its option file on {source.name} and restart it, or rehearse with a dump (rehearsal.dump)",
        )
    bind = bound.split(",")[0].strip()
    return "127.0.0.1" if bind in ("*", "0.0.0.0", "::", "localhost") else bind  # noqa: S104 - compared, not bound


def _check_network(opened: Session, source: Access) -> None:
    bound = _bound(opened, source)
    if bound is None or bound in ("127.0.0.1", "::1", "localhost"):
        raise StepFailed(
            f"{source.name}: the database server takes no connections over the network ({f'bind_address {bound}' if bound else 'skip_networking'})",
            "the new database server copies straight from it",
            f"set bind_address on {source.name} to its own address and restart it in a maintenance hour before the window: a management "
            "server ends itself when it loses its database, so start those again",
        )
