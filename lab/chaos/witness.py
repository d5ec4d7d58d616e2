"""What must not be lost: domains that a user of the cloud makes through the original's API until it refuses, each acknowledged or not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import threading
import urllib.parse

from lab.files import LabSecrets
from lab.machines import USER_ADDRESS, Machine
from lab.progress import until
from parallel_build.remote.sql import Session

TIMEOUT = 10.0
PAUSE = 0.3  # seconds between two calls, so that a lab is not filled with them


class Witness(threading.Thread):
    """Makes domains as a user until asked to end; `acknowledged` holds the names whose creation was answered.

    Args:
        server: the original's management server that is asked.
        secrets: of the lab.
        prefix: begins every name.
    """

    def __init__(self, server: Machine, secrets: LabSecrets, prefix: str) -> None:
        super().__init__(name="witness", daemon=True)
        self._server, self._prefix = server, prefix
        self._key, self._secret = secrets.must("original_api_key"), secrets.must("original_api_secret")
        self._over = threading.Event()
        self.acknowledged: list[str] = []
        self.refused = 0

    def run(self) -> None:
        """Call after call; a refusal is counted, not tried again."""
        number = 0
        while not self._over.wait(PAUSE):
            number += 1
            name = f"{self._prefix}-{number}"
            if self._create(name):
                self.acknowledged.append(name)
            else:
                self.refused += 1

    def began(self, number: int) -> None:
        """Wait until so many have been acknowledged.

        Raises:
            LabError: the original does not answer users.
        """
        until(f"{number} acknowledged rows", lambda: len(self.acknowledged) >= number, timeout=60)

    def end(self) -> None:
        """Stop, and wait for the last answer."""
        self._over.set()
        self.join(TIMEOUT + 5)

    def _create(self, name: str) -> bool:
        given = {"command": "createDomain", "name": name, "apikey": self._key.reveal(), "response": "json"}
        query = "&".join(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in sorted(given.items()))
        digest = hmac.new(self._secret.reveal().encode(), query.lower().encode(), hashlib.sha1).digest()
        body = f"{query}&signature={urllib.parse.quote(base64.b64encode(digest), safe='')}"
        connection = http.client.HTTPConnection(self._server.address, 8080, timeout=TIMEOUT, source_address=(USER_ADDRESS, 0))
        try:
            connection.request("POST", "/client/api", body, {"Content-Type": "application/x-www-form-urlencoded"})
            reply = connection.getresponse()
            return reply.status == http.client.OK and "domain" in json.loads(reply.read()).get("createdomainresponse", {})
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()


def missing(database: Session, names: list[str]) -> list[str]:
    """Acknowledged names that a serving side's database does not have."""
    there = {str(row["name"]) for row in database.rows("SELECT name FROM cloud.domain WHERE removed IS NULL")}
    return [name for name in names if name not in there]
