"""A plugin of any package that does nothing: a process for tests of what the engine would do to the machines in a state.

Started as `VERSION ENGINE_ADDRESS`. Whatever it is asked to make is there at once, with its inputs as outputs; a look-up finds what is looked for.
A changed input is an update: that a real plugin replaces for it is the plugin's own knowledge.
"""

from __future__ import annotations

import signal
import sys
import threading
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

TEMPLATE: dict[str, Any] = {
    "id": "uuid-of-template",
    "guestId": "debian12_64Guest",
    "firmware": "efi",
    "efiSecureBootEnabled": True,
    "scsiType": "pvscsi",
    "networkInterfaceTypes": ["vmxnet3"],
    "disks": [{"size": 8, "thinProvisioned": True, "eagerlyScrub": False, "label": "Hard disk 1", "unitNumber": 0}],
}
"""What the vSphere plugin returns for a template."""


class Idle(provider_pb2_grpc.ResourceProviderServicer):
    """Answers of a plugin."""

    def __init__(self, version: str) -> None:
        self._version = version

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Its version."""
        return plugin_pb2.PluginInfo(version=self._version)

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """As given."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing of a provider's configuration replaces what it has made."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing is connected to."""
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True)

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:
        """What is looked for is there."""
        answer = provider_pb2.InvokeResponse()
        found: struct_pb2.Struct = getattr(answer, "return")
        found.update({"id": "1", "resourcePoolId": "pool"})
        if request.tok.endswith("VirtualMachine"):
            found.update(TEMPLATE)
        return answer

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        """As given."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:
        """An update where an input is different that is not ignored."""
        changed = [
            name for name in {*request.old_inputs, *request.news} if request.old_inputs.fields.get(name) != request.news.fields.get(name)
        ]
        kinds = provider_pb2.DiffResponse
        wanted = set(changed) - set(request.ignoreChanges)
        return kinds(changes=kinds.DIFF_SOME if wanted else kinds.DIFF_NONE, diffs=sorted(wanted))

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        """There at once."""
        return provider_pb2.CreateResponse(id=str(request.urn).rpartition("::")[2], properties=request.properties)

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:
        """As it was."""
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Changed at once."""
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Gone at once."""
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Nothing runs."""
        return empty_pb2.Empty()


def main() -> int:
    """Serve until the engine ends this process."""
    server, ended = grpc.server(futures.ThreadPoolExecutor(16)), threading.Event()
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Idle(sys.argv[1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    print(port, flush=True)
    ended.wait()
    server.stop(0.5).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
