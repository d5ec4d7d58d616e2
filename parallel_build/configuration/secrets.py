"""The stack's secrets."""

from __future__ import annotations

from pydantic import (
    field_validator,
)

from parallel_build.configuration.values import (
    PRINTABLE,
    SHELL_SAFE_SECRET,
    Model,
)
from parallel_build.secret import Secret

# What a replica keeps of its source's password: MySQL refuses a longer one, MariaDB cuts it off and then can't log in.
# [MySQL: CHANGE REPLICATION SOURCE TO; MariaDB rpl_mi.h: 32 characters of three bytes]
LONGEST = {"mysql": 32, "mariadb": 96}


class Secrets(Model):
    """Secret values; each is a Pulumi secret of the same name.

    Attributes:
        original_api_key, original_api_secret: a root administrator's keys on the original.
        cloud_password: password of the database user `cloud` on the new servers.
        replication_password: password of the replication user.
        management_key: key of the new servers' db.properties.
        database_key: key of the values in the database; None reads it from the original's management server.
        original_database_password: of `original.database.admin.user`; None where the server knows that account by its socket.
        new_database_password: the same of `new.database.admin.user`.
        vsphere_password: vCenter's, where a platform of the stack is vSphere.
    """

    original_api_key: Secret
    original_api_secret: Secret
    cloud_password: Secret
    replication_password: Secret
    management_key: Secret
    database_key: Secret | None = None
    original_database_password: Secret | None = None
    new_database_password: Secret | None = None
    vsphere_password: Secret | None = None

    @field_validator("cloud_password", "replication_password", "management_key")
    @classmethod
    def _shell_safe(cls, value: Secret | None) -> Secret | None:
        if value is not None and not SHELL_SAFE_SECRET.fullmatch(value.reveal()):
            raise ValueError(
                "this secret has characters that shells and option files take for something else: use 8 to 128 letters, digits and "
                ". _ + = - @ ! % ^ , : / ~ * & ? #"
            )
        return value

    @field_validator("database_key")
    @classmethod
    def _as_it_is(cls, value: Secret | None) -> Secret | None:
        """An operator's own, chosen long ago: no command of a shell gets it, so it may have any characters that a line may have."""
        if value is not None and (not value or not value.reveal().isprintable()):
            raise ValueError("this secret is one line: it is empty, or has line ends or control characters that the key does not have")
        return value

    @field_validator("original_api_key", "original_api_secret")
    @classmethod
    def _not_empty(cls, value: Secret) -> Secret:
        if not value:
            raise ValueError("this secret is empty")
        if not PRINTABLE.fullmatch(value.reveal()):
            raise ValueError("this secret has spaces, line ends or other characters that no API key has")
        return value

    def all(self) -> list[Secret]:
        """Every secret that is set, for masking."""
        return [value for value in (getattr(self, name) for name in type(self).model_fields) if value]


def too_long(secrets: Secrets, engine: str) -> list[str]:
    """Secrets that the new database servers can't use, in words."""
    longest = LONGEST.get(engine)
    if longest is None or len(secrets.replication_password.reveal()) <= longest:
        return []
    return [
        f"replicationPassword: a replica of {engine} takes at most {longest} characters for its source's password; set a shorter one "
        "(`pulumi config set --secret replicationPassword`)"
    ]
