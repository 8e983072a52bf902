"""Discovery: which addresses a seed's name stands for, by the system's resolver and by SRV records.

Knows sockets' and DNS's look-ups and how long they may take; knows nothing of when to
look up, of what becomes of a result, or of links.

A name `host:port` is looked up as any program does it, so that `/etc/hosts` and search
domains hold; SRV records, which no such call gives, are asked of the name servers in
`/etc/resolv.conf` by dnspython, which is an extra and is imported only if it is needed.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from ..model.errors import ConfigError, DiscoveryError
from .address import SRV_PREFIX, format_address, parse_address

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.rdtypes.IN.SRV import SRV

RESOLVE_LIMIT_S: Final = 10.0
"""Time for one name in all: the usual two tries of 5 s at one name server. What takes longer comes again anyway."""
THREADS_MAX: Final = 4
"""Calls of the system's resolver at a time. None can be broken off: one that hangs keeps its thread to its end, and
must not keep one that the journal waits for."""
TARGETS_MAX: Final = 64
"""Of the hosts in SRV records those of the best priority, as many as a node uses of one name."""
ADDRESS_RECORDS: Final = ("A", "AAAA")

LookUp: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the addresses that a seed's name stands for, within bounded time, or raises DiscoveryError."""


def check_extra(seeds: Iterable[str]) -> None:
    """Raise ConfigError, naming the extra, if one of ``seeds`` needs dnspython and it is not there."""
    needy = [seed for seed in seeds if seed.startswith(SRV_PREFIX)]
    if needy:
        try:
            import dns.asyncresolver  # noqa: F401, PLC0415 - an extra
            from dns.asyncbackend import get_backend  # noqa: PLC0415

            get_backend("trio")
        except ImportError:
            raise ConfigError(
                f"option 'join': {needy[0]} needs dnspython; install it with: pip install 'gossipconf[srv]'"
            ) from None


def system_resolver() -> Resolver:
    """A resolver that asks the name servers of this machine, as they are set now.

    Raises dns.exception.DNSException where none is set.
    """
    from dns.asyncresolver import Resolver  # noqa: PLC0415 - an extra

    return Resolver()


class Discovery:
    """Looks names up.

    ``make_resolver`` gives the resolver for one name's SRV records; ``getaddrinfo`` is called in a thread.
    """

    def __init__(
        self,
        *,
        make_resolver: Callable[[], Resolver] = system_resolver,
        getaddrinfo: Callable[..., Sequence[tuple[Any, ...]]] = socket.getaddrinfo,
    ) -> None:
        self._make_resolver = make_resolver
        self._getaddrinfo = getaddrinfo
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    async def look_up(self, name: str) -> Sequence[str]:
        """All addresses of ``name``, which is `host:port` or `srv:NAME`. Raises DiscoveryError with the reason."""
        with trio.move_on_after(RESOLVE_LIMIT_S):
            if name.startswith(SRV_PREFIX):
                return await self._services(name.removeprefix(SRV_PREFIX))
            return await self._hosts(*parse_address(name))
        raise DiscoveryError(f"no answer within {RESOLVE_LIMIT_S:g} s")

    async def _hosts(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await trio.to_thread.run_sync(
                lambda: self._getaddrinfo(host, port, type=socket.SOCK_STREAM),
                abandon_on_cancel=True,
                limiter=self._threads,
            )
        except (OSError, UnicodeError) as error:
            raise DiscoveryError(getattr(error, "strerror", None) or str(error)) from error
        return _distinct(format_address(address[0], address[1]) for *_, address in found)

    async def _services(self, name: str) -> Sequence[str]:
        from dns.asyncbackend import get_backend  # noqa: PLC0415 - an extra
        from dns.exception import DNSException  # noqa: PLC0415

        backend = get_backend("trio")
        try:
            resolver = self._make_resolver()
            # Search domains hold as for any other name. The hosts in the records are whole names.
            answer = await resolver.resolve(name, "SRV", search=True, lifetime=RESOLVE_LIMIT_S, backend=backend)
        except (DNSException, OSError) as error:
            raise DiscoveryError(str(error)) from error
        services = _services_of(answer)
        addresses: dict[tuple[str, str], list[str]] = {}
        failures: list[str] = []

        async def look_up(host: str, kind: str) -> None:
            try:
                records = await resolver.resolve(
                    host, kind, raise_on_no_answer=False, lifetime=RESOLVE_LIMIT_S, backend=backend
                )
                addresses[host, kind] = [record.address for record in records]
            except (DNSException, OSError) as error:
                failures.append(str(error))  # one kind or host may fail, the others count

        async with trio.open_nursery() as nursery:
            for host in _distinct(host for host, _ in services):
                for kind in ADDRESS_RECORDS:
                    nursery.start_soon(look_up, host, kind)
        found = _distinct(
            format_address(address, port)
            for host, port in services
            for kind in ADDRESS_RECORDS
            for address in addresses.get((host, kind), ())
        )
        if failures and not found:
            raise DiscoveryError(min(failures))  # whichever comes first: the same words each time
        return found


def _services_of(records: Iterable[SRV]) -> list[tuple[str, int]]:
    """Hosts and ports, those of the best priority first; the target `.` says that there is no such service."""
    ranked = sorted((record.priority, record.target.to_text(), record.port) for record in records)
    return [(host, port) for _, host, port in ranked if host != "." and port][:TARGETS_MAX]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
