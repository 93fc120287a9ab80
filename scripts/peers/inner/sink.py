"""What the Python peers share: from records to log events, and those to CloudWatch Logs, in batches by its rules.

It is written as one would write it for production with the standard library: one client a process with connections that
are kept, puts as large as they may be. Nothing of it is tuned beyond that (boto3 checks parameters as it does by default).
"""

import base64
import datetime
import gzip
import json
import os
from operator import itemgetter

import boto3
from botocore.config import Config

KIND, STREAM, GROUP = os.environ["BENCH_KIND"], os.environ["BENCH_STREAM"], os.environ["BENCH_GROUP"]

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html
EVENTS, BYTES, OVERHEAD, SPAN = 10_000, 1_048_576, 26, 24 * 3600 * 1000


def client(service, connections=10):
    return boto3.client(service, config=Config(max_pool_connections=connections, tcp_keepalive=True,
                                               retries={"mode": "standard", "max_attempts": 10}))


def millis(when):
    return int(when.timestamp() * 1000)


def other(value):
    """What JSON has no type for, as Lambda's event has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    raise TypeError(type(value))


def change(record, arn):
    """A record of DynamoDB Streams, as boto3 gives it, to (timestamp, text of Lambda's event record)."""
    at = 1000 * int(record["dynamodb"]["ApproximateCreationDateTime"].timestamp())
    return at, json.dumps(record | {"eventSourceARN": arn}, default=other, ensure_ascii=False)


def kinesis(data, arrived):
    """The data of a Kinesis record, and when it arrived, in ms, to its log events, each (timestamp, text)."""
    if KIND != "audit":
        return [(arrived, data.decode())]
    envelope = json.loads(gzip.decompress(data))
    if envelope["messageType"] != "DATA_MESSAGE":
        return []
    return [(event["timestamp"], event["message"]) for event in envelope["logEvents"]]


def make(logs, shard):
    """The shard's log stream, and the group, where they aren't there."""
    for create, name in ((logs.create_log_group, {}), (logs.create_log_stream, {"logStreamName": shard})):
        try:
            create(logGroupName=GROUP, **name)
        except logs.exceptions.ResourceAlreadyExistsException:
            pass


def batches(events):
    """Events in as few lists as the rules of PutLogEvents permit; they must be in the order of their times."""
    batch, size = [], 0
    for at, message in sorted(events, key=itemgetter(0)):
        cost = OVERHEAD + (len(message) if message.isascii() else len(message.encode()))
        if batch and (len(batch) == EVENTS or size + cost > BYTES or at - batch[0]["timestamp"] >= SPAN):
            yield batch
            batch, size = [], 0
        batch.append({"timestamp": at, "message": message})
        size += cost
    if batch:
        yield batch


def put(logs, shard, batch):
    answer = logs.put_log_events(logGroupName=GROUP, logStreamName=shard, logEvents=batch)
    if "rejectedLogEventsInfo" in answer:
        raise RuntimeError(f"CloudWatch Logs rejected events: {answer['rejectedLogEventsInfo']}")


def put_all(logs, shard, events):
    for batch in batches(events):
        put(logs, shard, batch)
