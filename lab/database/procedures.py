"""The stored procedures of `cloud` and `cloud_usage`: what CloudStack's upgrade scripts call to change a schema.

Names, parameters and effects are those of CloudStack 4.20 (META-INF/db/procedures); the texts are the lab's own. Most of
them run one ALTER and pass over the errors that mean that it had been done before, so they are a table here.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.database.ddl import DEFINER

_V200, _V255, _V1000 = "varchar(200)", "varchar(255)", "varchar(1000)"
# error numbers: 1060 duplicate column, 1061 duplicate key, 1054 unknown column, 1091 can't drop, 1025 rename failed


@dataclass(frozen=True)
class Procedure:
    """A stored procedure: its name, parameters (name, type) and body."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    body: str

    def sql(self) -> str:
        """CREATE PROCEDURE with CloudStack's definer; ends with the delimiter `;;`."""
        parameters = ", ".join(f"IN {name} {kind}" for name, kind in self.parameters)
        return f"CREATE DEFINER={DEFINER} PROCEDURE `{self.name}`({parameters})\nBEGIN\n{self.body}\nEND;;\n"


def _statement(name: str, parameters: tuple[tuple[str, str], ...], passes_over: str, *parts: str) -> Procedure:
    """A procedure that runs one statement and passes over errors that mean that it was done before."""
    body = (
        f"  DECLARE CONTINUE HANDLER FOR {passes_over} BEGIN END;\n"
        f"  SET @ddl = CONCAT_WS(' ', {', '.join(parts)});\n"
        "  PREPARE stmt FROM @ddl;\n  EXECUTE stmt;\n  DEALLOCATE PREPARE stmt;"
    )
    return Procedure(name, parameters, body)


_TABLE = ("in_table_name", _V200)

_ADD_COLUMN = _statement(
    "IDEMPOTENT_ADD_COLUMN",
    (_TABLE, ("in_column_name", _V200), ("in_column_definition", _V1000)),
    "1060",
    "'ALTER TABLE'", "in_table_name", "'ADD COLUMN'", "in_column_name", "in_column_definition",
)  # fmt: skip
_ADD_UNIQUE_INDEX = _statement(
    "IDEMPOTENT_ADD_UNIQUE_INDEX",
    (_TABLE, ("in_index_name", _V200), ("in_index_definition", _V1000)),
    "1061",
    "'ALTER TABLE'", "in_table_name", "'ADD UNIQUE INDEX'", "in_index_name", "in_index_definition",
)  # fmt: skip
_DROP_INDEX = _statement(
    "IDEMPOTENT_DROP_INDEX",
    (("in_index_name", _V200), _TABLE),
    "1091",
    "'DROP INDEX'", "in_index_name", "'ON'", "in_table_name",
)  # fmt: skip
_MODIFY_CHAR_SET = _statement(
    "IDEMPOTENT_MODIFY_COLUMN_CHAR_SET",
    (_TABLE, ("in_column_name", _V200), ("in_column_type", _V200), ("in_column_definition", _V1000)),
    "1060",
    "'ALTER TABLE'", "in_table_name", "'MODIFY COLUMN'", "in_column_name", "in_column_type", "'CHARACTER SET utf8mb4'",
    "in_column_definition",
)  # fmt: skip


def _change_column(old: str, new: str, definition: str) -> Procedure:
    return _statement(
        "IDEMPOTENT_CHANGE_COLUMN",
        (_TABLE, (old, _V200), (new, _V200), (definition, _V1000)),
        "1054",
        "'ALTER TABLE'", "in_table_name", "'CHANGE COLUMN'", old, new, definition,
    )  # fmt: skip


_ADD_GUEST_OS = Procedure(
    "ADD_GUEST_OS_AND_HYPERVISOR_MAPPING",
    (
        ("guest_os_category_id", "bigint(20) unsigned"),
        ("guest_os_display_name", _V255),
        ("guest_os_hypervisor_hypervisor_type", "varchar(32)"),
        ("guest_os_hypervisor_hypervisor_version", "varchar(32)"),
        ("guest_os_hypervisor_guest_os_name", _V255),
    ),
    """  DECLARE os_id bigint(20) unsigned;
  SELECT MIN(g.id) INTO os_id FROM cloud.guest_os g
    WHERE g.category_id = guest_os_category_id AND g.display_name = guest_os_display_name;
  IF os_id IS NULL THEN
    INSERT INTO cloud.guest_os (uuid, category_id, display_name, created)
      VALUES (UUID(), guest_os_category_id, guest_os_display_name, NOW());
    SET os_id = LAST_INSERT_ID();
  END IF;
  IF NOT EXISTS (SELECT 1 FROM cloud.guest_os_hypervisor m
      WHERE m.hypervisor_type = guest_os_hypervisor_hypervisor_type
        AND m.hypervisor_version = guest_os_hypervisor_hypervisor_version
        AND m.guest_os_id = os_id AND m.guest_os_name = guest_os_hypervisor_guest_os_name) THEN
    INSERT INTO cloud.guest_os_hypervisor
        (uuid, hypervisor_type, hypervisor_version, guest_os_name, guest_os_id, created)
      VALUES (UUID(), guest_os_hypervisor_hypervisor_type, guest_os_hypervisor_hypervisor_version,
        guest_os_hypervisor_guest_os_name, os_id, NOW());
  END IF;""",
)

