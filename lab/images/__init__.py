"""Root file systems, guest images and the question whether KVM runs here: what the lab's machines are made of."""

from __future__ import annotations

from lab.images.guest import GuestImage, guest_image
from lab.images.kvm import kvm_available, make_kvm_usable
from lab.images.recipes import CONTAINER_MASKED_UNITS
from lab.images.roots import base_root, el_root, family_root, front_root, mask_for_container, mysql_root

__all__ = [
    "CONTAINER_MASKED_UNITS",
    "GuestImage",
    "base_root",
    "el_root",
    "family_root",
    "front_root",
    "guest_image",
    "kvm_available",
    "make_kvm_usable",
    "mask_for_container",
    "mysql_root",
]
