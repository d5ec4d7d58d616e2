"""What all components have in common: children named after them, aliases for the names that children had before, options that reach them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """Base of the components; `cutover:components:<class>`.

    A child is called `<component>-<label>`, so that two components of one kind can stand in one program. The stack program's own components
    had children without that prefix up to version 0.1.0: a component of the name `FORMER` gives each child its earlier name as an alias.

    Args:
        name: the component's name.
        opts: `depends_on` counts for the children, too: nothing of the component begins before it.
    """

    FORMER: ClassVar[str] = ""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(f"cutover:components:{type(self).__name__}", name, None, opts)
        self.name = name
        self._after: Any = opts.depends_on if opts is not None else None

    def child(self, label: str) -> str:
        """A child's name."""
        return f"{self.name}-{label}"

    def former(self, label: str) -> list[pulumi.Alias]:
        """The name that a child of the stack program had before it was named after its component."""
        return [pulumi.Alias(name=label)] if self.name == self.FORMER else []

    def options(self, label: str, after: Iterable[pulumi.Resource] = (), **more: Any) -> pulumi.ResourceOptions:
        """Options of a child: below this component, after `after` and after whatever the component depends on."""
        own = pulumi.ResourceOptions(parent=self, depends_on=list(after), aliases=self.former(label), **more)
        return pulumi.ResourceOptions.merge(pulumi.ResourceOptions(depends_on=self._after), own) if self._after is not None else own
