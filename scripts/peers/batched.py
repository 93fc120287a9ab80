#!/usr/bin/env python3
"""The same loop with puts in batches, for DynamoDB Streams and Kinesis."""

from inner import peer

peer.main(
    {"name": "batched boto3", "kinds": ["change", "plain", "audit"],
     "records": {"change": 50_000, "plain": 200_000, "audit": 5_000}, "limit_s": 120},
    lambda: peer.run(peer.python(), peer.HERE / "loop.py", "in batches"),
)
