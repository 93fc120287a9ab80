#!/usr/bin/env python3
"""lifion-kinesis for Node.js, with puts in batches by the AWS SDK for JavaScript (inner/lifion.js)."""

import os

from inner import peer


def start():
    peer.lease_tables()
    os.environ["NODE_PATH"] = str(peer.tools() / "node-peers" / "node_modules")
    peer.run("node", peer.HERE / "lifion.js")


peer.main(
    {"name": "lifion-kinesis 1.3.3 + batched puts", "kinds": ["plain", "audit", "kpl"],
     "records": {"plain": 200_000, "audit": 5_000, "kpl": 4_000}, "limit_s": 120,
     "uncounted": "ministack, for its table of leases"},
    start,
)
