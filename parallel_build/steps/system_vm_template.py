"""SystemVmTemplate: one template registered on the original in advance, under the name that the schema upgrade looks up."""

from __future__ import annotations

from parallel_build.cloudstack import templates
from parallel_build.cloudstack.api import Cloud
from parallel_build.configuration import Phase, StackConfiguration, Template
from parallel_build.steps.base import Context, Outputs, Step, step

DOWNLOAD_LIMIT = 4 * 3600.0  # seconds; several GB over a slow line


@step
class SystemVmTemplate(Step):
    """A system VM template, Ready in every zone that needs it."""

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
        return [
            f"registerTemplate name={template.name} url={template.url} hypervisor={template.hypervisor} format={template.format} "
            f"in all zones of the original, unless it is there",
            "wait until it is Ready with 'Download Complete' in every zone that has such hosts; a failed download is tried again, "
            f"{templates.TRIES} times in all",
        ]

    def undo(self, configuration: StackConfiguration) -> list[str]:
        """Delete what was registered here."""
        return [f"deleteTemplate {self.template.name}, only if this stack registered it and nothing uses it"]

    def apply(self, context: Context) -> Outputs:
        """Register it if it is not there, and wait."""
        template, cloud = self.template, Cloud.original(context.site)
        before = context.run.evidence(self._mark) or {}
        if not templates.waiting(cloud, template):
            present = templates.found(cloud, template.name)
            context.progress(f"{template.name} is Ready in every zone")
            return {"ids": sorted({item["id"] for item in present}), "registered": bool(before.get("registered"))}
        for attempt in range(1, templates.TRIES + 1):
            if not templates.found(cloud, template.name):
                context.intend("register template", name=template.name)
                # Kept before it is done: a template of this name that appears from now on is this stack's to delete.
                context.run.keep(self._mark, {"registered": True, "name": template.name})
                templates.register(cloud, template)
                context.note(registered=True)
            try:
                templates.await_ready(cloud, template, timeout=DOWNLOAD_LIMIT, cancel=context.cancel, progress=context.progress)
                break
            except templates.DownloadFailed as error:
                ours = (context.run.evidence(self._mark) or {}).get("registered")
                if attempt == templates.TRIES or not ours:
                    raise
                context.progress(f"{error.fact}: {error.cause}; deleting it and trying again ({attempt} of {templates.TRIES})")
                self._delete(context, cloud)
        present = templates.found(cloud, template.name)
        registered = bool((context.run.evidence(self._mark) or {}).get("registered"))
        return {"ids": sorted({item["id"] for item in present}), "registered": registered}

    def revert(self, context: Context) -> None:
        """Delete it if it is this stack's and unused."""
        template, cloud = self.template, Cloud.original(context.site)
        if not (context.run.evidence(self._mark) or {}).get("registered"):
            context.progress(f"{template.name} was there before this stack, it stays")
            return
        for identity in sorted({item["id"] for item in templates.found(cloud, template.name)}):
            users = templates.in_use(cloud, template, identity)
            if users:
                context.progress(f"{template.name} stays: it is used by {', '.join(users[:5])}")
                return
        self._delete(context, cloud)
        context.run.keep(self._mark, {"registered": False, "name": template.name})

    def _delete(self, context: Context, cloud: Cloud) -> None:
        for identity in sorted({item["id"] for item in templates.found(cloud, self.template.name)}):
            context.intend("delete template", name=self.template.name, id=identity)
            templates.delete(cloud, identity, context.cancel)

    @property
    def _mark(self) -> str:
        return f"template-{self.template.name}"
