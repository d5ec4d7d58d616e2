"""The resolved stack as one secret text, put together once everything in it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pydantic import ValidationError

from parallel_build.components.arguments import NOTHING, ArgumentsRefused
from parallel_build.components.cloud_values import checked_secrets
from parallel_build.components.settings import Settings
from parallel_build.configuration import Secrets, StackConfiguration, describe
from parallel_build.resolved_stack import Site


@dataclass(frozen=True)
class Parts:
    """What a site is put together from.

    Attributes:
        cloud: the component's name, for messages.
        settings: what is known while the program runs.
        keys: public host keys of new machines.
        addresses: addresses that stand in the settings as placeholders.
        secrets: the secrets, where the settings do not have them.
    """

    cloud: str
    settings: Settings
    keys: Mapping[str, pulumi.Output[str]]
    addresses: Mapping[str, pulumi.Output[str]]
    secrets: pulumi.Output[dict[str, str]] | None

    def derived_identity(self) -> pulumi.Output[str]:
        """The identity as earlier versions of this project derived it."""
        return pulumi.Output.unsecret(self.awaited().apply(lambda found: self.site(found, ()).derived_identity()))

    def awaited(self) -> pulumi.Output[Any]:
        """Everything that is an output: keys, addresses, secrets."""
        # An output of nothing at all would be an empty list.
        keys, addresses = pulumi.Output.all(**{"": "", **self.keys}), pulumi.Output.all(**{"": "", **self.addresses})
        return pulumi.Output.all(keys, addresses, self.secrets if self.secrets is not None else pulumi.Output.from_input({}))

    def site(self, found: Sequence[Mapping[str, str]], identities: Sequence[str]) -> Site:
        """The site.

        Raises:
            ArgumentsRefused: an output has a value that can't be used.
        """
        keys, addresses, late = ({name: value for name, value in each.items() if name} for each in found)
        settings = self.settings
        secrets = settings.secrets or self._secrets(late)
        configuration = self._placed(addresses)
        return Site(settings.stack, configuration, secrets, keys, settings.sealed, known_as=tuple(identities))

    def _secrets(self, late: Mapping[str, str]) -> Secrets:
        return checked_secrets(self.cloud, late)

    def _placed(self, addresses: Mapping[str, str]) -> StackConfiguration:
        if not addresses:
            return self.settings.configuration
        document = self.settings.configuration.model_dump(mode="json", by_alias=True)
        new = document["new"]
        for machine in (
            *new["management"],
            new["database"]["source"],
            new["database"]["replica"] or {},
            document["rehearsal"].get("machine") or {},
        ):
            if machine.get("name") in addresses:
                machine["address"] = addresses[machine["name"]]
        try:
            return StackConfiguration.model_validate(document)
        except ValidationError as error:
            raise ArgumentsRefused(
                f"Cloud {self.cloud!r}:\n  {describe(error, 'args.')}\n",
                f"the addresses of {', '.join(addresses)} are known now, and do not fit",
                f"correct the resources that they come from; {NOTHING} by this",
            ) from None


def resolve(parts: Parts, identities: pulumi.Output[list[str]]) -> pulumi.Output[str]:
    """The site's text, a secret from its first moment: it holds every password of the stack."""
    secret: pulumi.Output[list[Any]] = pulumi.Output.secret(pulumi.Output.all(parts.awaited(), identities))
    return secret.apply(lambda found: parts.site(found[0], found[1]).to_json())