_INSERT_MAPPING = Procedure(
    "IDEMPOTENT_INSERT_GUESTOS_HYPERVISOR_MAPPING",
    (
        ("in_hypervisor_type", "varchar(32)"),
        ("in_hypervisor_version", "varchar(32)"),
        ("in_guest_os_name", _V255),
        ("in_guest_os_id", "bigint(20) unsigned"),
        ("is_user_defined", "int(1) unsigned"),
    ),
    """  IF NOT EXISTS (SELECT 1 FROM cloud.guest_os_hypervisor m
      WHERE m.hypervisor_type = in_hypervisor_type AND m.hypervisor_version = in_hypervisor_version
        AND m.guest_os_id = in_guest_os_id) THEN
    INSERT INTO cloud.guest_os_hypervisor
        (uuid, hypervisor_type, hypervisor_version, guest_os_name, guest_os_id, created, is_user_defined)
      VALUES (UUID(), in_hypervisor_type, in_hypervisor_version, in_guest_os_name, in_guest_os_id, UTC_TIMESTAMP(),
        is_user_defined);
  END IF;""",
)

_API_PERMISSION = Procedure(
    "IDEMPOTENT_UPDATE_API_PERMISSION",
    (("role", _V255), ("rule", _V255), ("permission", _V255)),
    """  DECLARE of_role bigint(20) unsigned;
  DECLARE last_order bigint(20) unsigned;
  SELECT r.id INTO of_role FROM cloud.roles r WHERE r.name = role AND r.is_default = 1;
  SELECT MAX(p.sort_order) INTO last_order FROM cloud.role_permissions p WHERE p.role_id = of_role;
  IF NOT EXISTS (SELECT 1 FROM cloud.role_permissions p WHERE p.role_id = of_role AND p.rule = rule) THEN
    -- the last rule denies the rest: the new one goes before it
    UPDATE cloud.role_permissions p SET p.sort_order = last_order + 1
      WHERE p.sort_order = last_order AND p.role_id = of_role;
    INSERT INTO cloud.role_permissions (uuid, role_id, rule, permission, sort_order)
      VALUES (UUID(), of_role, rule, permission, last_order);
  END IF;""",
)

_CLOUD = (
    _ADD_GUEST_OS,
    _ADD_COLUMN,
    _statement(
        "IDEMPOTENT_ADD_FOREIGN_KEY",
        (_TABLE, ("in_key_name", _V200), ("in_foreign_key", _V200), ("in_references", _V1000)),
        "1061",
        "'ALTER TABLE'", "in_table_name", "'ADD CONSTRAINT'", "in_key_name", "'FOREIGN KEY'", "in_foreign_key",
        "'REFERENCES'", "in_references", "'ON DELETE CASCADE'",
    ),
    _statement(
        "IDEMPOTENT_ADD_KEY",
        (("in_index_name", _V200), _TABLE, ("in_key_definition", _V1000)),
        "1061",
        "'ALTER TABLE'", "in_table_name", "'ADD KEY'", "in_index_name", "in_key_definition",
    ),
    _ADD_UNIQUE_INDEX,
    _statement(
        "IDEMPOTENT_ADD_UNIQUE_KEY",
        (_TABLE, ("in_key_name", _V200), ("in_key_definition", _V1000)),
        "1061",
        "'ALTER TABLE'", "in_table_name", "'ADD UNIQUE KEY'", "in_key_name", "in_key_definition",
    ),
    _change_column("in_column_name", "in_column_new_name", "in_column_new_definition"),
    _statement(
        "IDEMPOTENT_CREATE_UNIQUE_INDEX",
        (("in_index_name", _V200), _TABLE, ("in_index_definition", _V1000)),
        "1061",
        "'CREATE UNIQUE INDEX'", "in_index_name", "'ON'", "in_table_name", "in_index_definition",
    ),
    _statement(
        "IDEMPOTENT_DROP_FOREIGN_KEY",
        (_TABLE, ("in_foreign_key_name", _V200)),
        "1091, 1025",
        "'ALTER TABLE'", "in_table_name", "'DROP FOREIGN KEY'", "in_foreign_key_name",
    ),
    _DROP_INDEX,
    _INSERT_MAPPING,
    _MODIFY_CHAR_SET,
    _API_PERMISSION,
)  # fmt: skip
_USAGE = (
    _ADD_COLUMN,
    _ADD_UNIQUE_INDEX,
    _change_column("in_old_column_name", "in_new_column_name", "in_column_definition"),
    _DROP_INDEX,
    _MODIFY_CHAR_SET,
)


def procedures(database: str) -> tuple[Procedure, ...]:
    """The procedures of `cloud` or `cloud_usage`, by name; other databases have none."""
    return {"cloud": _CLOUD, "cloud_usage": _USAGE}.get(database, ())
