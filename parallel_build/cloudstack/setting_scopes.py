"""Where a setting may have a value of its own, next to the global one: a domain, an account, a zone, a cluster, or a store."""

from __future__ import annotations

from dataclasses import dataclass

# The tables hold passwords too, and what is no setting: what sounds like a secret is not read.
HELD_BACK = "passw|secret|key|token|credential"


@dataclass(frozen=True)
class Scope:
    """Where a setting can have a value of its own: the table of details, its column, and the table and column that name the owner."""

    details: str
    column: str
    owners: str
    name: str = "name"

    @property
    def statement(self) -> str:
        """Asks for owner, name and value of every setting there. Names are compared as bytes: the tables' collations may differ."""
        return (
            f"SELECT o.`{self.name}` AS owner, d.name, d.value FROM {self.joined} "
            f"WHERE o.removed IS NULL AND d.name NOT REGEXP '{HELD_BACK}' AND CAST(d.name AS BINARY) NOT IN "
            "(SELECT CAST(c.name AS BINARY) FROM cloud.configuration c WHERE c.category IN ('Hidden', 'Secure'))"
        )

    @property
    def joined(self) -> str:
        """Its values `d` with their owners `o`."""
        return f"cloud.`{self.details}` d JOIN cloud.`{self.owners}` o ON o.id = d.`{self.column}`"

    @property
    def one(self) -> str:
        """The condition for one owner's value of one setting: owner, name."""
        return f"o.removed IS NULL AND o.`{self.name}` = %s AND d.name = %s"


# [CloudStack ConfigKey.Scope and its DAOs]
SCOPES = {
    "domain": Scope("domain_details", "domain_id", "domain", "path"),
    "account": Scope("account_details", "account_id", "account", "account_name"),
    "zone": Scope("data_center_details", "dc_id", "data_center"),
    "cluster": Scope("cluster_details", "cluster_id", "cluster"),
    "primary storage": Scope("storage_pool_details", "pool_id", "storage_pool"),
    "secondary storage": Scope("image_store_details", "store_id", "image_store"),
}


def owner_of(words: str) -> tuple[Scope, str]:
    """The scope and the owner in words such as `domain ROOT/sales`."""
    name = next(name for name in SCOPES if words.startswith(f"{name} "))
    return SCOPES[name], words.removeprefix(f"{name} ")
