"""The CloudStack API, signed calls through the `cs` library, with the errors of this project."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import cs
import requests

from parallel_build.cancel import CancelToken, wait_for
from parallel_build.cloudstack import endpoint
from parallel_build.cloudstack.endpoint import ApiNotTrusted, ApiUnavailable, Endpoint
from parallel_build.configuration import Server
from parallel_build.errors import StepFailed
from parallel_build.resolved_stack import Site
from parallel_build.secret import Secret

__all__ = ["ApiNotTrusted", "ApiRefused", "ApiUnavailable", "Cloud", "Endpoint", "JobFailed", "answers", "status"]
PENDING, SUCCEEDED = 0, 1
PARAMETER_ERROR, THROTTLED = 431, 429  # errorcodes [ApiErrorCode.java: PARAM_ERROR, API_LIMIT_EXCEED]
PAGE_SIZE = "default.page.size"
READING = ("list", "queryAsyncJobResult")  # commands that change nothing begin so
THROTTLED_FOR = 120.0  # seconds in which a call is made again that comes too soon after others
THROTTLED_WAIT = 10.0  # seconds between two tries, at most; the cloud's refusal says how long ("retry after N ms")
KEYS = "check originalApiKey and originalApiSecret, the user's state, and the clocks"

Reply = dict[str, Any]


class ApiRefused(StepFailed):
    """The API answered with an error.

    Attributes:
        code: its errorcode (401 not authenticated, 431 parameter error, 432 unknown command, 530 internal, 531 not allowed), 0 if none.
    """

    def __init__(self, fact: str, cause: str, remedy: str, code: int) -> None:
        super().__init__(fact, cause, remedy)
        self.code = code


class JobFailed(StepFailed):
    """A job was begun in the cloud and failed there.

    Attributes:
        code: its errorcode (533 capacity, 534 something unreachable, 530 internal), 0 if none.
    """

    def __init__(self, fact: str, cause: str, remedy: str, code: int = 0) -> None:
        super().__init__(fact, cause, remedy)
        self.code = code


class Cloud:
    """Calls to one management server's API (or the load balancer before several).

    Args:
        where: the address, and how its certificate is checked.
        key, secret: keys of a root administrator.
        timeout: seconds one call may take.

    Attributes:
        before_write: asked right before each call that changes something; the call is not made where it raises.
        poll: seconds between two questions how a job stands.
    Raises:
        ConfigurationError: the file with the authorities' certificates can't be used.
    """

    def __init__(self, where: Endpoint, key: Secret, secret: Secret, timeout: float = 30) -> None:
        self.endpoint, self.url = where, where.url
        self.before_write: Callable[[], None] = lambda: None
        self.poll = 1.0
        self._page_size = 0  # until the cloud allows less than the library asks for
        session = where.session()
        session.max_redirects = 0  # a signed call goes where it was meant to go, or nowhere
        self._client = cs.CloudStack(
            endpoint=where.url,
            key=key.reveal(),
            secret=secret.reveal(),
            timeout=max(1, round(timeout)),
            method="post",
            verify=where.verify,
            retry=0,
            session=session,
        )

    @classmethod
    def original(cls, site: Site, server: Server | None = None) -> Cloud:
        """The original cloud's API as configured, or that of one of its management servers."""
        return cls._at(site, endpoint.of_original(site.configuration, server))

    @classmethod
    def new(cls, site: Site, server: Server | None = None) -> Cloud:
        """The API of a new management server (the first, unless named): the same keys, they travel with the database."""
        return cls._at(site, endpoint.of_new(site.configuration, server))

    @classmethod
    def rehearsal(cls, site: Site, server: Server) -> Cloud:
        """The API of the rehearsal's server: the same keys again."""
        return cls._at(site, endpoint.of_rehearsal(server))

    @classmethod
    def _at(cls, site: Site, where: Endpoint) -> Cloud:
        timeout = site.configuration.original.api.timeout.total_seconds()
        return cls(where, site.secrets.original_api_key, site.secrets.original_api_secret, timeout)

    def call(self, command: str, **parameters: Any) -> Reply:
        """Make one call; return what is inside the reply's only member.

        Raises:
            ApiRefused: the API's own error.
            ApiUnavailable: nothing answers, or 503 with an HTML page.
            ApiNotTrusted: something answers that can't be proved to be this API.
        """
        reply = self._reply(command, **parameters)
        return reply if isinstance(reply, dict) else {"result": reply}

    def _reply(self, command: str, **parameters: Any) -> Any:
        """A call beyond the account's rate (`api.throttling.*`) has not been made: it is made again when the cloud allows it."""
        end = time.monotonic() + THROTTLED_FOR
        while True:
            try:
                return self._once(command, **parameters)
            except ApiRefused as error:
                if error.code != THROTTLED or time.monotonic() > end:
                    raise
                named = re.findall(r"\d+", error.cause)
                time.sleep(min(int(named[-1]) / 1000, THROTTLED_WAIT) if named else 1.0)

    def _once(self, command: str, **parameters: Any) -> Any:
        if not command.startswith(READING):
            self.before_write()
        try:
            return getattr(self._client, command)(**parameters)
        except cs.CloudStackApiException as error:
            raise self._refused(command, error) from None
        except cs.CloudStackException as error:
            raise self._no_api(command, error) from None
        except requests.TooManyRedirects as error:
            to = error.response.headers.get("Location", "") if error.response is not None else ""
            raise ApiUnavailable(
                f"{self.url} sends callers on to {to.partition('?')[0]} ({command})",
                "a signed call is made where the configuration says, and nowhere else",
                f"correct {self.endpoint.section}",
                None,
            ) from None
        except requests.RequestException as error:
            raise self.endpoint.explain(error) or ApiUnavailable(
                f"{self.url} does not answer ({command})",
                type(error).__name__,
                "see there whether it runs: `systemctl status cloudstack-management`",
                None,
            ) from None

    def list(self, command: str, **parameters: Any) -> list[Reply]:
        """Every item of a list command, all pages; `listall=true` where the caller gives it.

        A page is as large as the cloud allows: more than `default.page.size` is refused (431), which only then is asked for.
        """
        if self._page_size:
            parameters = {"pagesize": self._page_size, **parameters}
        try:
            return list(self._reply(command, fetch_list=True, **parameters))
        except ApiRefused as error:
            if error.code != PARAMETER_ERROR or "page size" not in error.cause.lower() or self._page_size:
                raise
            self._page_size = self._allowed_page_size(error)
        return self.list(command, **parameters)

    def _allowed_page_size(self, refused: ApiRefused) -> int:
        """The cloud's `default.page.size`, else the number that its refusal names."""
        with contextlib.suppress(ApiRefused):
            found = self.call("listConfigurations", name=PAGE_SIZE).get("configuration", [])
            sizes = [str(each.get("value")) for each in found if each.get("name") == PAGE_SIZE]
            if sizes and sizes[0].isdigit() and int(sizes[0]) > 0:
                return int(sizes[0])
        named = re.findall(r"\d+", refused.cause)
        if not named or int(named[-1]) < 1:
            raise refused
        return int(named[-1])

    def job(
        self,
        command: str,
        *,
        timeout: float,
        cancel: CancelToken,
        progress: Callable[[str], None] | None = None,
        **parameters: Any,
    ) -> Reply:
        """Make an asynchronous call and wait for its result.

        Args:
            timeout: seconds until StepFailed; the job itself continues in the cloud.
        Raises:
            JobFailed: it failed, with the API's words.
            StepFailed: it took too long.
            Cancelled: stopping was asked for; before the call nothing was begun.
        """
        cancel.check()
        started = self.call(command, **parameters)
        job_id = started.get("jobid")
        if not job_id:
            return started
        return self.await_job(command, str(job_id), timeout=timeout, cancel=cancel, progress=progress)

    def await_job(
        self,
        command: str,
        job_id: str,
        *,
        timeout: float,
        cancel: CancelToken,
        progress: Callable[[str], None] | None = None,
    ) -> Reply:
        """Wait for a job that has been started."""

        def finished() -> Reply | None:
            reply = self.call("queryAsyncJobResult", jobid=job_id)
            return reply if reply.get("jobstatus") != PENDING else None

        reply = wait_for(f"{command} (job {job_id})", finished, timeout=timeout, cancel=cancel, interval=self.poll, progress=progress)
        result = reply.get("jobresult") or {}
        if reply.get("jobstatus") != SUCCEEDED:
            words = result.get("errortext", json.dumps(result)) if isinstance(result, dict) else str(result)
            code = result.get("errorcode") if isinstance(result, dict) else None
            raise JobFailed(
                f"{command} failed in the cloud",
                words,
                "see the management server's log (/var/log/cloudstack/management/management-server.log) for this job",
                code if isinstance(code, int) else 0,
            )
        return result if isinstance(result, dict) else {"result": result}

    def _refused(self, command: str, error: cs.CloudStackApiException) -> ApiRefused:
        details = error.error if isinstance(error.error, dict) else {}
        code = int(details.get("errorcode", 0) or 0)
        remedy = KEYS if code == 401 else "the keys must be a root administrator's; else see the management server's log for this call"
        return ApiRefused(f"{self.url} refused {command} ({code})", str(details.get("errortext", error)), remedy, code)

    def _no_api(self, command: str, error: cs.CloudStackException) -> Exception:
        response = getattr(error, "response", None)
        if response is None and len(error.args) > 1:
            response = error.args[1]
        status = getattr(response, "status_code", None)
        if status == 401:
            return ApiRefused(f"{self.url} refused {command} (401)", "the signature or the user was not accepted", KEYS, 401)
        return ApiUnavailable(
            f"{self.url} gave no API reply to {command} (HTTP {status})",
            "the web application has failed" if status == 503 else str(error.args[0] if error.args else error),
            "see the first `Failed to start module` in its /var/log/cloudstack/management/management-server.log and what it was caused by; good starts "
            "log some ERROR lines too",
            status,
        )


def status(where: Endpoint, timeout: float = 5) -> int | None:
    """What an unsigned call gives: None refused (starting or down), 401 answering, 503 failed for good.

    Source: CloudStack's web application starts before its connectors do, so a port that refuses is still starting
    [observed on 4.20.3.0 and 4.22.1.0].
    Raises:
        ApiNotTrusted: something answers that can't be proved to be this API; waiting would not help.
    """
    with where.session() as session:
        try:
            asked = {"command": "listCapabilities", "response": "json"}
            reply = session.get(where.url, params=asked, timeout=timeout, allow_redirects=False)
        except requests.RequestException as error:
            if problem := where.explain(error):
                raise problem from None
            return None
    return reply.status_code


def answers(where: Endpoint) -> bool:
    """Whether anything at all answers there, trusted or not."""
    try:
        return status(where) is not None
    except ApiNotTrusted:
        return True
