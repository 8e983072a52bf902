"""A stranger: a caller without a certificate of the cluster, to see that an agent turns it away.

Knows TLS and nothing else.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

from ...runtime.pki import ALPN

LIMIT_S: Final = 5.0


def is_turned_away(host: str, port: int) -> bool:
    """Whether whoever listens there speaks TLS 1.3 and wants a certificate that we do not have. Blocks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is the agent's check that is looked at, not ours
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    try:
        with (
            socket.create_connection((host, port), timeout=LIMIT_S) as plain,
            context.wrap_socket(plain) as secured,
        ):
            # Under TLS 1.3 the caller is done before the other side has looked at its certificate.
            secured.recv(1)
    except ssl.SSLError as error:
        return "CERTIFICATE_REQUIRED" in (error.reason or "")
    except OSError:
        return False
    return False
