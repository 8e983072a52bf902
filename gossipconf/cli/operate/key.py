"""Keys of admins: `key new`, `key show` and `key import`.

Shows public parts only. Which file or ssh-agent a command signs with is ``target``'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...model.errors import InvalidInput, KeyFileError
from ...model.limits import COMMENT_BYTES_MAX
from ...trust.keys import PublicKey, Signer, fingerprint, public_line
from ..output import escaped, print_json, say
from ..passphrase import NewPassphraseOption, PassphraseFileOption, new_secret, open_key
from ..ssh_agent import SshAgent, choice_of
from ..target import JsonOption, public_key_of

app = typer.Typer(help="Make, show and convert the keys that sign.", no_args_is_help=True)

CommentOption = Annotated[
    str, typer.Option("--comment", metavar="TEXT", help="Whose key it is; stands in the public file.")
]


@app.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The new file; its public part goes to PATH.pub.")],
    passphrase: NewPassphraseOption = False,
    passphrase_file: PassphraseFileOption = None,
    comment: CommentOption = "",
) -> None:
    """Make a new Ed25519 key in OpenSSH's format.

    Without --passphrase and --passphrase-file whoever reads the file has the key.

    \b
    Examples:
      gossipconf key new ~/.gossipconf/admin --passphrase --comment alice
      gossipconf key new admin --passphrase-file /run/secrets/admin-passphrase
    """
    _check_new(path, comment)
    secret = new_secret(path, passphrase, passphrase_file)
    made = Signer.generate()
    made.save(path, comment, secret)
    _tell(path, PublicKey(made.public, comment), is_protected=secret is not None)


@app.command()
def show(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|agent[:KEY]", help="A private or public key file, or the ssh-agent, or one of its keys."
        ),
    ],
    as_json: JsonOption = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Show a key's public part: fingerprint, and the line for a .pub file.

    The passphrase is asked only for an encrypted PEM file. Of an ssh-agent its
    Ed25519 keys are listed; others cannot sign here.

    \b
    Examples:
      gossipconf key show keys/admin
      gossipconf key show agent
      gossipconf key show agent:alice@laptop --json
    """
    is_listing = choice_of(source) == ""
    keys = SshAgent.find().public_keys() if is_listing else [public_key_of(source, passphrase_file)]
    if as_json:
        facts = [
            {
                "fingerprint": fingerprint(key.public),
                "comment": key.comment,
                "public": public_line(key.public, key.comment),
            }
            for key in keys
        ]
        print_json(facts if is_listing else facts[0])
        return
    if not keys:
        say("the ssh-agent offers no Ed25519 key; add one with: ssh-add FILE, or unlock it with: ssh-add -X")
    for key in keys:
        _print(key)


@app.command("import")
def import_key(
    pem: Annotated[Path, typer.Argument(metavar="PEM", help="An Ed25519 key in PEM (PKCS#8), as openssl makes it.")],
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="The new file in OpenSSH's format, and PATH.pub.")],
    passphrase: NewPassphraseOption = False,
    passphrase_file: PassphraseFileOption = None,
    comment: CommentOption = "",
) -> None:
    """Write a PEM key as an OpenSSH key file, which ssh-add can load.

    The new file has the passphrase of the old one, or the one in
    --passphrase-file; --passphrase asks for another.

    \b
    Example:
      gossipconf key import admin.pem --to keys/admin --passphrase
    """
    _check_new(to, comment)
    opened = open_key(pem, passphrase_file)
    secret = opened.passphrase
    if passphrase or secret is None:
        secret = new_secret(to, passphrase, passphrase_file)
    opened.key.save(to, comment, secret)
    _tell(to, PublicKey(opened.key.public, comment), is_protected=secret is not None)


# -- the parts ------------------------------------------------------------------------------------


def _check_new(path: Path, comment: str) -> None:
    """Refuse before anybody has typed a passphrase. Raises KeyFileError or InvalidInput."""
    if len(comment.encode(errors="surrogateescape")) > COMMENT_BYTES_MAX:
        raise InvalidInput(f"the comment of a key has at most {COMMENT_BYTES_MAX} bytes")
    if not comment.isprintable():
        raise InvalidInput("the comment of a key is one line of printable text")
    for one in (path, path.with_name(path.name + ".pub")):
        if one.exists():
            raise KeyFileError(f"{one} exists already and is not overwritten; move it away first")


def _tell(path: Path, key: PublicKey, *, is_protected: bool) -> None:
    how = "opened by its passphrase" if is_protected else "without passphrase"
    say(f"made {path} (SECRET: signs configuration; {how}) and {path}.pub")
    _print(key)


def _print(key: PublicKey) -> None:
    say(f"{fingerprint(key.public)}  {escaped(key.comment)}".rstrip())
    say(Text(f"  {escaped(public_line(key.public, key.comment))}"))
