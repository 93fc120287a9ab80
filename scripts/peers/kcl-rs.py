#!/usr/bin/env python3
"""kcl-rs, a KCL in Rust for Python, with a record processor that puts in batches with boto3 (inner/processor.py)."""

from inner import peer


def start():
    peer.lease_tables()
    peer.run(peer.python(), peer.HERE / "kcl_rs_worker.py")


peer.main(
    {"name": "kcl-rs 0.1.4 + batched boto3", "kinds": ["plain", "audit"],
     "records": {"plain": 300_000, "audit": 10_000}, "limit_s": 240,
     "uncounted": "ministack, for its tables of leases and the metrics that it can't be kept from sending"},
    start,
)
