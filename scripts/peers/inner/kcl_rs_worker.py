"""kcl-rs with the processor of processor.py: one process, callbacks on threads of their own."""

import os
import signal
import sys

import kcl_rs

import sink
from processor import Processor

LOGS = sink.client("logs", connections=int(os.environ["BENCH_SHARDS"]))
scheduler = kcl_rs.Scheduler(
    stream_name=sink.STREAM,
    application_name="bench-kcl-rs",
    record_processor_factory=lambda: Processor(LOGS),
    worker_identifier="peer",
    region=os.environ["AWS_REGION"],
    initial_position="TRIM_HORIZON",
    retrieval_mode="POLLING",
    max_records=10_000,
    # Five reads a second are what Kinesis allows for a shard. Its own default is slower.
    idle_time_between_reads_millis=200,
)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
scheduler.run()
