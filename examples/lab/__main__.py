"""The lab's stack file, and any other, driven by a program of one's own: what the checkout's `__main__.py` does, written with the library."""

import pulumi

from parallel_build.components import (
    Cloud,
    CloudArgs,
    Cutover,
    CutoverArgs,
    ManagementServers,
    ManagementServersArgs,
    Preparation,
    PreparationArgs,
    ReplicatedDatabase,
    ReplicatedDatabaseArgs,
)

cloud = Cloud("cloud", CloudArgs.from_config())
database = ReplicatedDatabase("database", ReplicatedDatabaseArgs(cloud))
management = ManagementServers("management", ManagementServersArgs(cloud))
preparation = Preparation("preparation", PreparationArgs(cloud, database, management))
cutover = Cutover("cutover", CutoverArgs(cloud, preparation))

pulumi.export("host", cloud.host)
pulumi.export("leftToTidy", cutover.left_to_tidy)
