"""The resource provider process of the package `cutover`: maps resource types to handlers over Pulumi's raw protocol, and nothing else."""

NAME = "cutover"
VERSION = "0.1.0"
