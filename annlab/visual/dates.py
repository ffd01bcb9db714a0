"""When a photograph was taken, as its camera wrote it: what "date" means of an image of a folder.

A camera writes the hands of its clock (DateTimeOriginal, "2019:07:14 18:30:05") and, the newer ones, how far that is
from UTC (OffsetTimeOriginal, "+02:00"). Where it says nothing of that, the time zone of this machine is taken, which is
most often that of the owner of the photographs. Clocks that were never set say year 0, or a year to come: then the time
of the file stays.
"""

import datetime
import re

from annlab.encoders.images import exif_of

_TAKEN, _OFFSET = 0x9003, 0x9011
_CLOCK = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)")
_AHEAD = datetime.timedelta(days=1)  # a clock of another time zone may be so far ahead


def taken_at(data: bytes, now: datetime.datetime) -> datetime.datetime | None:
    """When the photograph of a file was taken, with a time zone, and not after `now`; None if the file does not say."""
    written = exif_of(data)
    clock = _CLOCK.match(str(written.get(_TAKEN, "")))
    if clock is None:
        return None
    try:
        moment = datetime.datetime(*map(int, clock.groups()))  # type: ignore[arg-type]  # six numbers
        moment = _with_zone(moment, str(written.get(_OFFSET, "")).strip("\0 "))
        return None if moment - now > _AHEAD else min(moment, now).astimezone(datetime.UTC)
    except (ValueError, OverflowError, OSError):  # a thirteenth month, or a year that no clock of a machine knows
        return None


def _with_zone(moment: datetime.datetime, offset: str) -> datetime.datetime:
    try:
        return moment.replace(tzinfo=datetime.datetime.strptime(offset, "%z").tzinfo)
    except ValueError:
        return moment.astimezone()
