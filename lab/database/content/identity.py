"""Domains, accounts, users with API keys, roles and projects."""

from __future__ import annotations

from lab.database.content.world import Account, World
from lab.database.keys import api_key, password_hash
from lab.database.plan import ApiUser

_DOMAINS = ("Engineering", "Research", "Sales", "Partners")
_SUBDOMAIN = "Platform"
_NAMES = (
    ("amara", "Amara", "Okafor"), ("bjorn", "Björn", "Åkesson"), ("chloe", "Chloé", "Lefèvre"),
    ("dario", "Darío", "Núñez"),
    ("elif", "Elif", "Yıldız"), ("fatima", "Fatima", "الزهراء"), ("goran", "Goran", "Đurić"),
    ("haruto", "春人", "佐藤"),
    ("ines", "Inês", "Gonçalves"), ("jarek", "Jarosław", "Żółkiewski"), ("keala", "Keala", "ʻŌpūnui"),
    ("lena", "Lena 🦊", "Groß"),
    ("mikhail", "Михаил", "Соколов"), ("noor", "Noor", "O'Brien"), ("olu", "Olú", "Adébáyọ̀"),
    ("priya", "प्रिया", "शर्मा"),
)  # fmt: skip
_ROLES = (
    ("Root Admin", "Admin", ("*",)),
    ("Resource Admin", "ResourceAdmin", ("list*", "createNetwork", "deployVirtualMachine", "updateZone")),
    ("Domain Admin", "DomainAdmin",
        ("list*", "createAccount", "createUser", "deployVirtualMachine", "createNetwork", "createVPC")),
    ("User", "User", ("listVirtualMachines", "deployVirtualMachine", "startVirtualMachine", "stopVirtualMachine",
                      "destroyVirtualMachine", "listNetworks", "createNetwork", "listTemplates", "createSnapshot",
                      "listVolumes",
                      "createVolume", "attachVolume", "listEvents", "listUsers", "listCapabilities",
                      "queryAsyncJobResult")),
    ("Read-Only Admin - Default", "Admin", ("list*", "get*", "find*", "query*")),
    ("Read-Only User - Default", "User", ("list*", "query*")),
    ("Support Admin - Default", "Admin",
        ("list*", "prepareHostForMaintenance", "startVirtualMachine", "stopVirtualMachine")),
    ("Support User - Default", "User", ("list*", "startVirtualMachine", "stopVirtualMachine")),
)  # fmt: skip
_ROLE_OF_TYPE = {1: 1, 2: 3, 0: 4}  # account type (1 root admin, 2 domain admin, 0 user) -> role
_RESOURCE_TYPES = ("user_vm", "public_ip", "volume", "snapshot", "template", "project", "network", "vpc", "cpu",
    "memory",
                   "primary_storage", "secondary_storage")  # fmt: skip
# CloudStack's own 100,000 rounds would take a tenth of a second for each user of a large made-up cloud
_USER_ROUNDS = 1000
_ADMIN_ROUNDS = 100_000


def build(world: World) -> None:
    """Add everything that says who may do what."""
    _roles(world)
    world.add("region", id=1, name="Local", end_point="http://localhost:8080/client/")
    domains = _domains(world)
    _system_and_admin(world)
    for number in range(world.scaled(10)):
        domain_id, path = domains[number % len(domains)]
        _ordinary(world, number, domain_id, path)
    _project(world)
    _resources(world, [1, *(domain_id for domain_id, _ in domains)])


def _roles(world: World) -> None:
    for name, kind, rules in _ROLES:
        role = world.add("roles", name=name, role_type=kind, description=f"Default role: {name}", is_default=True, public_role=True)
        for order, rule in enumerate(rules):
            world.add("role_permissions", role_id=role, rule=rule, permission="ALLOW", sort_order=order)
        if rules != ("*",):
            world.add("role_permissions", role_id=role, rule="*", permission="DENY", sort_order=len(rules))


def _domains(world: World) -> list[tuple[int, str]]:
    count = min(len(_DOMAINS), max(2, world.scaled(3)))
    world.add(
        "domain",
        id=1,
        parent=None,
        name="ROOT",
        owner=2,
        path="/",
        level=0,
        child_count=count,
        next_child_seq=count + 1,
    )
    found = []
    for name in _DOMAINS[:count]:
        path = f"/{name}/"
        identity = world.add("domain", parent=1, name=name, owner=2, path=path, level=1, created=world.ago(2900), network_domain=None)
        found.append((identity, path))
    parent, path = found[0]
    path += f"{_SUBDOMAIN}/"
    identity = world.add("domain", parent=parent, name=_SUBDOMAIN, owner=2, path=path, level=2, created=world.ago(2500))
    world.rows["cloud", "domain"][1].update(child_count=1, next_child_seq=2)
    world.add(  # a domain that was removed leaves its row
        "domain", parent=1, name="Pilot", owner=2, path="/Pilot/", level=1, created=world.ago(3100),
        removed=world.ago(2950),
        state="Inactive",
    )  # fmt: skip
    return [*found, (identity, path)]


