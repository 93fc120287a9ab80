"""The loops with boto3: the article's, which puts record by record, and the same with puts in batches.

A thread for each shard, as Lambda runs a function for each; and a process for each core with its share of the shards,
since Python's threads use one core together. No leases, no checkpoints.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time

import sink

IDLE = 0.25  # seconds between reads that find nothing: Lambda's four a second


def source(connections):
    """A client, and the arguments that name the stream."""
    if sink.KIND != "change":
        return sink.client("kinesis", connections), {"StreamName": sink.STREAM}
    table = sink.client("dynamodb").describe_table(TableName=sink.STREAM)["Table"]
    return sink.client("dynamodbstreams", connections), {"StreamArn": table["LatestStreamArn"]}


def shards(reader, stream):
    found, more = [], dict(stream)
    while more:
        if sink.KIND == "change":
            answer = reader.describe_stream(**more)["StreamDescription"]
            last = answer.get("LastEvaluatedShardId")
            more = stream | {"ExclusiveStartShardId": last} if last else None
        else:
            answer = reader.list_shards(**more)
            token = answer.get("NextToken")
            more = {"NextToken": token} if token else None
        found += [s["ShardId"] for s in answer["Shards"]]
    return found


def events(records, stream):
    if sink.KIND == "change":
        return [sink.change(record, stream["StreamArn"]) for record in records]
    found = []
    for record in records:
        found += sink.kinesis(record["Data"], sink.millis(record["ApproximateArrivalTimestamp"]))
    return found


def follow(reader, stream, logs, shard, one_by_one):
    sink.make(logs, shard)
    iterator = reader.get_shard_iterator(**stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while iterator:
        answer = reader.get_records(ShardIterator=iterator)
        if one_by_one:
            for at, message in events(answer["Records"], stream):
                sink.put(logs, shard, [{"timestamp": at, "message": message}])
        else:
            sink.put_all(logs, shard, events(answer["Records"], stream))
        iterator = answer.get("NextShardIterator")
        if not answer["Records"]:
            time.sleep(IDLE)


def share(mine, one_by_one):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    reader, stream = source(len(mine))
    logs = sink.client("logs", len(mine))
    threads = [threading.Thread(target=follow, args=(reader, stream, logs, shard, one_by_one)) for shard in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main():
    one_by_one = sys.argv[1] == "one by one"
    found, cores = shards(*source(1)), os.cpu_count() or 1
    processes = [multiprocessing.Process(target=share, args=(mine, one_by_one), daemon=True)
                 for mine in (found[i::cores] for i in range(cores)) if mine]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for process in processes:
        process.start()
    for process in processes:
        process.join()


main()
