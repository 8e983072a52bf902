"""The error tree: everything gossipconf raises on purpose.

One root, so that a user can catch the lot; below it one class per thing that a
caller would handle differently. A message names the thing that is wrong and,
where there is one, the mend. No error carries a private key or a value.
"""

from __future__ import annotations


class GossipconfError(Exception):
    """Root of every error that gossipconf raises on purpose."""


class InvalidInput(GossipconfError):
    """What a caller handed in is malformed: a key, a value, a setting, a file."""


class LimitExceeded(InvalidInput):
    """A length, count or depth is above its named limit (see ``model.limits``)."""


class InvalidValue(InvalidInput):
    """A value that is not of its type, or not what a schema of its key says."""


class SchemaUnusable(InvalidInput):
    """A schema that is none, or asks for what is not supported, or for too much work."""


class FormatError(InvalidInput):
    """Bytes that are not the one canonical encoding of anything we know."""


class Rejected(GossipconfError):
    """A well-formed signed body that must not enter the store."""


class WrongCluster(Rejected):
    """A body signed for another cluster."""


class BadSignature(Rejected):
    """A signature that does not verify: altered bytes, or another key's work."""


class NotAuthorised(Rejected):
    """The policy does not let this signer do this to this key."""


class UnknownPolicy(Rejected):
    """The body names a policy version that is not here yet; fetch it, then retry."""


class Expired(Rejected):
    """A signed statement whose time is over, or has not come yet by this machine's clock."""


class StaleReservation(Rejected):
    """A publish whose sequence number has been overtaken; prepare and sign again."""


class ConfigError(InvalidInput):
    """A settings file or option that is wrong; names the option and the allowed ones."""


class KeyFileError(InvalidInput):
    """A key or certificate file that is missing, unreadable, too open or of the wrong kind."""


class WrongPassphrase(KeyFileError):
    """A passphrase that does not open its key file; ask again, if somebody is there."""


class SshAgentError(GossipconfError):
    """The ssh-agent is absent, locked, lacks the key, refuses, or answers what is no answer."""


class SealError(GossipconfError):
    """A sealed value that cannot be opened: root of the errors below."""


class NotRecipient(SealError):
    """It is sealed to others."""


class SealMoved(SealError):
    """It was sealed for another slot or another cluster."""


class SealBroken(SealError):
    """It is no envelope, or has been altered since it was sealed."""


class StrictRead(GossipconfError):
    """A key of a strict prefix that cannot be read here now: root of the two below."""


class Fenced(StrictRead):
    """A stage of the prefix is open: neither the old value nor the new one may be read until its outcome is known."""


class NotAMember(StrictRead):
    """The epoch in force does not name this agent as a member, or there is none yet."""


class KeyMissing(GossipconfError):
    """A program reads a key that has no value here, and has given no default."""


class WrongType(GossipconfError):
    """A program reads a key as a type that its value is not of."""


class InvalidModel(GossipconfError):
    """The values under a prefix do not make the model that a program has bound to it, and there is no last good one."""


class AgentFailed(GossipconfError):
    """The agent in this process has ended by a fault of its own; its cause is what happened."""


class CheckpointError(GossipconfError):
    """A checkpoint file that is missing, damaged, another cluster's, expired or signed by nobody who may."""


class JournalError(GossipconfError):
    """The agent's disk: root of the errors below."""


class JournalCorrupt(JournalError):
    """The database file is damaged. It is left as it is."""


class JournalForeign(JournalError):
    """The file is another program's, another cluster's or a newer version's. It is left as it is."""


class JournalBusy(JournalError):
    """Another process has the journal open."""


class JournalWriteFailed(JournalError):
    """The disk is full or read-only; nothing of the batch was kept."""


class TransportError(GossipconfError):
    """A link or listener cannot be opened or has failed."""


class DiscoveryError(TransportError):
    """What a seed stands for cannot be found: no such name, no address, no answer."""


class ProtocolViolation(TransportError):
    """A peer sent what no correct peer sends; the link is closed."""


class ControlError(GossipconfError):
    """The local agent cannot be reached or refused the request."""


class UnknownChange(ControlError):
    """The asked agent knows no change whose id begins like that."""


class AgentUnreachable(ControlError):
    """No agent answers on the control socket: not started, another directory, or it has stopped meanwhile."""
