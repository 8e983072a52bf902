"""Founding a cluster: `init`. Makes the files that everything else starts from, and says what each is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..model.errors import InvalidInput
from ..model.key import check_prefix
from ..model.limits import COMMENT_BYTES_MAX
from ..trust.cluster import found_cluster
from ..trust.keys import Signer
from ..trust.policy import Role
from .output import say
from .session import now_ms
from .target import ADMIN_KEY, CA, CLUSTER_FILE, ROOT_KEY


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The cluster's name. Default: the directory's.")
    ] = None,
    prefixes: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="PREFIX",
            help="A prefix that the admin key may write; may be repeated. Default: all keys.",
        ),
    ] = None,
) -> None:
    """Found a cluster: keys, policy, certificates.

    One root key, one admin key that may write, a first policy that says so, and
    a certificate authority for the nodes.

    \b
    Examples:
      gossipconf init shop
      gossipconf init shop --name "shop production" --prefix shop --prefix shared
    """
    from ..runtime.pki import create_ca  # noqa: PLC0415 - X.509, which the commands of every day start without

    name = directory.absolute().name if name is None else name
    if not name or len(name.encode()) > COMMENT_BYTES_MAX:
        raise InvalidInput(f"a cluster's name has 1 to {COMMENT_BYTES_MAX} bytes; choose one with --name")
    allowed = tuple(sorted({check_prefix(prefix.removesuffix("/")) for prefix in prefixes or [""]}))
    _make_empty(directory)
    root, admin = Signer.generate(), Signer.generate()
    cluster = found_cluster(
        name,
        [root],
        [Role("admins", (admin.public,), allowed)],
        threshold=1,
        now_ms=now_ms(),
        salt=os.urandom(16),
    )
    (directory / ROOT_KEY).parent.mkdir(mode=0o700)
    root.save(directory / ROOT_KEY, f"root of {name}")
    admin.save(directory / ADMIN_KEY, f"admin of {name}")
    create_ca(directory / CA, cluster.genesis.cluster_id)
    cluster.save(directory / CLUSTER_FILE)
    _explain(directory, name, cluster.genesis.cluster_id)


def _make_empty(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        is_empty = not any(directory.iterdir())
    except OSError as error:
        raise InvalidInput(f"{directory} cannot be made: {error.strerror}") from None
    if not is_empty:
        raise InvalidInput(f"{directory} is not empty; choose a new directory, so that nothing is overwritten")


def _explain(directory: Path, name: str, cluster_id: bytes) -> None:
    say(f"Cluster {name!r} is founded in {directory} (id {cluster_id.hex()[:16]}…).")
    say()
    for path, purpose in (
        (CLUSTER_FILE, "public: what every agent and every admin verifies by"),
        (str(ROOT_KEY), "SECRET: changes the policy and nothing else; keep it offline"),
        (str(ADMIN_KEY), "SECRET: signs configuration; stays with the admins"),
        (str(CA / "ca.key"), "SECRET: issues node certificates; keep it off the nodes"),
        (str(CA / "ca.crt"), "public: by which nodes know each other"),
    ):
        say(f"  {path:<20}  {purpose}")
    say()
    say("Next, a first node and its agent:")
    say()
    say(f"  gossipconf pki node a --cluster {directory}")
    say(f"  gossipconf agent run {directory}/nodes/a")