def _account(world: World, name: str, kind: int, domain_id: int, path: str, days: float | None, default: bool = False) -> Account:
    created = world.ago(days) if days is not None else None
    identity = world.next_id("account")
    account = Account(identity, name, domain_id, path, world.uuid(), world.next_id("user"))
    row = {
        "id": identity, "account_name": name, "uuid": account.uuid, "type": kind, "role_id": _ROLE_OF_TYPE[kind],
        "domain_id": domain_id, "state": "enabled", "created": created, "cleanup_needed": False,
    }  # fmt: skip
    world.add("account", **row, default=default)
    world.usage("account", **row)
    world.add("security_group", name="default", description="Default Security Group", domain_id=domain_id, account_id=identity)
    world.accounts.append(account)
    return account


def _user(
    world: World,
    account: Account,
    username: str,
    names: tuple[str, str],
    password: str,
    keys: bool,
    rounds: int,
    days: float,
) -> ApiUser:
    source = world.random("users")
    user = ApiUser(
        username=username,
        account=account.name,
        domain=account.domain_path,
        password=password,
        api_key=api_key(source) if keys else "",
        secret_key=api_key(source) if keys else "",
    )
    world.add(
        "user", username=username, password=password_hash(password, source, rounds), account_id=account.id,
        firstname=names[0], lastname=names[1], email=f"{username}@example.test", api_key=user.api_key or None,
        secret_key=world.encrypted(user.secret_key) if keys else None, created=world.ago(days), timezone="UTC",
        default=username == "admin", state="enabled",
    )  # fmt: skip
    world.api_users.append(user)
    return user


def _system_and_admin(world: World) -> None:
    system = _account(world, "system", 1, 1, "/", None, default=True)
    # the account `system` can't log in: its password is no hash of anything
    world.add(
        "user", username="system", password=str(world.random("users").random()), account_id=system.id,
        firstname="system",
        lastname="cloud", created=world.ago(3200), default=True,
    )  # fmt: skip
    admin = _account(world, "admin", 1, 1, "/", None, default=True)
    _user(world, admin, "admin", ("admin", "cloud"), world.plan.admin_password, True, _ADMIN_ROUNDS, 3200)


def _ordinary(world: World, number: int, domain_id: int, path: str) -> None:
    short, first, last = _NAMES[number % len(_NAMES)]
    name = short if number < len(_NAMES) else f"{short}{number // len(_NAMES)}"
    source = world.random("users")
    days = source.uniform(30, 2400)
    account = _account(world, name, 2 if number % 5 == 4 else 0, domain_id, path, days)
    _user(world, account, name, (first, last), api_key(source)[:12], True, _USER_ROUNDS, days)
    if number % 3 == 0:  # a second user without keys, as people have who use only the web interface
        _user(world, account, f"{name}.web", (first, last), api_key(source)[:12], False, _USER_ROUNDS, days - 1)
    if number % 2 == 0:
        world.add(
            "ssh_keypairs", account_id=account.id, domain_id=domain_id, keypair_name=f"{name} laptop",
            fingerprint=":".join(f"{byte:02x}" for byte in source.randbytes(16)),
            public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + api_key(source)[:43] + f" {name}",
        )  # fmt: skip
    world.add("account_details", account_id=account.id, name="api.allowed.source.cidr.list", value="0.0.0.0/0,::/0")


def _project(world: World) -> None:
    owner = world.accounts[2]
    project_account = _account(world, f"PrjAcct-Apollo-{owner.domain_id}", 0, owner.domain_id, owner.domain_path, 700)
    world.rows["cloud", "account"][-1]["type"] = world.rows["cloud_usage", "account"][-1]["type"] = 5
    project = world.add(
        "projects", name="Apollo 🚀", display_text="Shared machines of the Apollo team",
        project_account_id=project_account.id,
        domain_id=owner.domain_id, created=world.ago(700), state="Active",
    )  # fmt: skip
    world.add(
        "project_account", account_id=owner.id, account_role="Admin", project_id=project,
        project_account_id=project_account.id,
        created=world.ago(700),
    )  # fmt: skip


def _resources(world: World, domains: list[int]) -> None:
    for domain in domains:
        for kind in _RESOURCE_TYPES:
            world.add("resource_count", domain_id=domain, type=kind, count=0)
    for account in world.accounts:
        for kind in _RESOURCE_TYPES:
            world.add("resource_count", account_id=account.id, type=kind, count=0)
    for account in world.accounts[2::3]:
        world.add("resource_limit", account_id=account.id, type="user_vm", max=40)
        world.add("resource_limit", account_id=account.id, type="secondary_storage", max=-1)
