"""SystemVmTemplate: one template registered on the original in advance, under the name that the schema upgrade looks up."""

from __future__ import annotations

from parallel_build.cloudstack import templates
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Phase, StackConfiguration, Template
from parallel_build.errors import StepFailed
from parallel_build.operations.context import Context, Outputs
from parallel_build.operations.context_helpers import original_database, window_open
from parallel_build.records.prepared import PreparedRecord
from parallel_build.steps.base import step
from parallel_build.steps.foundation import FoundationStep

COPY_TIMEOUT = 4 * 3600.0  # seconds; several GB between two zones over a slow line


@step
class SystemVmTemplate(FoundationStep):
    """A system VM template, Ready in every zone that needs it.

    Parameters: the fields of a `templates` entry.
    """

    type = "SystemVmTemplate"
    phase = Phase.PREPARED
    summary = "system VM template on the original"

    @property
    def template(self) -> Template:
        """The template, from the resource's parameters."""
        return Template.model_validate(dict(self.parameters))

    def plan(self, configuration: StackConfiguration) -> list[str]:
        """Register, wait, prove."""
        template = self.template
        zones, system = f"[every zone with {template.hypervisor} clusters]", f"[{template.os_type}]"
        asked = templates.registration(template, zones, system, configuration.original.version)
        return [
            f"on {configuration.original.api.url}: registerTemplate {' '.join(f'{key}={value}' for key, value in asked.items())}; "
            "nothing where it is there already",
            "copyTemplate to zones that have the cluster but not the template",
            f"wait until it is Ready with '{templates.COMPLETE}' in each of these zones; a failed download is deleted and tried again, "
            f"{templates.TRIES} times in all",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Delete what was registered here."""
        return [
            f"on {configuration.original.api.url}: deleteTemplate {self.template.name}, only if this stack registered it and nothing uses it"
        ]

    def apply(self, context: Context) -> Outputs:
        """Register it if it is not there, bring it to every zone, and wait."""
        template, cloud = self.template, Cloud.original(context.site)
        record = self._record(context)
        needed, everywhere = templates.zones(cloud, template.hypervisor)
        for attempt in range(1, templates.TRIES + 1):
            identity = self._present(context, cloud, needed, everywhere=everywhere)
            try:
                self._bring_everywhere(context, cloud, identity, needed)
            except templates.DownloadFailed as error:
                if attempt == templates.TRIES or record.facts().get("id") != identity:
                    raise
                context.progress(f"{error.fact}: {error.cause}; deleting it and trying again ({attempt} of {templates.TRIES} tries failed)")
                context.intend("delete template", name=template.name, id=identity)
                templates.delete(cloud, template, identity, context.cancel)
            else:
                return self._evidence(context, cloud, identity, needed)
        raise AssertionError("the last try either returns or raises")

    def verify(self, context: Context) -> Outputs:
        """Look again, changing nothing. While a window is open the original may be silent; what was recorded stands."""
        if window_open(context):
            return {"name": self.template.name}
        template, cloud = self.template, Cloud.original(context.site)
        needed, _ = templates.zones(cloud, template.hypervisor)
        return self._evidence(context, cloud, templates.latest(templates.found(cloud, template)), needed)

    def revert(self, context: Context) -> None:
        """Delete it if it is this stack's and unused."""
        template, cloud, record = self.template, Cloud.original(context.site), self._record(context)
        facts = record.facts()
        if not facts.get("registered"):
            if templates.found(cloud, template):
                context.progress(f"{template.name} was there before this stack, it stays")
            return
        identity = facts.get("id") or self._interrupted(cloud, facts)
        if identity:
            users = templates.in_use(cloud, template, identity)
            if users:
                context.progress(f"{template.name} stays: it is used by {', '.join(users[:5])}")
                return
            if any(item["id"] == identity for item in templates.found(cloud, template)):
                context.intend("delete template", name=template.name, id=identity)
                templates.delete(cloud, template, identity, context.cancel)
                context.progress(f"{template.name} deleted")
        record.forget()

    def _present(self, context: Context, cloud: Cloud, needed: dict[str, str], *, everywhere: bool) -> str:
        """The id of the template, registered now if there was none."""
        template, record = self.template, self._record(context)
        items = templates.found(cloud, template)
        identity = templates.latest(items)
        if identity:
            facts = record.facts()
            if facts.get("registered") and not facts.get("id") and identity == self._interrupted(cloud, facts):
                record.remember(id=identity)
            return identity
        context.intend("register template", name=template.name, url=template.url)
        # Kept before it is done: what appears under this name and url from now on is this stack's to delete.
        record.remember(registered=True, id=None, url=template.url)
        identity = templates.register(cloud, template, needed, everywhere=everywhere, version=context.configuration.original.version)
        record.remember(id=identity)
        context.note(id=identity, registered=True)
        context.progress(f"{template.name} registered, id {identity}")
        return identity

    def _bring_everywhere(self, context: Context, cloud: Cloud, identity: str, needed: dict[str, str]) -> None:
        template = self.template
        now = templates.await_ready(cloud, template, identity, needed, cancel=context.cancel, progress=context.progress)
        by_name = {name: zone for zone, name in needed.items()}
        source = next(by_name[state.zone] for state in now if state.ready)
        lacking = [state.zone for state in now if not state.registered]
        for name in lacking:
            context.intend("copy template", name=template.name, id=identity, zone=name)
            context.progress(f"{template.name}: copying to zone {name}")
            templates.copy(cloud, identity, source, by_name[name], timeout=COPY_TIMEOUT, cancel=context.cancel)
        if lacking:
            templates.await_ready(cloud, template, identity, needed, cancel=context.cancel, progress=context.progress)

    def _evidence(self, context: Context, cloud: Cloud, identity: str | None, needed: dict[str, str]) -> Outputs:
        template = self.template
        now = templates.states(cloud, template, identity, needed)
        if not all(state.ready for state in now):
            raise StepFailed(
                f"{template.name} is not Ready in every zone of {cloud.url} that needs it",
                templates.in_words(now),
                "run `pulumi up` again; delete a template that can't be made Ready there by hand first",
            )
        ours = self._record(context).facts().get("id") == identity
        context.progress(f"{template.name} is Ready: {templates.in_words(now)}" + ("" if ours else "; it was there before this stack"))
        return {"id": identity, "registered": ours, "zones": {state.zone: state.status for state in now}}

    def _interrupted(self, cloud: Cloud, facts: dict[str, object]) -> str | None:
        """The template of a registration whose answer was never seen: it has the url that was asked for, and there was none before."""
        items = [item for item in templates.found(cloud, self.template) if item.get("url") in (None, facts.get("url"))]
        return templates.latest(items)

    def _record(self, context: Context) -> PreparedRecord:
        return PreparedRecord(original_database(context), context.site, f"template-{self.template.name}")
