"""What a failed start looks like: a storm of modules that could not start, and 503 for good.

Only the first error in the log is the true one: without the module [system] none of the others can start.
"""

from __future__ import annotations

import logging

log = logging.getLogger("o.a.c.s.m.m.i.DefaultModuleDefinitionSet")

MODULES = (
    "core",
    "allocator",
    "host-allocator-random",
    "planner",
    "api-planner",
    "baremetal-planner",
    "explicit-dedication",
    "external-planner",
    "host-affinity",
    "host-anti-affinity",
    "implicit-dedication",
    "non-strict-host-affinity",
    "non-strict-host-anti-affinity",
    "server-planner",
    "user-concentrated-pod",
    "user-dispersing",
    "api",
    "ldap",
    "md5",
    "oauth2",
    "pbkdf2",
    "plaintext",
    "saml2",
    "sha256salted",
    "static-role-based",
    "dynamic-role-based",
    "project-role-based",
    "ca",
    "root-ca",
    "backend",
    "cluster",
    "storage-allocator",
    "server-allocator",
    "discoverer",
    "baremetal-discoverer",
    "external-discoverer",
    "secondary-storage-discoverer",
    "server-discoverer",
    "simulator-discoverer",
    "event",
    "webhook",
    "outofbandmanagement",
    "ipmitool",
    "nested-cloudstack",
    "redfish",
    "alert-adapter-backend",
    "alert-adapter-server-backend",
    "compute",
    "hyperv-compute",
    "kvm-compute",
    "lxc-compute",
    "ovm3-compute",
    "simulator-compute",
    "vmware-compute",
    "xenserver-compute",
    "baremetal-compute",
    "external-compute",
    "fencer",
    "investigator",
    "server-compute",
    "xenserver-discoverer",
    "network",
    "baremetal-network",
    "elb",
    "internallb",
    "netris",
    "nsx",
    "opendaylight",
    "ovs",
    "tungsten",
    "vxlan",
    "vns",
    "server-network",
    "vpc",
    "storage",
    "storage-image-default",
    "storage-image-s3",
    "storage-image-swift",
    "storage-volume-default",
    "storage-volume-linstor",
    "storage-volume-storpool",
    "storage-volume-primera",
    "storage-object-minio",
    "metrics",
    "quota",
    "backup",
    "shutdown",
)
#: These are not even looked at once their parent failed.
NOT_FOUND = (
    "external-discoverer",
    "secondary-storage-discoverer",
    "server-discoverer",
    "simulator-discoverer",
    "event",
    "webhook",
    "outofbandmanagement",
    "ipmitool",
)


class StartFailed(Exception):
    """The web application can't start; the server stays alive and answers 503.

    Attributes:
        module: the module in which it failed; None where the failure came before modules were looked at.
        message: what the log has about it.
        causes: the lines that follow.
        nested: exceptions around the message, as the log has them.
    """

    def __init__(
        self,
        module: str | None,
        message: str = "",
        causes: tuple[str, ...] = (),
        nested: str = "",
    ) -> None:
        super().__init__(message)
        self.module = module
        self.message = message
        self.causes = causes
        self.nested = nested


def in_lifecycle(message: str) -> StartFailed:
    """Return the failure of an integrity checker, in the module [system]."""
    return StartFailed(
        "system",
        message,
        (f"Caused by: com.cloud.utils.exception.CloudRuntimeException: {message}",),
        "Failed to start bean 'cloudStackLifeCycle'; nested exception is com.cloud.utils.exception.CloudRuntimeException: ",
    )


def report(failure: StartFailed, version: str) -> None:
    """Write the storm."""
    if failure.module is None:
        return
    lines = [f"Failed to start module [{failure.module}] due to: [{failure.nested}{failure.message}].", *failure.causes]
    log.warning("\n".join(lines))
    if failure.module == "system":
        for module in MODULES:
            _no_parent(module, version)
    for module in NOT_FOUND:
        log.warning("Application context not found for module definition [%s]", module)


def _no_parent(module: str, version: str) -> None:
    missing = "No bean named 'DefaultConfigResources' available"
    cause = f"org.springframework.beans.factory.NoSuchBeanDefinitionException: {missing}"
    log.warning(
        "Failed to start module [%s] due to: [Error creating bean with name "
        "'org.springframework.beans.factory.config.PropertyPlaceholderConfigurer#0' defined in URL "
        "[jar:file:/usr/share/cloudstack-management/lib/cloud-core-%s.jar!/META-INF/cloudstack/bootstrap/"
        "spring-bootstrap-context-inheritable.xml]: Cannot resolve reference to bean 'DefaultConfigResources' while "
        "setting bean property 'locations'; nested exception is %s].\nCaused by: %s",
        module,
        version,
        cause,
        cause,
    )


def report_single(module: str) -> None:
    """Write that a plug-in's module failed while all others start."""
    log.warning(
        "Failed to start module [%s] due to: [Error creating bean with name '%s': Invocation of init method failed; "
        "nested exception is com.cloud.utils.exception.CloudRuntimeException: plug-in could not be configured].\n"
        "Caused by: com.cloud.utils.exception.CloudRuntimeException: plug-in could not be configured",
        module,
        module,
    )
