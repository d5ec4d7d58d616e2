"""One HTTP request from inside a network namespace; prints status and body as JSON.

Started by the harness with the URL as its argument, with nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Hands redirects to the caller."""

    def redirect_request(self, *arguments: object) -> None:
        """Follow nothing."""


def main(url: str) -> None:
    """Ask once; a refused connection is status 0."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect())
    try:
        with opener.open(url, timeout=30) as response:
            status, headers, body = response.status, dict(response.headers), response.read().decode()
    except urllib.error.HTTPError as answer:
        status, headers, body = answer.code, dict(answer.headers), answer.read().decode()
    except OSError:
        status, headers, body = 0, {}, ""
    print(json.dumps({"status": status, "headers": headers, "body": body}))


if __name__ == "__main__":
    main(sys.argv[1])
