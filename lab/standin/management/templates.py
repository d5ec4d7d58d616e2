"""Templates: registered, really fetched from their URL, checked, and made ready in every zone that wants them.

The bytes are read, counted and summed, and then thrown away: there is no secondary storage to put them on.
[CloudStack 4.22 core/storage/template/HttpTemplateDownloader, DownloadManagerImpl]
"""

# ruff: noqa: TRY400 - these failures are expected; the log says what the real one says, without a trace
from __future__ import annotations

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

import pymysql

from ..shared import logs
from ..shared.database import Row, utcnow
from . import alerts
from .server import ManagementServer

log = logging.getLogger("o.a.c.s.i.BaseImageStoreDriverImpl")

CHUNK = 1 << 16
CONNECT_SECONDS = 30
PROGRESS_SECONDS = 0.5
DIGESTS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}


class DownloadFailed(Exception):
    """A template could not be fetched; the text is its status."""


class Templates:
    """Fetches every template whose download is not done."""

    def __init__(self, server: ManagementServer) -> None:
        self._server = server

    def start(self) -> None:
        """Begin to look for downloads; those that another server left off are begun again."""
        logs.named_thread("Template-Download", self._scan)

    def _scan(self) -> None:
        while not self._server.stopping.wait(min(1.0, self._server.settings.scan_seconds)):
            try:
                for row in self._waiting():
                    logs.named_thread(f"Download-{row['id']}", self._download, row)
            except pymysql.MySQLError as failure:
                log.error("DB Exception in the template scan: %s", failure.args[-1])

    def _waiting(self) -> list[Row]:
        return self._server.cloud.rows(
            "SELECT r.*, t.url AS source, t.checksum, t.format, t.name FROM template_store_ref r "
            "JOIN vm_template t ON t.id = r.template_id "
            "WHERE r.store_role = 'Image' AND r.destroyed = 0 AND t.removed IS NULL "
            "AND r.download_state IN ('NOT_DOWNLOADED', 'DOWNLOAD_IN_PROGRESS')"
        )

    def _download(self, row: Row) -> None:
        # The lock is held for as long as the download runs, so when a server dies, a second one begins it again.
        try:
            with self._server.cloud.lock(f"template.download.{row['id']}", 0) as got:
                if not got:
                    return
                current = self._server.cloud.value("SELECT download_state FROM template_store_ref WHERE id = %s", row["id"])
                if current in ("NOT_DOWNLOADED", "DOWNLOAD_IN_PROGRESS"):
                    self._fetch(row)
        except pymysql.MySQLError as failure:
            log.error("DB Exception while downloading template %s: %s", row["name"], failure.args[-1])
        finally:
            self._server.cloud.close()

    def _fetch(self, row: Row) -> None:
        log.info("Downloading template %s from %s", row["name"], row["source"])
        self._note(row, download_state="DOWNLOAD_IN_PROGRESS", download_pct=0, error_str=None)
        try:
            size = self._read(row)
        except DownloadFailed as failure:
            log.error("Failed to download template %s: %s", row["name"], failure)
            self._note(row, download_state="DOWNLOAD_ERROR", error_str=str(failure)[:255], state="Failed")
            alerts.raise_alert(self._server, alerts.TEMPLATE, f"Failed to register template: {row['name']} with error: {failure}")
            return
        path = f"template/tmpl/{row['template_id']}/{uuid.uuid4()}.{row['format'].lower()}"
        self._note(
            row,
            download_state="DOWNLOADED",
            download_pct=100,
            state="Ready",
            size=size,
            physical_size=size,
            install_path=path,
            error_str=None,
        )
        self._server.cloud.update("vm_template", row["template_id"], size=size)
        alerts.add_usage(
            self._server, "TEMPLATE.CREATE", account_id=2, zone_id=0, resource_id=row["template_id"], resource_name=row["name"], size=size
        )
        log.info("Template %s is ready, %d bytes", row["name"], size)

    def _read(self, row: Row) -> int:
        settings = self._server.settings
        if settings.template_download_fails:
            raise DownloadFailed(settings.template_download_fails)
        wanted = (row["checksum"] or "").strip()
        algorithm, expected = parse_checksum(wanted)
        digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
        size = 0
        for chunk, total in self._chunks(row["source"]):
            size += len(chunk)
            if digest is not None:
                digest.update(chunk)
            self._progress(row, size, total)
        if digest is not None and digest.hexdigest().lower() != expected.lower():
            raise DownloadFailed(f'Failed post download script: checksum "{wanted}" didn\'t match the given value')
        return size

    def _chunks(self, url: str) -> Iterator[tuple[bytes, int]]:
        limit = self._server.settings.template_bytes_per_second
        # Bytes come from inside the cloud's own networks; a proxy of the machine must not come between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=CONNECT_SECONDS) as response:
                total = int(response.headers.get("Content-Length") or 0)
                while chunk := response.read(CHUNK):
                    yield chunk, total
                    if limit:
                        time.sleep(len(chunk) / limit)
        except urllib.error.HTTPError as failure:
            raise DownloadFailed(f"HTTP Server returned {failure.code} (expected 200 OK) ") from failure
        except (OSError, ValueError, http.client.HTTPException) as failure:
            reason = getattr(failure, "reason", failure)
            raise DownloadFailed(getattr(reason, "strerror", None) or str(reason)) from failure

    def _progress(self, row: Row, size: int, total: int) -> None:
        now = time.monotonic()
        if total and now - row.setdefault("noted", 0.0) >= PROGRESS_SECONDS:
            row["noted"] = now
            self._note(row, download_pct=min(99, size * 100 // total))

    def _note(self, row: Row, **values: object) -> None:
        self._server.cloud.update("template_store_ref", row["id"], last_updated=utcnow(), updated=utcnow(), **values)


def parse_checksum(text: str) -> tuple[str, str]:
    """Read {ALGORITHM}digest, or a bare digest whose length says the algorithm."""
    if text.startswith("{") and "}" in text:
        name, _, digest = text[1:].partition("}")
        return name.lower().replace("-", ""), digest
    return DIGESTS.get(len(text), ""), text
