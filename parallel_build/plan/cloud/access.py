"""The keys of a cloud's root administrator: from the environment or `cloudstack.ini`, and the proof that they are a root administrator's."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cs.client

from parallel_build.cloudstack.api import ApiRefused, Cloud
from parallel_build.cloudstack.endpoint import Endpoint
from parallel_build.configuration.values import URL
from parallel_build.errors import ConfigurationError, GuardFailed
from parallel_build.secret import Secret, remember

KEY, SECRET = "CLOUDSTACK_KEY", "CLOUDSTACK_SECRET"
SECTION = "cloudstack.ini"
API_PATH = "/client/api"
TIMEOUT = 15.0  # seconds one call may take
ROOT_ADMIN = 1  # accounttype
NOT_ALLOWED = (401, 432, 531)  # how versions refuse a command that the account may not call
# Asked first: only a root administrator may call them.
ADMINISTRATIVE = ("listHosts", "listManagementServers", "listConfigurations")
WHERE = f"set {KEY} and {SECRET}, or write key and secret to cloudstack.ini here or to ~/.cloudstack.ini"
REMEDY = "take the keys of a user of an account of type Admin in the domain ROOT (registerUserKeys)"


def open_cloud(url: str, region: str | None = None, ca_file: Path | None = None, server_name: str | None = None) -> Cloud:
    """The cloud at that address, by keys that are a root administrator's.

    Args:
        url: of the API; `/client/api` where it has no path.
        region: section of `cloudstack.ini`, for several clouds in one file.
        ca_file: authorities to check https against; `verify` of `cloudstack.ini` otherwise, else the system's.
        server_name: name in its certificate, where that is not the address's.
    Raises:
        ConfigurationError: the address or the keys can't be used.
        GuardFailed: the keys are not a root administrator's.
        ApiUnavailable: nothing answers there.
    """
    found = _keys(region)
    key, secret = Secret(found["key"]), Secret(found["secret"])
    remember([key, secret])
    verify = str(found.get("verify") or "")
    authorities = ca_file or (Path(verify).expanduser() if verify.lower() not in ("", "true", "false") else None)
    cloud = Cloud(Endpoint(address(url), SECTION, authorities, server_name), key, secret, TIMEOUT)
    prove(cloud, key)
    return cloud


def address(url: str) -> str:
    """The API's address.

    Raises:
        ConfigurationError: it is none.
    """
    if not URL.fullmatch(url):
        raise ConfigurationError(
            f"{url} is no address of an API",
            "an address is http or https with a host, without user, query and fragment",
            f"give it as https://cloud.example.org:8443{API_PATH}; nothing has been contacted",
        )
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + API_PATH


def _keys(region: str | None) -> Mapping[str, Any]:
    key, secret = os.environ.get(KEY), os.environ.get(SECRET)
    if key and secret:
        return {"key": key, "secret": secret}
    try:
        found = cs.client.read_config_from_ini(region)
    except SystemExit:
        raise ConfigurationError("there are no keys", f"{KEY} and {SECRET} are not set, and there is no {SECTION}", WHERE) from None
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        # A parser's message may quote a line with a key.
        raise ConfigurationError(f"{SECTION} can't be used", f"{type(error).__name__}", f"correct it; {WHERE}") from None
    if missing := [name for name in ("key", "secret") if not found.get(name)]:
        raise ConfigurationError(
            f"{SECTION} has no {' and no '.join(missing)}",
            f"its section is {region or os.getenv('CLOUDSTACK_REGION', 'cloudstack')}",
            WHERE,
        )
    return found


def prove(cloud: Cloud, key: Secret) -> None:
    """Rule: the keys are a root administrator's; anybody else is shown a part of the cloud, and a part can't be judged.

    Raises:
        GuardFailed: they are not.
    """
    try:
        users = cloud.list("listUsers", listall="true")
    except ApiRefused as error:
        raise GuardFailed(f"{cloud.url} does not accept these keys", error.cause, f"{REMEDY}; see also that the clocks agree") from None
    own = next((user for user in users if user.get("apikey") == key.reveal()), None)
    if own is not None and own.get("accounttype") is not None and int(own["accounttype"]) != ROOT_ADMIN:
        raise GuardFailed(
            f"the keys are those of user {own.get('username')} of account {own.get('account')}, which is no root administrator",
            "such an account is shown only a part of the cloud, and a part can't be judged",
            REMEDY,
        )
    for command in ADMINISTRATIVE:
        try:
            cloud.call(command, page="1", pagesize="1")
        except ApiRefused as error:
            if error.code not in NOT_ALLOWED:
                continue  # another version of the API; whatever needs the command is reported as not known
            raise GuardFailed(
                f"the keys are not allowed to call {command} at {cloud.url}",
                f"they are no root administrator's: {error.cause}",
                REMEDY,
            ) from None
