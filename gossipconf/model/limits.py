"""Every limit of the format and the wire, each with its reason.

A limit of the *format* decides what is valid for ever, on every node, whatever
its version: change one and old nodes and new ones hold different sets. A limit
of the *wire* only protects a process and may differ from node to node.
"""

from __future__ import annotations

from typing import Final

# -- format ---------------------------------------------------------------------------------------

KEY_BYTES_MAX: Final = 512
"""A key fits a file-system path component twice over; Consul's own advice is 512 too."""

VALUE_BYTES_MAX: Final = 1 << 20
"""1 MiB, as Kubernetes caps a ConfigMap and etcd a request (1.5 MiB): config, not files."""

ENTRIES_MAX: Final = 16_384
"""Entries in one change: an `apply` of 10,000 keys stays one change; proofs stay ≤ 14 hashes deep."""

CHANGE_BYTES_MAX: Final = 8 << 20
"""All entries of one change, encoded: 10,000 of 800 bytes. It must be held whole to be applied whole. The header
signs the sum, so that any part of a change shows whether the whole keeps to it."""

FORM_BYTES_MAX: Final = CHANGE_BYTES_MAX + (512 << 10)
"""One change as it travels, whole or in part: entries of CHANGE_BYTES_MAX and all else that a form can have.

    4,322    13 fields at their largest, the array's header: 31 approvals 3,134, comment 1,027, other 161
   24,576    indices of 3 bytes, of every second entry: 8,192
  327,680    as many proof elements of 40 bytes: array 1, size 5, hash 34
  356,578    together, rounded up to 512 KiB

Every second entry is the worst part: an element stands for a subtree whose sibling holds an entry that is here, so
there are at most half as many as entries (ENTRIES_MAX), and each one more would take the place of indices. What is
valid never comes near; this only bounds what is looked at."""

SEEN_WRITERS_MAX: Final = 4_096
"""Writers in one entry's version vector, about 24 bytes each: 96 KiB. Each start of an agent that publishes to a
slot adds one to the slot's vector, until a floor collects it; a key must outlast years of restarts."""

VARIANT_BYTES_MAX: Final = 64
"""A variant is a short name such as `canary`."""

MATCH_TERMS_MAX: Final = 16
"""Conditions of one variant; more would not be read by a human."""

MATCH_BYTES_MAX: Final = 256
"""One label, pattern or alternative inside a match."""

HALT_VOTES_MAX: Final = 1_000
"""Votes that hold a variant off: a limit above what every node can keep would never be reached."""

PACE_MS_MAX: Final = 366 * 86_400_000
"""A share grows to what it says within a year: what takes longer is no rollout."""

COMMENT_BYTES_MAX: Final = 1_024
"""A commit subject and a ticket number, not a document."""

SIGNATURES_MAX: Final = 32
"""Signatures on one change (its writer and approvals): above any m-of-n that people run."""

SEQ_MAX: Final = (1 << 63) - 1
"""Sequence numbers, times and ranks fit a signed 64-bit integer, as SQLite and most languages have it."""

TIME_MS_MAX: Final = (1 << 53) - 1
"""Milliseconds since 1970 that JavaScript can represent exactly; the year 287396."""

RANK_MAX: Final = 1_000_000
"""Variants of one key are ranked by people."""

POLICY_VERSION_MAX: Final = (1 << 31) - 1
"""A policy a second for 68 years."""

FORK_BRANCHES_MAX: Final = 8
"""Of a fork the 8 smallest change ids are kept: proof enough, and a thief cannot fill the store."""

# -- policy documents -----------------------------------------------------------------------------

ROOT_KEYS_MAX: Final = 16
"""Root keys of one policy: people in a room."""

ROLES_MAX: Final = 256
"""Roles of one policy: a large company's teams."""

ROLE_KEYS_MAX: Final = 256
"""Keys of one role."""

ROLE_PREFIXES_MAX: Final = 256
"""Prefixes of one role."""

# -- wire -----------------------------------------------------------------------------------------

FRAME_BYTES_MAX: Final = 8_192 - 4
"""A frame and its 4-byte header are half of the largest TLS record, of which a reader sees nothing before its end: a
keepalive waits for no more, and through a link of 1 KiB a second that comes well within the 15 s of silence after
which a link is closed."""

MESSAGE_BYTES_MAX: Final = FORM_BYTES_MAX + 65_536
"""A message carries at most one change of the largest form, and its own fields."""

SYNC_BATCH_BYTES: Final = 8_000
"""Changes per sync message, which then fits into a frame: of a long answer something comes every 8 s even through a
link of 1 KiB a second, so that nobody gives it up. Each batch costs 5 bytes."""

SYNC_BUDGET_BYTES: Final = 1 << 20
"""What one sync request may bring: the bound of a link's sync queue, and 7 MB/s at 150 ms round trip."""

FRONTIER_WRITERS_MAX: Final = 1_024
"""Writers in one frontier hint (about 10 bytes each); older ones are left to the tree."""

NODE_ID_BYTES_MAX: Final = 64
"""A node's certified name, such as `checkout-7.eu-west`."""

ADDRESS_BYTES_MAX: Final = 256
"""`host:port`; DNS allows 253 for the name."""

ADDRESS_BOOK_MAX: Final = 1_000
"""Addresses remembered: enough to survive any churn, small enough to gossip about."""

RETIRED_HEADERS_MAX: Final = 10_000
"""Headers of dead changes kept in memory (about 200 bytes each), so that a late fork is recognised."""

# -- snapshots ------------------------------------------------------------------------------------

SNAPSHOT_BYTES_MAX: Final = 32_768
"""A snapshot with a frontier of FRONTIER_WRITERS_MAX writers of 28 bytes each, and 300 bytes besides."""

CHECKPOINT_BYTES_MAX: Final = 1 << 29
"""512 MiB: half a million entries of 1 KB. A file is read into memory before anything in it can be trusted."""

ID_DIGITS_MIN: Final = 4
"""Hex digits by which a change may be named: fewer name too many to be meant."""
