"""The resource provider process of the package `cutover`: maps resource types to handlers over Pulumi's raw protocol, and nothing else."""

from parallel_build.release import plugin_version

NAME = "cutover"
VERSION = plugin_version()
