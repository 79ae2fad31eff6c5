"""Where a request comes from. What it says of that itself counts only behind a proxy that the settings name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from es_goals.settings import Network

LONGEST = 45
"""Characters of an address as text."""

Address = IPv4Address | IPv6Address


def locator(proxies: Iterable[Network]) -> Callable[[Mapping[str, Any], Mapping[str, str]], tuple[str, bool]]:
    """Returns the function that tells, from an ASGI scope and its headers by lower-case name, the client's address
    and whether it came through TLS. Gunicorn itself is told to look at no such header."""
    networks = tuple(proxies)

    @lru_cache
    def is_proxy(text: str) -> bool:
        address = parsed(text)
        return address is not None and any(address in network for network in networks)

    def direct(scope: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, bool]:
        del headers
        return _peer(scope), False

    def behind_proxies(scope: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, bool]:
        peer = _peer(scope)
        if not is_proxy(peer):
            return peer, False
        address = peer
        for text in _hops(headers.get("x-forwarded-for", "")):
            hop = parsed(text)
            if hop is None:
                break  # what stands further left came through somebody who writes what is no address
            address = str(hop)
            if not is_proxy(address):
                break
        return address, headers.get("x-forwarded-proto", "").strip().lower() == "https"

    return behind_proxies if networks else direct


def parsed(text: str) -> Address | None:
    """An address, an IPv4 one in IPv6 as the former; None where it is none, or has a zone, which is free text."""
    if len(text) > LONGEST or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(4096)
def address_key(text: str) -> str:
    """What stands for an address where it is counted: an IPv6 one's /64 network, which is what one customer has."""
    address = parsed(text)
    return str(IPv6Network((int(address), 64), strict=False)) if isinstance(address, IPv6Address) else text


def _peer(scope: Mapping[str, Any]) -> str:
    # A client that is gone before it was taken has no address any more.
    client = scope.get("client")
    return client[0] if client else ""


def _hops(forwarded: str) -> Iterator[str]:
    while forwarded:
        forwarded, _, last = forwarded.rpartition(",")
        yield last.strip()
