"""ReplicationPair: the new source and its replica, configured for CloudStack, replicating over TLS, proved by a row that travels.

With `new.allInOne` there may be no replica: then the source alone is configured.
"""

from __future__ import annotations

from collections.abc import Sequence

from parallel_build.configuration import NewMachine, Phase, StackConfiguration
from parallel_build.database.replicate import pair
from parallel_build.database.replicate import pair_status as facts
from parallel_build.database.replicate.pair_status import StartingPoint
from parallel_build.database.server import accounts, bookkeeping, certificates
from parallel_build.database.server.dialects import identify
from parallel_build.database.server.settings import TLS_FOLDER, TlsPaths, option_files, server_id
from parallel_build.database.server.state import Account, account, sessions_of
from parallel_build.database.server.state import accounts as accounts_of
from parallel_build.database.setup import NewServer, versions
from parallel_build.errors import RollbackIncomplete, StepFailed
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import prove_or_tell, tolerated
from parallel_build.remote.sql import Session, session
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep

CATCH_UP = 600.0  # seconds
BEAT_TIMEOUT = 60.0
GRANTS = {"*.*": frozenset({"REPLICATION SLAVE"})}
# MySQL 8 takes a replica's certificate check of a changed password as an I/O error of these numbers: access denied, authentication.
WRONG_PASSWORD = {1045, 2061, 2058}


def alone(source: NewMachine) -> str:
    """What an operator has to know of a source without a replica."""
    return (
        f"warning: new.database.replica is not set: from the switch on the disk of {source.name} has the only copy of the databases; back it up from "
        "then on, or name a replica"
    )


