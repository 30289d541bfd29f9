"""Who may talk to the viewer: whoever has its token, from its own page, in small messages, and not too often.

A page of another site can make a browser send requests here. Such a request lacks the token, which is in no cookie; it
names another origin; and if its site's name was turned to this machine (DNS rebinding), it names another host.
"""

import ipaddress
import secrets
import time
from collections import OrderedDict

TOKEN_HEADER = "x-viewer-token"
MOST_BYTES = 1 << 17  # of a request's body; a path of 3,600 cameras fits
MOST_CLIENTS = 64
PER_SECOND, AT_ONCE = 250, 60  # requests of one client: more than a display shows, and a short burst
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Refused(Exception):
    """A request that is not served: the status code, and one line that says why."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Guard:
    """Looks at requests before anything else does.

    Args:
        token: what the address must hold.
        host: the address that the server listens at. If it is every one (0.0.0.0, ::), every number will do as a host,
            because a name could be a hostile site's.
    """

    def __init__(self, token: str, host: str = "127.0.0.1"):
        self.token, self.hosts = token, LOCAL | {host.lower()}
        self.any_number = host in ("0.0.0.0", "::")
        self.clock = time.monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check_place(self, headers) -> None:
        """Host, Origin and what browsers say of a request's site. Raises Refused."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            raise Refused(403, "this viewer is not at that host")
        for origin in headers.getlist("origin"):
            if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
                raise Refused(403, "another page asks; the viewer answers its own only")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "another site asks; the viewer answers its own page only")

    def check_token(self, token: str | None) -> None:
        """Raises Refused; takes the same time for every wrong token."""
        if not secrets.compare_digest((token or "").encode(), self.token.encode()):
            raise Refused(403, "the token is missing or wrong; open the address that eg3d/viewer.py has printed")

    def check_rate(self, client: str) -> None:
        """Counts a request of a client. Raises Refused if it sends too many, or if too many clients do."""
        now = self.clock()
        left, then = self._buckets.pop(client, (float(AT_ONCE), now))
        left = min(AT_ONCE, left + (now - then) * PER_SECOND)
        if len(self._buckets) >= MOST_CLIENTS:
            oldest, (_, seen) = next(iter(self._buckets.items()))
            if now - seen < 60:
                raise Refused(429, f"{MOST_CLIENTS} pages are open already; close one")
            del self._buckets[oldest]
        self._buckets[client] = max(left - 1, 0.0), now
        if left < 1:
            raise Refused(429, "too many requests; wait a moment")

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name in self.hosts or (self.any_number and _is_number(name))


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def body_of(request, most: int = MOST_BYTES) -> bytes:
    """The body of a request. Raises Refused once it is larger than `most`, without reading on."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, f"the message is larger than {most} bytes")
        parts.append(part)
    return b"".join(parts)
