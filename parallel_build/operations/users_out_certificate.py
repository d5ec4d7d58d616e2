"""The server's own certificate for the service that answers users on its TLS ports: from its keystore into the service's memory, and nowhere else.

After a restart of the service, or a reboot, TLS connections are refused until the barrier is put up again: the certificate is on no disk but in the
server's own keystore.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence

from parallel_build.cloudstack import keystore_handover, properties, web
from parallel_build.cloudstack.encryption import WrongKey, decrypt, unwrap
from parallel_build.cloudstack.keys import first_line
from parallel_build.cloudstack.properties import KEY_FILE
from parallel_build.cloudstack.services import Services
from parallel_build.errors import CommandFailed, StepFailed
from parallel_build.operations import users_out_service
from parallel_build.remote.access import Access
from parallel_build.secret import Secret

LIMIT = 60.0
KEY = "https.keystore.password"


class _Refused(Exception):
    """Why users who come by TLS can't be answered."""


def give(host: Access, ports: Sequence[int]) -> tuple[list[int], str]:
    """Have users answered who come by TLS; the service runs already.

    Args:
        ports: TLS ports that are closed to users.
    Returns:
        those on which they are answered, and why the others are not; no reason where the server serves no TLS, so that nobody comes by it.
    """
    try:
        values = properties.read(host, web.SERVER_PROPERTIES) or {}
        served = web.listeners(values)
        if served.https is None:
            return [], ""
        if not served.keystore:
            return [], "https.keystore names no file"
        _hand_over(host, served.keystore, _password(host, values.get(KEY, "")), served.https)
        taken = Services(host).listening(list(ports)) - {served.https}
    except (_Refused, StepFailed, CommandFailed) as error:
        return [], str(error)
    others = [port for port in ports if port in taken]
    return (
        [port for port in ports if port not in taken],
        f"another program listens on {', '.join(map(str, others))}, with a certificate of its own" if others else "",
    )


def _password(host: Access, value: str) -> Secret:
    """In the clear, as CloudStack takes it [ServerProperties.java: `ENC(...)` by the management key]."""
    inner = unwrap(value)
    if inner is None:
        return Secret(value)
    key = host.read(KEY_FILE)
    if key is None:
        raise _Refused(f"{KEY} is encrypted, and the server has no {KEY_FILE}")
    try:
        return decrypt(inner, Secret(first_line(key)))
    except WrongKey:
        raise _Refused(f"{KEY_FILE} does not decrypt {KEY}") from None


def _hand_over(host: Access, keystore: str, password: Secret, port: int) -> None:
    given = {
        "keystore": keystore, "password": password.reveal(), "port": port, "handover": users_out_service.HANDOVER, "unit": users_out_service.UNIT,
    }  # fmt: skip
    program = users_out_service.for_old_python(inspect.getsource(keystore_handover))
    try:
        done = host.run(["python3", "-c", program], input=Secret(json.dumps(given)), timeout=LIMIT, ok=None)
    except CommandFailed as error:
        raise _Refused(error.fact) from None
    problem = done.stdout.strip() if done.ok else (done.stderr.strip().splitlines() or ["no output"])[-1][:200]
    if problem or not done.ok:
        raise _Refused(problem)
