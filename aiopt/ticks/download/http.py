"""One GET over HTTP that ends in time and never takes a part for the whole.

Owns time-outs, proxies, length checks and the sorting of failures into those worth a retry and those not.
Knows nothing of ticks, and does not retry.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import ssl
import time
import urllib.request
import zlib
from dataclasses import dataclass
from threading import Event
from urllib.parse import urlsplit

import httpx

import aiopt
from aiopt.errors import AioptError, ConfigError

MAX_BODY_BYTES = 64 * 1024 * 1024
"""An hour is some 100 kB; a larger answer than this is none."""

MAX_REDIRECTS = 10

# Besides 5xx: time-out, too early, too many requests.
_RETRY_CODES = {408, 425, 429}
_ABSENT_CODES = {404, 410}
_REDIRECT_CODES = {301, 302, 303, 307, 308}


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

    Each request has a connection of its own: nothing stays open between two, so there is nothing to close.

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
                raise ConfigError(f"{name} must be above 0 and finite, but is {value}. Change it.")
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._stop = stop or Event()
        # The system's certificates, not httpx's own: a company's proxy may sign with one of its own.
        self._tls = ssl.create_default_context()
        self._from_environment = proxy is None
        self._direct = self._client(None)
        self._proxied = {scheme: self._client(address) for scheme, address in _proxies(proxy).items()}

    def get(self, url: str) -> Body:
        """Return the answer to one GET, whole.

        Raises
        ------
        FeedError
            For any other status than 200, a time-out, a lost connection, or a body shorter than announced.
        """
        end = time.monotonic() + self._deadline_s
        try:
            target, code = httpx.URL(url), 0
            for _ in range(MAX_REDIRECTS + 1):
                with self._client_of(target).stream("GET", target) as response:
                    following = _redirect(response, url)
                    if following is None:
                        _check_status(response, url)
                        return _decoded(self._read(response, end, url), response, url)
                    target, code = following, response.status_code
        except httpx.TimeoutException as failure:
            raise FeedError(f"{url}: no answer within {self._timeout_s:g} s", retry=True) from failure
        except httpx.HTTPError as failure:
            raise FeedError(f"{url}: {_cause_text(failure)}", retry=True) from failure
        except httpx.InvalidURL as failure:
            raise FeedError(f"{url}: the address is not valid ({failure})", retry=False) from failure
        text = f"{url}: status {code}, and still no answer after {MAX_REDIRECTS} redirects"
        raise FeedError(text, retry=False)

    def _client(self, proxy: str | None) -> httpx.Client:
        return httpx.Client(
            headers={
                "User-Agent": f"aiopt/{aiopt.__version__}",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            verify=self._tls,
            proxy=proxy,
            trust_env=False,
        )

    def _client_of(self, url: httpx.URL) -> httpx.Client:
        """Return the client with the proxy of an address, or with none."""
        port = f":{url.port}" if url.port else ""
        if self._from_environment and urllib.request.proxy_bypass(f"{url.host}{port}"):
            return self._direct
        return self._proxied.get(url.scheme, self._direct)

    def _read(self, response: httpx.Response, end: float, url: str) -> bytes:
        """Read to the end, piece by piece, so that the deadline also holds against one byte a second."""
        pieces: list[bytes] = []
        size = 0
        wanted = response.headers.get("Content-Length", "")
        try:
            # Raw: httpx would unpack gzip without a limit.
            for piece in response.iter_raw():
                pieces.append(piece)
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    text = f"{url}: the answer has more than {MAX_BODY_BYTES} bytes, too many for an hour"
                    raise FeedError(text, retry=False)
                if self._stop.is_set():
                    raise FeedError(f"{url}: interrupted", retry=False)
                if time.monotonic() > end:
                    text = f"{url}: too slow, {size} bytes in {self._deadline_s:g} s"
                    raise FeedError(text, retry=True)
        except httpx.RemoteProtocolError as failure:
            if not wanted.isdigit() or size >= int(wanted):
                raise
            raise FeedError(f"{url}: cut off after {size} of {wanted} bytes", retry=True) from failure
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


def _redirect(response: httpx.Response, url: str) -> httpx.URL | None:
    """Return where an answer sends us, None if nowhere.  It may not leave HTTP, nor the encryption."""
    location = response.headers.get("Location")
    if response.status_code not in _REDIRECT_CODES or not location:
        return None
    target = response.url.join(location)
    if target.scheme not in ({"https"} if response.url.scheme == "https" else {"http", "https"}):
        raise FeedError(f"{url}: sends us on to {target}, which is not followed", retry=False)
    return target


def _check_status(response: httpx.Response, url: str) -> None:
    """Refuse an answer that is not 200, and say whether asking again may help."""
    code = response.status_code
    if code == 200:
        return
    if code < 300:
        raise FeedError(f"{url}: status {code} instead of 200", retry=False)
    wait_s = parse_retry_after(response.headers.get("Retry-After"))
    asked = f", asks to wait {wait_s:g} s" if wait_s else ""
    raise FeedError(
        f"{url}: status {code} {response.reason_phrase}{asked}",
        retry=code >= 500 or code in _RETRY_CODES,
        retry_after_s=wait_s,
        absent=code in _ABSENT_CODES,
    )


def _decoded(data: bytes, response: httpx.Response, url: str) -> Body:
    chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    known = response.headers.get("Content-Length", "").isdigit() or chunked
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding == "gzip":
        return Body(_gunzip(data, url), known)
    if coding not in {"identity", ""}:
        raise FeedError(f"{url}: the answer is packed as {coding!r}, which was not asked for", retry=False)
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
        text = f"{url}: the gzip holds more than {MAX_BODY_BYTES} bytes, too many for an hour"
        raise FeedError(text, retry=False)
    if not decoder.eof or decoder.unused_data:
        raise FeedError(f"{url}: broken gzip (cut off, or followed by something else)", retry=True)
    return found


def _cause_text(failure: BaseException) -> str:
    """Return the innermost reason: ``ConnectionRefusedError: …`` says more than ``ConnectError``."""
    cause = failure
    while not isinstance(cause, OSError) and (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    found = cause if isinstance(cause, OSError) else failure
    return f"{type(found).__name__}: {found}"


def _proxies(proxy: str | None) -> dict[str, str]:
    """Return the proxy of each scheme."""
    if proxy is None:
        found = urllib.request.getproxies()
        # ``HTTPS_PROXY=host:3128`` is common.
        return {
            scheme: _proxy_address(address if "://" in address else f"http://{address}")
            for scheme, address in found.items()
            if scheme in {"http", "https"} and address
        }
    if not proxy:
        return {}
    return dict.fromkeys(("http", "https"), _proxy_address(proxy))


def _proxy_address(proxy: str) -> str:
    parts = urlsplit(proxy)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"A proxy must be http://host:port, but got {proxy!r}. Mend it.")
    return proxy
