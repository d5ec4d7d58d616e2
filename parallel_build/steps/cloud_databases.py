"""CloudDatabases: the accounts and the empty databases that CloudStack finds on the new source, and through replication on the replica.

Why the accounts are as they are: docs/understand/decisions/081-definer-account-nobody-can-log.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from parallel_build.configuration import Phase, StackConfiguration
from parallel_build.database.replicate import pair
from parallel_build.database.replicate import pair_status as replica_facts
from parallel_build.database.schema import meanings
from parallel_build.database.server import accounts, bookkeeping
from parallel_build.database.server.accounts import PROCESS, USER
from parallel_build.database.server.state import Account, Charset, account, charset, contents, definers, known_charset, schemas
from parallel_build.database.server.state import accounts as accounts_of
from parallel_build.errors import ConnectionFailed, GuardFailed, RollbackIncomplete, StepFailed
from parallel_build.operations import after_rollback
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import new_database, only_new_side, original_database, prove_or_tell, store, tolerated
from parallel_build.operations.context_helpers import schemas as names_of
from parallel_build.remote.sql import Session, quote, session
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep

CATCH_UP = 300.0  # seconds
ADMINISTRATORS = {"root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema"}
# What an installation leaves open for anybody to a database called test.
TEST_GRANTS = "FROM mysql.db WHERE User = '' AND Db LIKE 'test%%'"


@step
class CloudDatabases(FoundationStep):
    """User `cloud` for the new management servers, accounts that views run as, empty databases."""

    type = "CloudDatabases"
    phase = Phase.BUILT
    summary = "user cloud and empty databases on the new source"
    window_uses = "cloud_password"

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Databases, accounts, what is closed, proof."""
        source, servers = configuration.new.database.source, [server.name for server in configuration.new.database.servers]
        names = names_of(configuration)
        return [
            *(f"on {source.name} ({source.address}): CREATE DATABASE {name}, empty, with the original's default character set"
              for name in names),
            *(f"on {source.name}: CREATE USER '{USER}'@'{server.address}' IDENTIFIED BY [secret]; GRANT ALL ON {', '.join(names)}; "
              "GRANT PROCESS" for server in configuration.new.management),
            f"on {source.name}: for each account that a view or procedure of the original runs as (usually '{USER}'@'localhost'): "
            "CREATE USER ... ACCOUNT LOCK, so that nobody can log in to it",
            f"on {' and '.join(servers)}: no anonymous user, no database test, no other account named {USER}",
            f"prove: the same databases and accounts on {' and '.join(servers[1:] or servers)}",
        ]  # fmt: skip

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Drop, unless users have worked on them."""
        source = configuration.new.database.source
        return [
            f"on {source.name} ({source.address}): DROP DATABASE {', '.join(names_of(configuration))}, each only if it is empty or was never "
            "switched to; else all is kept for the investigation",
            f"on {source.name}: DROP USER {USER} in all its accounts, and the locked accounts, where no database is kept",
        ]

    def apply(self, context: Context) -> Outputs:
        """Make what is missing, prove it on both servers."""
        after_rollback.clear(context)
        wanted, definer_accounts = self._original(context)
        with self._sessions(context) as (source, *replicas):
            self._databases(context, source, wanted)
            self._accounts(context, source, definer_accounts)
            for server in (source, *replicas):
                self._close(context, server)
            for replica in replicas:
                pair.await_position(source, replica, timeout=CATCH_UP, cancel=context.cancel)
            return self._proof(context, [source, *replicas], definer_accounts)

    def verify(self, context: Context) -> Outputs:
        """Prove it again, changing nothing; the original need not be there any more."""

        def prove() -> Outputs:
            with self._sessions(context) as servers:
                return self._proof(context, servers, None)

        return prove_or_tell(context, prove)

    def prove_secret(self, context: Context) -> Outputs:
        """Rule: in the phases switched and retired cloudPassword is what user cloud has on the new servers: no step there sets it.

        Raises:
            GuardFailed: it is not.
        """
        try:
            with self._sessions(context) as servers:
                return self._proof(context, servers, None)
        except StepFailed as error:
            raise GuardFailed(
                "cloudPassword was changed in the stack file, and it is not what user cloud has on the new database servers",
                f"phase built sets it, and nothing after the window has opened does ({error.cause})",
                f"put the former one back: pulumi config set --secret cloudPassword --stack {context.site.stack}; then run the same command again. Nothing "
                "was changed now. A new one is set by `pulumi up` in phase prepared, before a switch or after a rollback",
            ) from None

    def revert(self, context: Context) -> None:
        """Drop databases and accounts unless they were switched to."""
        source_host = new_database(context)
        with only_new_side(context, f"what an earlier rollback left on {source_host.name}"):
            after_rollback.clear(context)
        with tolerated(context, f"databases and accounts on {source_host.name}"), session(source_host) as source:
            kept = [name for name in names_of(context.configuration) if not self._drop(context, source, name)]
            if kept:
                context.progress(f"{source_host.name}: {', '.join(kept)} kept, with the accounts, for the investigation")
                return
            for name in self._ours(context, source):
                context.intend(f"{source_host.name}: DROP USER {name}")
                accounts.dropped(name).make(source)
                context.progress(f"{source_host.name}: {name} dropped")
            left = set(names_of(context.configuration)) & schemas(source)
            if left:
                raise RollbackIncomplete(
                    f"{source_host.name}: databases {', '.join(sorted(left))} are still there",
                    "they were dropped, and somebody has made them again",
                    f"see who uses {source_host.name} (SHOW PROCESSLIST there), then run the same command again",
                )
            if bookkeeping.MADE in bookkeeping.marks(source):
                bookkeeping.unmark(source, bookkeeping.MADE)
            meanings.forget(source_host)
            for machine in context.configuration.new.database.servers[1:]:
                with tolerated(context, "the replica's databases and accounts"), session(context.host(machine)) as replica:
                    self._follow(context, source, replica)

    def _follow(self, context: Context, source: Session, replica: Session) -> None:
        """Have the same gone from the replica: by replication where it runs, else directly."""
        found = replica_facts.status(replica)
        if found is not None and found.running:
            pair.await_position(source, replica, timeout=CATCH_UP, cancel=context.cancel)
        left = sorted(set(names_of(context.configuration)) & schemas(replica))
        users = self._ours(context, replica)
        if not left and not users:
            return
        context.intend(f"{replica.host.name}: drop what replication did not", databases=left, accounts=[str(name) for name in users])
        replica.execute("SET SESSION sql_log_bin = 0")
        with pair.writable(replica):
            for name in left:
                replica.execute(f"DROP DATABASE IF EXISTS {quote(name)}")
            for user in users:
                accounts.dropped(user).make(replica)
        context.progress(f"{replica.host.name}: databases and accounts dropped here too, replication did not bring it")

    @staticmethod
    @contextlib.contextmanager
    def _sessions(context: Context) -> Iterator[list[Session]]:
        """To the source, and to the replica where there is one."""
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(session(context.host(machine))) for machine in context.configuration.new.database.servers]

    def _original(self, context: Context) -> tuple[dict[str, Charset], set[Account]]:
        """What the original's databases have for defaults, and which accounts its objects run as. Read only."""
        names = names_of(context.configuration)
        with session(original_database(context)) as database:
            found = {name: charset(database, name) for name in names}
            objects = definers(database, names)
        missing = [name for name, value in found.items() if value is None]
        if missing:
            raise GuardFailed(
                f"the original has no database {', '.join(missing)}",
                f"looked for on {original_database(context).name}",
                "correct original.database (cloudbridge: true only where there is one; cloud_usage is needed even without usage server)",
            )
        return {name: value for name, value in found.items() if value}, objects

    def _databases(self, context: Context, source: Session, wanted: dict[str, Charset]) -> None:
        mine = bookkeeping.marks(source).get(bookkeeping.MADE) == context.site.stack
        for name, original in wanted.items():
            defaults = known_charset(source, original)
            found, filled = charset(source, name), contents(source, name)
            if found and filled and not mine:
                raise GuardFailed(
                    f"{source.host.name} has a database {name} with {filled} objects in it",
                    "this stack did not make it",
                    "give the stack another server, or drop that database yourself if it is not needed",
                )
            if found == defaults or (found and filled):
                continue
            if not mine:
                bookkeeping.mark(source, bookkeeping.MADE, context.site.stack)
                mine = True
            verb = "ALTER" if found else "CREATE"
            context.intend(f"{source.host.name}: {verb} DATABASE {name}")
            source.execute(f"{verb} DATABASE {quote(name)} CHARACTER SET {defaults.name} COLLATE {defaults.collation}")
            context.progress(f"{source.host.name}: database {name} ({defaults.collation})")
        if not mine:
            bookkeeping.mark(source, bookkeeping.MADE, context.site.stack)

    def _accounts(self, context: Context, source: Session, definer_accounts: set[Account]) -> None:
        """The hashes go into the binary log as they are, so that the replica has the same accounts and no log has a password."""
        engine = context.configuration.new.database.engine
        rights = accounts.everything_on(names_of(context.configuration))
        logins = self._logins(context)
        changes = []
        for name in sorted(logins):
            found = account(source, name, engine)
            changes += accounts.login(engine, name, context.site.secrets.cloud_password, rights | PROCESS, found)
        locked = {name for name in definer_accounts if name.user not in ADMINISTRATORS} - logins
        # After an upgrade views run as the account that made them, which may be of a management server that is gone from the stack.
        present = definers(source, names_of(context.configuration))
        for name in sorted(locked | {name for name in present if name.user == USER} - logins):
            changes += accounts.without_login(engine, name, rights, account(source, name, engine))
        changes += [accounts.dropped(name) for name in sorted(accounts_of(source, USER) - logins - locked - present)]
        source.execute("SET SESSION sql_log_off = 1")
        for change in changes:
            context.intend(f"{source.host.name}: {change.words}")
            change.make(source)
            context.progress(f"{source.host.name}: {change.words}")

    def _close(self, context: Context, server: Session) -> None:
        """Close what an installation leaves open. On each server by itself and not in the binary log: they may differ in it."""
        anonymous = sorted(accounts_of(server, ""))
        test = "test" in schemas(server)
        grants = int(server.value(f"SELECT COUNT(*) {TEST_GRANTS}", []) or 0)
        if not anonymous and not test and not grants:
            return
        if test and contents(server, "test"):
            raise GuardFailed(
                f"{server.host.name} has a database test that is not empty",
                "it is open to every account in some installations",
                "drop it, or move what is needed out of it",
            )
        server.execute("SET SESSION sql_log_bin = 0")
        with pair.writable(server):
            for name in anonymous:
                context.intend(f"{server.host.name}: DROP USER {name}")
                accounts.dropped(name).make(server)
            if test:
                context.intend(f"{server.host.name}: DROP DATABASE test")
                server.execute("DROP DATABASE IF EXISTS test")
            if grants:
                context.intend(f"{server.host.name}: remove the grants of the database test")
                server.execute(f"DELETE {TEST_GRANTS}", [])
                server.execute("FLUSH PRIVILEGES")
        server.execute("SET SESSION sql_log_bin = 1")
        context.progress(f"{server.host.name}: anonymous users and the database test removed")

    def _proof(self, context: Context, servers: Sequence[Session], definer_accounts: set[Account] | None) -> Outputs:
        configuration = context.configuration
        engine, password = configuration.new.database.engine, context.site.secrets.cloud_password
        rights = accounts.everything_on(names_of(configuration))
        logins = self._logins(context)
        source, faults = servers[0], []
        for server in servers:
            lacking = set(names_of(configuration)) - schemas(server)
            faults += [f"{server.host.name} has no database {name}" for name in sorted(lacking)]
            for name in sorted(logins):
                left = accounts.login(engine, name, password, rights | PROCESS, account(server, name, engine))
                faults += [f"{server.host.name} needs: {change.words}" for change in left]
            for name in sorted(accounts_of(server, USER) - logins):
                stored = account(server, name, engine)
                if stored and not stored.locked:
                    faults.append(f"{server.host.name}: {name} can log in and should not")
            for name in sorted(definer_accounts or set()):
                if name.user not in ADMINISTRATORS and account(server, name, engine) is None:
                    faults.append(f"{server.host.name}: {name}, which objects run as, is missing")
        if faults:
            raise StepFailed(
                "the accounts on the new database servers are not what this stack makes",
                "; ".join(faults),
                "run `pulumi up` again: it makes them again",
            )
        locked = sorted(str(name) for name in accounts_of(source, USER) - logins)
        defaults = {name: found.collation for name in names_of(configuration) if (found := charset(source, name))}
        context.progress(
            f"proved on {' and '.join(server.host.name for server in servers)}: {len(logins)} account(s) of {USER}, {', '.join(defaults)}"
        )
        return {"accounts": sorted(str(name) for name in logins), "locked": locked, "databases": defaults}

    @staticmethod
    def _logins(context: Context) -> set[Account]:
        return {Account(USER, server.address) for server in context.configuration.new.management}

    def _drop(self, context: Context, source: Session, name: str) -> bool:
        """Drop a database unless it has been switched to; return whether it is gone."""
        if name not in schemas(source):
            return True
        filled = contents(source, name)
        if filled and self._served(context, source):
            return False
        context.intend(f"{source.host.name}: DROP DATABASE {name}", objects=filled)
        source.execute(f"DROP DATABASE IF EXISTS {quote(name)}")
        context.progress(f"{source.host.name}: database {name} dropped" + (f" with {filled} objects, never switched to" if filled else ""))
        return True

    def _served(self, context: Context, source: Session) -> bool:
        """Whether users may have worked on these databases: by the mark on this server, or by the window's record; unknown counts as yes."""
        if bookkeeping.SERVED in bookkeeping.marks(source):
            return True
        try:
            record = store(context).read()
        except ConnectionFailed:
            return True
        return record is not None and record.identity in context.site.identities and record.switched is not None

    def _ours(self, context: Context, source: Session) -> list[Account]:
        """Accounts of `cloud`, and locked ones that have rights on our databases only."""
        engine = context.configuration.new.database.engine
        targets = set(accounts.everything_on(names_of(context.configuration)))
        found = accounts_of(source, USER)
        for row in source.rows("SELECT User AS user, Host AS host FROM mysql.user"):
            name = Account(str(row["user"]), str(row["host"]))
            if name.user in ADMINISTRATORS or name in found:
                continue
            facts = account(source, name, engine)
            if facts and facts.locked and facts.grants and set(facts.grants) <= targets:
                found.add(name)
        return sorted(found)
