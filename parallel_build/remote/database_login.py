"""How this program logs in to a database server on the server itself: which account, with which password, through which socket.

Without a word of the stack's it is root, whom the server knows by who opens its socket. A password comes from a secret of the stack or from an
option file on that server, and goes nowhere but into the handshake: through the socket, inside SSH.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from parallel_build.errors import ConnectionFailed
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret, remember

# Groups that a family's own client programs read; of an option that stands twice the later counts.
GROUPS = frozenset({"client", "client-server", "client-mariadb", "mysql", "mariadb-client"})
ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " "}


@dataclass(frozen=True)
class DatabaseLogin:
    """An administrator's account on one database server.

    Attributes:
        key: section of the stack that it comes from, for messages; empty where it is not configured.
        user: the account's name.
        password: None where the server knows the account by the socket alone.
        option_file: file on the server that has user and password; read at each login.
        socket: where the server listens; None finds it.
        port: of the server, which distinguishes it from others on the same machine.
    """

    key: str = ""
    user: str = "root"
    password: Secret | None = None
    option_file: str | None = None
    socket: str | None = None
    port: int = 3306

    @property
    def by_socket(self) -> bool:
        """Whether the server knows the account by who opens the socket."""
        return self.password is None

    def resolved(self, name: str, content: bytes | None) -> DatabaseLogin:
        """The same with what the option file says.

        Args:
            name: the server's, for messages.
            content: the file's; None where there is none.
        Raises:
            ConnectionFailed: it can't be read, or names no account.
        """
        try:
            found = parse_options((content or b"").decode())
        except UnicodeDecodeError:
            found = {}
        if "user" not in found and "password" not in found:
            raise ConnectionFailed(
                f"{name}: {self.option_file} has no account to log in to the database with",
                "there is no such file" if content is None else f"no user or password is in its groups {', '.join(sorted(GROUPS))}",
                f"correct {self.key}.admin.optionFile: a text file on {name} with `[client]`, `user=` and `password=` (files that it includes "
                "are not read)",
            )
        password = Secret(found["password"]) if found.get("password") else None
        if password:
            remember([password])
        return replace(self, user=found.get("user", self.user), password=password, socket=self.socket or found.get("socket"))

    def refused(self, name: str, socket: str, words: str) -> ConnectionFailed:
        """The error for a server that does not let the account in."""
        key = self.key or "original.database"
        secret = "newDatabasePassword" if key.startswith("new") else "originalDatabasePassword"
        if self.by_socket:
            remedy = (
                f"let {self.user}@localhost log in by socket authentication (unix_socket on MariaDB, auth_socket on MySQL), or give this tool an "
                f"account with a password: {key}.admin.user with the secret {secret}, or {key}.admin.optionFile"
            )
        elif self.option_file:
            remedy = f"correct user and password in {self.option_file} on {name}, or name another file in {key}.admin.optionFile"
        else:
            remedy = f"correct {key}.admin.user and the secret {secret} (`pulumi config set --secret {secret}`)"
        return ConnectionFailed(f"{name}: the database server does not let {self.user} in through {socket}", words, remedy)


def parse_options(text: str) -> dict[str, str]:
    """Options of an option file's client groups, as the servers' own programs read it."""
    found: dict[str, str] = {}
    group = ""
    for raw in text.splitlines():
        line = _without_comment(raw.strip())
        if not line or line[0] in "#;!":
            continue
        if line.startswith("["):
            group = line[1:].partition("]")[0].strip().lower()
            continue
        name, equals, value = line.partition("=")
        if group in GROUPS and equals:
            found[name.strip().lower().replace("_", "-")] = _value(value.strip())
    return found


def comments(line: str) -> list[int]:
    """Where a `#` stands in a line that is not within quotes: the servers' own programs cut the line there [mysys/my_default.c]."""
    quote, escaped, found = "", False, []
    for place, character in enumerate(line):
        if character in "'\"" and not escaped:
            quote = character if not quote else "" if quote == character else quote
        if character == "#" and not quote:
            found.append(place)
        escaped = bool(quote) and character == "\\" and not escaped
    return found


def _without_comment(line: str) -> str:
    """A line up to its comment. A `#` in the middle of a word counts as one of the word: whoever wrote it there meant that."""
    return next((line[:place].rstrip() for place in comments(line) if place == 0 or line[place - 1].isspace()), line)


def _value(text: str) -> str:
    """A value without its quotes, its escapes resolved."""
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        text = text[1:-1]
    parts, position = [], 0
    while position < len(text):
        following = text[position + 1 : position + 2]
        if text[position] == "\\" and following in ESCAPES and following:
            parts.append(ESCAPES[following])
            position += 2
        else:
            parts.append(text[position])
            position += 1
    return "".join(parts)


def login_of(site: Site, name: str) -> DatabaseLogin:
    """The login of one of the stack's servers, by its name. A machine that a platform made lets root in, as its packages have it."""
    configuration, secrets = site.configuration, site.secrets
    old, new = configuration.original.database, configuration.new.database
    if name in {server.name for server in old.servers}:
        admin, password, key, port = old.admin, secrets.original_database_password, "original.database", old.port
    elif name in {machine.name for machine in configuration.built_machines() if configuration.platform_of(machine) == "existing"}:
        admin, password, key, port = new.admin, secrets.new_database_password, "new.database", new.port
    else:
        return DatabaseLogin(port=new.port)
    return DatabaseLogin(key, admin.user, None if admin.option_file else password, admin.option_file, admin.socket, port)
