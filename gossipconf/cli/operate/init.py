"""Founding a cluster: `init`. Makes the files that everything else starts from, and says what each is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ...model.errors import InvalidInput
from ...model.key import check_prefix
from ...model.limits import COMMENT_BYTES_MAX
from ...runtime.schema_set import schema_key
from ...trust.cluster import found_cluster
from ...trust.keys import Signer
from ...trust.policy import Role
from ..instant import now_ms
from ..output import say
from ..passphrase import PassphraseFileOption, new_passphrase, read_passphrase
from ..target import ADMIN_KEY, CA, CLUSTER_FILE, ROOT_KEY, public_key_of, signer_of


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
            help="A prefix that the admin key may write, and set schemas for; may be repeated. Default: all keys.",
        ),
    ] = None,
    root_key: Annotated[
        str | None,
        typer.Option(
            "--root-key", metavar="FILE|agent[:KEY]", help="A root key that is there already. Default: a new one."
        ),
    ] = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            "--admin-key",
            metavar="FILE|agent[:KEY]",
            help="An admin key that is there already; its public file will do. Default: a new one.",
        ),
    ] = None,
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help="Protect new keys with a passphrase, which is asked on the terminal."),
    ] = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Found a cluster: keys, policy, certificates.

    One root key, one admin key that may write, a first policy that says so, and
    a certificate authority for the nodes. Keys in the ssh-agent stay there.

    \b
    Examples:
      gossipconf init shop
      gossipconf init shop --name "shop production" --prefix shop --prefix shared
      gossipconf init shop --passphrase --admin-key agent:alice@laptop
    """
    from ...runtime.pki import create_ca  # noqa: PLC0415 - X.509, which the commands of every day start without

    name = directory.absolute().name if name is None else name
    if not name or len(name.encode()) > COMMENT_BYTES_MAX:
        raise InvalidInput(f"a cluster's name has 1 to {COMMENT_BYTES_MAX} bytes; choose one with --name")
    allowed = tuple(sorted({check_prefix(prefix.removesuffix("/")) for prefix in prefixes or [""]}))
    own_root, own_admin = directory / ROOT_KEY, directory / ADMIN_KEY
    root = signer_of(root_key, passphrase_file) if root_key else None
    admin = public_key_of(admin_key, passphrase_file).public if admin_key else None
    _make_empty(directory)  # before anybody types a passphrase
    shared = read_passphrase(passphrase_file) if passphrase_file and not passphrase else None
    secrets = {
        path: new_passphrase(path) if passphrase else shared
        for path, given in ((own_root, root), (own_admin, admin))
        if given is None
    }
    new_root, new_admin = Signer.generate(), Signer.generate()
    cluster = found_cluster(
        name,
        [root or new_root],
        [Role("admins", (admin or new_admin.public,), tuple(sorted({*allowed, *map(schema_key, allowed)})))],
        threshold=1,
        now_ms=now_ms(),
        salt=os.urandom(16),
    )
    own_root.parent.mkdir(mode=0o700)
    for path, made, comment in ((own_root, new_root, f"root of {name}"), (own_admin, new_admin, f"admin of {name}")):
        if path in secrets:
            made.save(path, comment, secrets[path])
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
        if (directory / path).exists():  # keys that were there already stay where they are
            say(f"  {path:<20}  {purpose}")
    say()
    say("Next, a first node and its agent:")
    say()
    say(f"  gossipconf pki node a --cluster {directory}")
    say(f"  gossipconf agent run {directory}/nodes/a")
    if not (directory / ADMIN_KEY).exists():
        say()
        say("Publish with --key (or GOSSIPCONF_KEY) and the admin key that you named.")