@step
class ReplicationPair(FoundationStep):
    """New source and, where there is one, replica; creates nothing else and touches no other server."""

    type = "ReplicationPair"
    phase = Phase.BUILT
    summary = "new MySQL source and replica replicating over TLS"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Files, certificates, account, replication, proof."""
        database = configuration.new.database
        source, replica = database.source, database.replica
        actions = []
        for machine in database.servers:
            first, second = option_files(configuration, machine)
            wanted = first.values
            actions += [
                f"on {machine.name} ({machine.address}): {first.path} with server_id {wanted['server_id']}, "
                f"max_connections {wanted['max_connections']}, "
                f"innodb_buffer_pool_size {int(wanted['innodb_buffer_pool_size']) >> 20} MiB, innodb_rollback_on_timeout, "
                f"innodb_lock_wait_timeout 600, row binary logs" + (", read only" if machine is replica else ""),
                f"on {machine.name}: {second.path} and certificates in {TLS_FOLDER} (key mysql, mode 600)",
                f"on {machine.name}: systemctl enable the database server, restart it if its configuration changed",
            ]
        if replica is None:
            return [*actions, alone(source)]
        return [
            *actions,
            f"on {source.name}: CREATE USER '{facts.USER}'@'{replica.address}' IDENTIFIED BY [secret] REQUIRE SSL; GRANT REPLICATION SLAVE",
            f"on {replica.name}: replicate from {source.address}:{database.port} over TLS, the source's certificate verified, by GTID",
            f"on {replica.name}: read only, for administrators too where the server can",
            f"on {source.name}: CREATE DATABASE {bookkeeping.NAME}, for this tool's own notes",
            f"prove: both threads run, no error, no lag; a row written to {bookkeeping.NAME}.heartbeat on {source.name} is on {replica.name}",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Stop and forget; only on servers that no management server uses."""
        database = configuration.new.database
        source, replica = database.source, database.replica
        if replica is None:
            return [
                f"refuse while CloudStack uses {source.name}",
                f"on {source.name}: DROP DATABASE {bookkeeping.NAME}",
                "the server keeps running, its files stay; both go with its machine",
            ]
        return [
            f"refuse while CloudStack uses {source.name} or {replica.name}",
            f"on {source.name}: DROP DATABASE {bookkeeping.NAME}",
            f"on {replica.name} ({replica.address}): stop replication and forget the source",
            f"on {source.name} ({source.address}): DROP USER '{facts.USER}'@'{replica.address}'",
            "the servers keep running, their files stay; both go with their machines",
        ]

    def apply(self, context: Context) -> Outputs:
        """Set up what is missing, prove all of it."""
        servers = self._servers(context)
        for server in servers:
            if server.install():
                context.progress(f"{server.host.name}: database server installed")
        self._certificates(context, servers)
        for server in servers:
            server.put_files()
            reason = server.bring_up()
            if reason:
                context.progress(f"{server.host.name}: database server started, {reason}")
        names = {server.host.name: server.prove() for server in servers}
        context.progress(f"configuration in force: {versions(names)}")
        source, *replicas = servers
        if not replicas:
            context.progress(alone(source.machine))
            with session(source.host) as on_source:
                self._own_database(context, on_source)
            return {"servers": names, "replica": None}
        replica = replicas[0]
        if source.identity() is not None and source.identity() == replica.identity():
            replica.renew_identity()
            context.progress(f"{replica.host.name}: new server_uuid, it had that of {source.host.name}")
        with session(source.host) as on_source, session(replica.host) as on_replica:
            changed_account = self._account(context, on_source, replica.machine)
            self._replicate(context, on_source, on_replica, again=changed_account)
            self._own_database(context, on_source)
            return self._proof(context, on_source, on_replica) | {"servers": names}

    def verify(self, context: Context) -> Outputs:
        """Prove it again, changing nothing but the heartbeat."""
        return prove_or_tell(context, lambda: self._prove_again(context))

    def _prove_again(self, context: Context) -> Outputs:
        source, *replicas = servers = self._servers(context)
        names = {server.host.name: server.prove() for server in servers}
        if not replicas:
            return {"servers": names, "replica": None}
        replica = replicas[0]
        with session(source.host) as on_source, session(replica.host) as on_replica:
            found = facts.status(on_replica)
            fault = "it has no source" if found is None else found.fault()
            if fault:
                raise StepFailed(
                    f"{replica.host.name} does not replicate from {source.host.name}",
                    fault,
                    f"run `pulumi up` again; `{identify(on_replica).dialect.replica_status}` there shows its state",
                )
            return self._proof(context, on_source, on_replica) | {"servers": names}

    def revert(self, context: Context) -> None:
        """Take replication apart, wherever it stands; nothing happens where there is none."""
        source, *replicas = hosts = [context.host(machine) for machine in context.configuration.new.database.servers]
        others = f"replication between {source.name} and {replicas[0].name}" if replicas else source.name
        for host in hosts:
            with tolerated(context, f"looking whether {host.name} is in use"), session(host) as database:
                users = sessions_of(database, "cloud")
                if users:
                    raise RollbackIncomplete(
                        f"{others} is left as it is",
                        f"CloudStack uses {host.name} from {', '.join(users)}",
                        "undo the switched phase first: set phase to prepared and run `pulumi up`",
                    )
        with tolerated(context, f"the tool's database on {source.name}"), session(source) as on_source:
            if bookkeeping.there(on_source):
                context.intend(f"{source.name}: DROP DATABASE {bookkeeping.NAME}")
                gone = bookkeeping.drop_unused(on_source)
                words = "dropped" if gone else "kept: it marks databases that users have worked on"
                context.progress(f"{source.name}: database {bookkeeping.NAME} {words}")
        for replica in replicas:
            with tolerated(context, f"replication on {replica.name}"), session(replica) as on_replica:
                self._forget(context, on_replica)
        with tolerated(context, f"the replication user on {source.name}"), session(source) as on_source:
            on_source.execute("SET SESSION sql_log_bin = 0")
            for name in sorted(accounts_of(on_source, facts.USER)):
                context.intend(f"{source.name}: DROP USER {name}")
                accounts.dropped(name).make(on_source)
                context.progress(f"{source.name}: {name} dropped")
            if accounts_of(on_source, facts.USER):
                raise RollbackIncomplete(
                    f"{source.name}: user {facts.USER} is still there",
                    "it was dropped, and somebody has made it again",
                    "see who uses the server (SHOW PROCESSLIST there), then run the same command again",
                )

    def _servers(self, context: Context) -> list[NewServer]:
        return [
            NewServer(machine, context.host(machine), context.configuration, context.intend, context.cancel)
            for machine in context.configuration.new.database.servers
        ]

    def _certificates(self, context: Context, servers: Sequence[NewServer]) -> None:
        found = [server.certificates() for server in servers]
        reason = None
        if any(pair is None for pair in found):
            reason = "none yet"
        else:
            pairs = [pair for pair in found if pair is not None]
            if len({ca for ca, _ in pairs}) > 1:
                reason = "the two have different authorities"
            for server, (ca, certificate) in zip(servers, pairs, strict=True):
                fault = certificates.fault(ca, certificate, server.machine)
                reason = reason or (f"{server.host.name}: {fault}" if fault else None)
        if reason is None:
            return
        made = certificates.issue([server.machine for server in servers])
        for server in servers:
            context.intend(f"{server.host.name}: write certificates to {TLS_FOLDER}", reason=reason)
            server.put_certificates(made[server.machine.name])
        context.progress(f"certificates made for {' and '.join(made)}: {reason}")

    def _account(self, context: Context, source: Session, replica: NewMachine) -> bool:
        """The replication user, for the replica's address alone; not in the binary log, so that the replica has no such user."""
        engine = context.configuration.new.database.engine
        name = Account(facts.USER, replica.address)
        source.execute("SET SESSION sql_log_off = 1")
        source.execute("SET SESSION sql_log_bin = 0")
        changes = accounts.login(
            engine,
            name,
            context.site.secrets.replication_password,
            GRANTS,
            account(source, name, engine),
            require_tls=True,
        )
        changes += [accounts.dropped(other) for other in sorted(accounts_of(source, facts.USER) - {name})]
        for change in changes:
            context.intend(f"{source.host.name}: {change.words}")
            change.make(source)
        source.execute("SET SESSION sql_log_bin = 1")
        if changes:
            context.progress(f"{source.host.name}: {'; '.join(change.words for change in changes)}")
        return bool(changes)

    def _replicate(self, context: Context, source: Session, replica: Session, *, again: bool) -> None:
        database = context.configuration.new.database
        found = facts.status(replica)
        ready = found is not None and found.points_to(database.source, database.port) and not again
        if not ready or (found is not None and found.errno in WRONG_PASSWORD):
            begin = self._beginning(context, source, replica)
            context.intend(f"{replica.host.name}: replicate from {database.source.address}:{database.port}", beginning=begin.value)
            position = None
            if begin is StartingPoint.NOW:
                # Made before the position is taken, the tool's database would never reach the replica; it is made again after the start.
                bookkeeping.drop(source)
                position = facts.source_position(source)
            pair.configure(replica, database.source, database.port, context.site.secrets.replication_password, TlsPaths().ca, position)
            context.progress(f"{replica.host.name}: source set to {database.source.address}:{database.port}")
            found = facts.status(replica)
        if found is None or not found.running:
            context.intend(f"{replica.host.name}: start replication")
            pair.start(replica)
            pair.await_running(replica, timeout=BEAT_TIMEOUT, cancel=context.cancel)
            context.progress(f"{replica.host.name}: replication runs")
        if not facts.read_only(replica):
            context.intend(f"{replica.host.name}: read only")
            pair.set_read_only(replica)

    def _beginning(self, context: Context, source: Session, replica: Session) -> StartingPoint:
        begin = facts.starting_point(
            facts.foreign_schemas(source),
            facts.foreign_schemas(replica),
            facts.replica_position(replica),
            logs_complete=facts.logs_complete(source),
        )
        context.progress(f"{replica.host.name}: replication begins {begin.value}")
        return begin

    def _own_database(self, context: Context, source: Session) -> None:
        if bookkeeping.there(source):
            return
        context.intend(f"{source.host.name}: CREATE DATABASE {bookkeeping.NAME}")
        bookkeeping.create(source)
        context.progress(f"{source.host.name}: database {bookkeeping.NAME} made")

    def _proof(self, context: Context, source: Session, replica: Session) -> Outputs:
        database = context.configuration.new.database
        pair.await_position(source, replica, timeout=CATCH_UP, cancel=context.cancel)
        seconds = bookkeeping.beat(source, replica, timeout=BEAT_TIMEOUT, cancel=context.cancel)
        found = facts.status(replica)
        if found is None or not found.running or not found.points_to(database.source, database.port):
            raise StepFailed(
                f"{replica.host.name} does not replicate from {source.host.name} as it was set up",
                (found.fault() if found else None) or str(found),
                "run `pulumi up` again",
            )
        if not facts.read_only(replica):
            raise StepFailed(
                f"{replica.host.name} is not read only",
                "a write there would make it differ from its source, and break the replication",
                "run `pulumi up` again",
            )
        context.progress(f"a row written on {source.host.name} was on {replica.host.name} after {seconds * 1000:.0f} ms")
        return {
            "heartbeatSeconds": round(seconds, 3),
            "lag": found.lag,
            "tls": found.tls,
            "sourceVerified": found.verified,
            "readOnly": True,
            "serverIds": {machine.name: server_id(machine.address) for machine in database.servers},
        }

    def _forget(self, context: Context, replica: Session) -> None:
        name = replica.host.name
        if facts.status(replica) is not None:
            context.intend(f"{name}: stop replication and forget the source")
            pair.reset(replica)
            context.progress(f"{name}: replication stopped and reset")
        if bookkeeping.there(replica):
            replica.execute("SET SESSION sql_log_bin = 0")
            with pair.writable(replica):
                bookkeeping.drop_unused(replica)
        if facts.status(replica) is not None:
            raise RollbackIncomplete(
                f"{name}: the source is still set",
                "the server took the command and shows a source all the same",
                f"run `{identify(replica).dialect.reset_replica}` there, then the same command again",
            )
