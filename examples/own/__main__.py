"""Two clouds in one program, on machines of one's own, next to other resources.

A machine is anything with a name, an address and a host key: a server that is there, as here, or a virtual machine of this program. Then its address
and key are outputs, and `made_by` names the resource: `OwnMachine("ms-1", vm.default_ip_address, key.public_key_openssh, made_by=vm)`.

    parallel-build plugin install
    pulumi stack init prod
    pulumi config set --secret east-originalApiKey           # and the other secrets of each cloud
    pulumi up                                                # then: pulumi config set phase prepared
"""

import pulumi

from parallel_build.components import (
    Cloud,
    CloudArgs,
    CloudSecrets,
    Cutover,
    CutoverArgs,
    ManagementServers,
    ManagementServersArgs,
    OwnMachine,
    Preparation,
    PreparationArgs,
    ReplicatedDatabase,
    ReplicatedDatabaseArgs,
)

config = pulumi.Config()
KEYS = config.require_object("hostKeys")  # name -> `ssh-ed25519 AAAA...`, a key of this program's own


def upgrade(name: str, net: str) -> Cutover:
    """Declare the upgrade of one cloud; its phase is its own."""

    def old(server: str, last: int) -> dict[str, object]:
        return {"name": f"{name}-{server}", "address": f"{net}.{last}"}

    def new(server: str, last: int) -> OwnMachine:
        return OwnMachine(f"{name}-{server}", f"{net}.{last}", KEYS[f"{name}-{server}"])

    cloud = Cloud(
        name,
        CloudArgs(
            phase=config.get(f"{name}-phase") or "built",
            original={
                "version": "4.20.3.0",
                "management": [old("mgmt-1", 11)],
                "database": {"source": old("db-1", 13)},
                "api": {"url": f"http://{net}.11:8080/client/api"},
            },
            new={
                "version": "4.22.1.0",
                "management": [new("new-mgmt-1", 41), new("new-mgmt-2", 42)],
                "database": {"source": new("new-db-1", 31), "replica": new("new-db-2", 32)},
            },
            window={"user_access": {"method": "firewall", "administrators": [f"{net}.5/32"]}},
            rehearsal={"waived": "rehearsed in the test cloud, 2026-05-04"},
            secrets=CloudSecrets(
                original_api_key=config.require_secret(f"{name}-originalApiKey"),
                original_api_secret=config.require_secret(f"{name}-originalApiSecret"),
                cloud_password=config.require_secret(f"{name}-cloudPassword"),
                replication_password=config.require_secret(f"{name}-replicationPassword"),
                management_key=config.require_secret(f"{name}-managementKey"),
            ),
            ssh={"identity_file": "~/.ssh/id_ed25519"},
        ),
    )
    database = ReplicatedDatabase(f"{name}-database", ReplicatedDatabaseArgs(cloud))
    management = ManagementServers(f"{name}-management", ManagementServersArgs(cloud))
    preparation = Preparation(f"{name}-preparation", PreparationArgs(cloud, database, management))
    pulumi.export(f"{name}-host", cloud.host)
    return Cutover(f"{name}-cutover", CutoverArgs(cloud, preparation))


upgrade("east", "192.0.2")
upgrade("west", "198.51.100")
