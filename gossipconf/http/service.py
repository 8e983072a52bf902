"""What `agent run` adds to an agent whose settings name an HTTP endpoint. Loads the server, an extra, only then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..model.errors import ConfigError
from ..runtime.settings import AgentSettings

if TYPE_CHECKING:
    from ..runtime.agent import Agent, Service


def services(settings: AgentSettings) -> Sequence[Callable[[Agent], Service]]:
    """The HTTP server if ``settings`` name one, for `Agent`. Raises ConfigError where its packages are missing."""
    endpoint = settings.http
    if endpoint is None:
        return ()
    try:
        from .server import HttpServer  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"option 'http' needs the package {error.name}; install it with: pip install 'gossipconf[http]'"
        ) from None
    return (lambda agent: HttpServer(agent, endpoint),)
