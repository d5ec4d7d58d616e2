"""The agent of a KVM host, and the system VMs that it runs as far as anybody sees them."""
