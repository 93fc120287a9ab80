"""The record processor that KCL's MultiLangDaemon runs, one process a shard; and kcl-rs, one object a shard."""

import sys
import time

import sink

CHECKPOINT = 15  # seconds, as Weir's default


class Processor:
    """What both libraries call. It puts what it gets, then lets the checkpoint follow."""

    version = 3

    def __init__(self, logs):
        self.logs, self.shard, self.checkpointed = logs, None, time.monotonic()

    def initialize(self, start):
        self.shard = start.shard_id
        sink.make(self.logs, self.shard)

    def process_records(self, given):
        events = []
        for record in given.records:
            events += sink.kinesis(record.binary_data, sink.millis(record.approximate_arrival_timestamp))
        sink.put_all(self.logs, self.shard, events)
        if events and time.monotonic() - self.checkpointed >= CHECKPOINT:
            given.checkpointer.checkpoint()
            self.checkpointed = time.monotonic()

    def lease_lost(self, _):
        pass

    def shard_ended(self, end):
        end.checkpointer.checkpoint()

    def shutdown_requested(self, request):
        request.checkpointer.checkpoint()


def main():
    from amazon_kclpy import kcl
    kcl.KCLProcess(Processor(sink.client("logs"))).run()


if __name__ == "__main__":
    sys.exit(main())
