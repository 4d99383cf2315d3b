"""One GET over HTTP that ends in time and never takes a part for the whole.

Owns time-outs, proxies, length checks and the sorting of failures into those worth a retry and those not.
Knows nothing of ticks, and does not retry.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import http.client
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import aiopt
from aiopt.errors import AioptError, ConfigError

MAX_BODY_BYTES = 64 * 1024 * 1024
"""An hour is some 100 kB; a larger answer than this is none."""

_CHUNK = 64 * 1024
# Besides 5xx: time-out, too early, too many requests.
_RETRY_CODES = {408, 425, 429}
_ABSENT_CODES = {404, 410}


class FeedError(AioptError):
    """A request without a whole, believable answer.

    Parameters
    ----------
    message : str
        What happened.
    retry : bool
        True if the same request may succeed later.
    retry_after_s : float
        What the server asked to wait, 0 if nothing.
    absent : bool
        True if the server is there and says that it has no such file.
    """

    def __init__(
        self, message: str, *, retry: bool, retry_after_s: float = 0.0, absent: bool = False
    ) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.absent = absent


@dataclass(frozen=True, slots=True)
class Body:
    """A whole answer.  `length_known` is False if only the end of the connection ended it."""

    data: bytes
    length_known: bool


class HttpClient:
    """GET requests with one set of time-outs and one proxy; usable from many threads.

    Parameters
    ----------
    timeout_s : float
        Longest silence of the server: connecting, or between two pieces of the answer.
    deadline_s : float
        Longest whole answer: a server that drips bytes is cut off here.
    proxy : str, optional
        ``http://[user:password@]host:port`` for all requests; ``""`` for none; None for what the environment
        says (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``).
    stop : threading.Event, optional
        Set to give up answers that are being read.

    Raises
    ------
    ConfigError
        If a time is not positive or the proxy is no address.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 20.0,
        deadline_s: float = 60.0,
        proxy: str | None = None,
        stop: Event | None = None,
    ) -> None:
        for name, value in (("timeout_s", timeout_s), ("deadline_s", deadline_s)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"`{name} > 0` must hold, but got {name}={value}. Raise it.")
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._stop = stop or Event()
        self._opener = urllib.request.build_opener(_proxies(proxy), _Redirects())
        self._opener.addheaders = [("User-Agent", f"aiopt/{aiopt.__version__}"), ("Accept", "*/*")]

    def get(self, url: str) -> Body:
        """Return the answer to one GET, whole.

        Raises
        ------
        FeedError
            For any other status than 200, a time-out, a lost connection, or a body shorter than announced.
        """
        end = time.monotonic() + self._deadline_s
        try:
            with self._opener.open(url, timeout=self._timeout_s) as response:
                if response.status != 200:
                    raise FeedError(f"{url}: status {response.status} is no answer", retry=False)
                return _decoded(self._read(response, end, url), response, url)
        except urllib.error.HTTPError as failure:
            with failure:
                raise _refused(failure, url) from failure
        except (OSError, http.client.HTTPException) as failure:
            reason = failure.reason if isinstance(failure, urllib.error.URLError) else failure
            if isinstance(reason, TimeoutError):
                text = f"{url}: no answer within {self._timeout_s:g} s"
            else:
                text = f"{url}: {type(reason).__name__}: {reason}"
            raise FeedError(text, retry=True) from failure

    def _read(self, response: http.client.HTTPResponse, end: float, url: str) -> bytes:
        """Read to the end, piece by piece, so that the deadline also holds against one byte a second."""
        pieces: list[bytes] = []
        size = 0
        while True:
            piece = response.read1(_CHUNK)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise FeedError(f"{url}: more than {MAX_BODY_BYTES} bytes are no hour of ticks", retry=False)
            if self._stop.is_set():
                raise FeedError(f"{url}: interrupted", retry=False)
            if time.monotonic() > end:
                text = f"{url}: {size} bytes in {self._deadline_s:g} s, too slow"
                raise FeedError(text, retry=True)
        wanted = response.headers.get("Content-Length", "")
        # http.client returns a short body without a word when it is read in pieces.
        if wanted.isdigit() and int(wanted) != size:
            raise FeedError(f"{url}: {size} bytes of {wanted}, truncated", retry=True)
        return b"".join(pieces)


def parse_retry_after(text: str | None, *, now: dt.datetime | None = None) -> float:
    """Return seconds of a Retry-After header: a number, or a date of HTTP; 0 if absent or neither.

    Examples
    --------
    >>> parse_retry_after("120")
    120.0
    >>> parse_retry_after("soon")
    0.0
    """
    if not text:
        return 0.0
    if text.strip().isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max((moment - (now or dt.datetime.now(dt.UTC))).total_seconds(), 0.0)


def _decoded(data: bytes, response: http.client.HTTPResponse, url: str) -> Body:
    known = response.headers.get("Content-Length", "").isdigit() or bool(getattr(response, "chunked", False))
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding == "gzip":
        return Body(_gunzip(data, url), known)
    if coding not in {"identity", ""}:
        raise FeedError(f"{url}: content encoding {coding!r} was not asked for", retry=False)
    return Body(data, known)


def _gunzip(data: bytes, url: str) -> bytes:
    """Return a gzip body, whole, and never more than `MAX_BODY_BYTES` of it."""
    # 16: expect a gzip header and check its CRC and length at the end.
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        found = decoder.decompress(data, MAX_BODY_BYTES)
    except zlib.error as failure:
        raise FeedError(f"{url}: broken gzip ({failure})", retry=True) from failure
    if decoder.unconsumed_tail:
        text = f"{url}: gzip of more than {MAX_BODY_BYTES} bytes is no hour of ticks"
        raise FeedError(text, retry=False)
    if not decoder.eof or decoder.unused_data:
        raise FeedError(f"{url}: broken gzip (truncated, or followed by something else)", retry=True)
    return found


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects from http to http or https and from https to https alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse a redirect that leaves HTTP, or the encryption."""
        if urlsplit(newurl).scheme not in ({"https"} if req.type == "https" else {"http", "https"}):
            text = f"{req.full_url}: a redirect to {newurl} is not followed"
            raise FeedError(text, retry=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refused(failure: urllib.error.HTTPError, url: str) -> FeedError:
    wait_s = parse_retry_after(failure.headers.get("Retry-After"))
    retry = failure.code >= 500 or failure.code in _RETRY_CODES
    asked = f", asks to wait {wait_s:g} s" if wait_s else ""
    return FeedError(
        f"{url}: status {failure.code} {failure.reason}{asked}",
        retry=retry,
        retry_after_s=wait_s,
        absent=failure.code in _ABSENT_CODES,
    )


def _proxies(proxy: str | None) -> urllib.request.ProxyHandler:
    if proxy is None:
        return urllib.request.ProxyHandler()
    if not proxy:
        return urllib.request.ProxyHandler({})
    parts = urlsplit(proxy)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"A proxy must be http://host:port, but got {proxy!r}. Mend it.")
    return urllib.request.ProxyHandler({"http": proxy, "https": proxy})
