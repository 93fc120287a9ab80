#!/usr/bin/env python3
"""The article's loop: DynamoDB Streams with boto3, each record as Lambda's event record, one PutLogEvents a record."""

from inner import peer

peer.main(
    {"name": "article's loop (boto3, one put a record)", "kinds": ["change"], "records": {"change": 10_000}, "limit_s": 120},
    lambda: peer.run(peer.python(), peer.HERE / "loop.py", "one by one"),
)
