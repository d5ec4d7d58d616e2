"""One cloud whose new servers are built on libvirt, described in the program.

parallel-build plugin install
pulumi stack init prod
pulumi config set --secret originalApiKey                # and the other secrets that are read below
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
    Preparation,
    PreparationArgs,
    ReplicatedDatabase,
    ReplicatedDatabaseArgs,
)

config = pulumi.Config()

cloud = Cloud(
    "cloud",
    CloudArgs(
        phase=config.require("phase"),
        original={
            "version": "4.20.3.0",
            "management": [{"name": "cs-mgmt-1", "address": "192.0.2.11", "usage": True}],
            "database": {"source": {"name": "cs-db-1", "address": "192.0.2.13"}},
            "api": {"url": "http://192.0.2.11:8080/client/api"},
            "hypervisors": [{"name": "kvm1", "address": "192.0.2.21"}],
        },
        new={
            "version": "4.22.1.0",
            "platform": "libvirt",
            "management": [{"name": "cs-new-mgmt-1", "address": "192.0.2.41", "memory": 8192}],
            "database": {
                "source": {"name": "cs-new-db-1", "address": "192.0.2.31", "memory": 16384, "disk": 200},
                "replica": {"name": "cs-new-db-2", "address": "192.0.2.32", "memory": 16384, "disk": 200},
            },
            "network": {"prefix": 24, "gateway": "192.0.2.1"},
            "packages": {
                # This file of keys must be in the image; else leave `signed-by` out, and give the armoured text as "key".
                "repository": "deb [signed-by=/etc/apt/keyrings/cloudstack.asc] http://download.cloudstack.org/debian bookworm 4.22"
            },
        },
        platforms={
            "libvirt": {
                "uri": "qemu+ssh://root@192.0.2.5/system",
                "image": "/var/lib/libvirt/images/debian-12.qcow2",
                "pool_path": "/var/lib/libvirt/cloudstack",
                "bridge": "br0",
            }
        },
        window={"user_access": {"method": "firewall", "administrators": ["192.0.2.5/32"]}},
        rehearsal={"machine": {"name": "rehearsal", "address": "192.0.2.51", "memory": 16384, "disk": 200}, "enabled": True},
        secrets=CloudSecrets(
            original_api_key=config.require_secret("originalApiKey"),
            original_api_secret=config.require_secret("originalApiSecret"),
            cloud_password=config.require_secret("cloudPassword"),
            replication_password=config.require_secret("replicationPassword"),
            management_key=config.require_secret("managementKey"),
        ),
        ssh={"identity_file": "~/.ssh/id_ed25519"},
    ),
)
database = ReplicatedDatabase("database", ReplicatedDatabaseArgs(cloud))
management = ManagementServers("management", ManagementServersArgs(cloud))
preparation = Preparation("preparation", PreparationArgs(cloud, database, management))
cutover = Cutover("cutover", CutoverArgs(cloud, preparation))

pulumi.export("host", cloud.host)
pulumi.export("record", cloud.record)
pulumi.export("leftToTidy", cutover.left_to_tidy)
