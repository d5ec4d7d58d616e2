"""Router waves: in which order networks get new routers after the switch, when, how many, and what users may do until then."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationInfo, field_validator, model_validator

from parallel_build.configuration.values import STORED, Duration, Model

SPAN = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)$")
DAYS_AHEAD = 8  # a span of every day is found within them, whatever the clock changes


class Hours(Model):
    """When networks may be restarted.

    Attributes:
        time_zone: of the spans, such as `Europe/Zurich`.
        spans: of every day, each `HH:MM-HH:MM`; a night is two of them, `22:00-24:00` and `00:00-05:00`.
    """

    time_zone: str | None = None
    spans: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Hours:
        if not self.spans:
            raise ValueError(
                "spans: missing, so no network would ever be restarted; write such as ['22:00-24:00', '00:00-05:00'], or leave hours out"
            )
        if self.time_zone is None:
            raise ValueError(
                "timeZone: missing, and 22:00 is another moment in each zone; name the one that is meant, such as Europe/Zurich"
            )
        for span in self.spans:
            if not SPAN.fullmatch(span):
                raise ValueError(f"spans: {span!r} is not a span of a day; write it as '22:00-24:00'")
            begin, _, end = span.partition("-")
            if not begin < end:
                raise ValueError(
                    f"spans: {span} ends before it begins, and a span ends on the day it begins on; write a night as two: '{begin}-24:00', '00:00-{end}'"
                )
        if info.context != STORED:
            self.zone()
        return self

    def zone(self) -> ZoneInfo:
        """The time zone.

        Raises:
            ValueError: this machine knows none of that name.
        """
        try:
            return ZoneInfo(str(self.time_zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"timeZone: {self.time_zone!r} is not a zone that this machine knows; write such as Europe/Zurich, or UTC"
            ) from None

    def open_at(self, moment: datetime) -> bool:
        """Whether a moment lies within a span."""
        here = moment.astimezone(self.zone())
        text = f"{here:%H:%M}"
        return any(begin <= text < end for begin, _, end in (span.partition("-") for span in self.spans))

    def next_opening(self, moment: datetime) -> datetime:
        """The first moment from `moment` on that lies within a span.

        On the day on which clocks are put forward an hour of it, and a span within that hour, is not there: moments are compared, and not what clocks show.
        """
        if self.open_at(moment):
            return moment
        zone = self.zone()
        here = moment.astimezone(zone)
        begins = [
            datetime.combine(here.date() + timedelta(days=days), time.fromisoformat(span.partition("-")[0]), zone).astimezone(UTC)
            for days in range(DAYS_AHEAD)
            for span in self.spans
        ]
        return min(begin for begin in begins if begin > moment and self.open_at(begin)).astimezone(zone)


class Wave(Model):
    """Networks that are restarted together: those of a zone, a domain, an account, or a list.

    Attributes:
        zone: name of a zone.
        domain: path of a domain as CloudStack shows it, such as `ROOT/customers`; its subdomains belong to it.
        account: name of an account; `domain` may stand next to it, since accounts of one name may be in several.
        networks: names or ids of networks and VPCs.
    """

    zone: str | None = None
    domain: str | None = None
    account: str | None = None
    networks: list[str] | None = None

    @model_validator(mode="after")
    def _one(self) -> Wave:
        named = [name for name in ("zone", "account", "networks") if getattr(self, name) is not None]
        if self.domain is not None and "account" not in named:
            named.append("domain")
        if len(named) != 1:
            raise ValueError(
                "a wave is the networks of one thing: name one of zone, domain, account (with its domain, where needed) and networks"
            )
        if self.networks is not None and not self.networks:
            raise ValueError("networks: an empty list is no wave; name networks or VPCs, or leave the wave out")
        return self

    @property
    def title(self) -> str:
        """For people."""
        if self.networks is not None:
            return f"{len(self.networks)} listed networks"
        if self.account is not None:
            return f"account {self.account}" + (f" of {self.domain}" if self.domain else "")
        return f"zone {self.zone}" if self.zone is not None else f"domain {self.domain}"


class Routers(Model):
    """Router waves.

    Attributes:
        renew: `restart` gives a network new routers; `livePatch` renews the scripts of those that run, which stay on their template.
        canary: networks that come first, alone; if one of them fails nothing else is begun.
        waves: the order; what no wave names comes last, zone by zone.
        wave_size: a larger wave is split; None for no limit.
        failure_rate: part of a wave that may fail (one network always may, unless it is 0); beyond it the wave stops, and those behind it.
        tries: how often a network is tried before it is listed as failed.
        hours: when networks may be restarted; None for always.
        with_up: how long `pulumi up` continues with the waves; `parallel-build routers` does the rest.
        until_renewed: what users may do in a network before its wave: `first` (networks with refused calls come first), `allow` (CloudStack's check
            of the router's release is lowered meanwhile), `wait` (users in after the waves).
        accepted: names or ids of networks and VPCs that may keep their router when the stack is retired.
    """

    renew: Literal["restart", "livePatch"] = "restart"
    canary: int = Field(default=1, ge=0, le=1000)
    waves: list[Wave] = Field(default_factory=list)
    wave_size: int | None = Field(default=None, ge=1)
    failure_rate: float = 0.1
    tries: int = Field(default=2, ge=1, le=10)
    hours: Hours | None = None
    with_up: Duration = timedelta(minutes=30)
    until_renewed: Literal["first", "allow", "wait"] = "first"
    accepted: list[str] = Field(default_factory=list)

    @field_validator("failure_rate", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"{value!r} is not a part of a wave; write a number from 0 (the first failure stops it) to 1 (nothing does)")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Routers:
        first = self.waves[0].networks if self.waves else None
        for size, what in ((self.wave_size, "routers.waveSize"), (len(first) if first else None, "the first wave's list")):
            if size is not None and self.canary > size:
                raise ValueError(
                    f"canary: {self.canary} networks are more than {what}, {size}, so the canary would be no trial; make it smaller"
                )
        if self.until_renewed == "wait" and self.hours is not None:
            raise ValueError(
                "untilRenewed: with wait users are out until the last wave, and hours would keep them out until they come; leave out one of them"
            )
        return self
