#!/usr/bin/env python3
"""The real Kinesis Client Library: its MultiLangDaemon, from the jars that the Python package kclpy-ext carries, with a
Python record processor a shard that puts in batches with boto3 (inner/processor.py).

Its Kinesis client speaks HTTP/2 only, so HAProxy stands between it and the fake; its tables are in ministack. It isn't
given aggregates of the KPL: those of the fake have the same keys in every shard, and KCL drops, without a word, a user
record whose key belongs to another shard. So does kcl-rs.
"""

import os
from pathlib import Path

from inner import peer

PROXY = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
listen kinesis
    bind 127.0.0.1:{port} proto h2
    server fake {fake}
"""


def start():
    peer.lease_tables()
    work = Path(os.environ["BENCH_DIR"])
    port = peer.free_port()
    (work / "haproxy.cfg").write_text(
        PROXY.format(port=port, fake=os.environ["AWS_ENDPOINT_URL_KINESIS"].removeprefix("http://")), encoding="utf-8")
    properties = {
        "executableName": f"{peer.python()} {peer.HERE / 'processor.py'}",
        "processingLanguage": "python/3",
        "streamName": os.environ["BENCH_STREAM"],
        "applicationName": "bench-kcl",
        "workerId": "peer",
        "AwsCredentialsProvider": "EnvironmentVariableCredentialsProvider",
        "regionName": os.environ["AWS_REGION"],
        "kinesisEndpoint": peer.beside("haproxy", ["haproxy", "-db", "-f", str(work / "haproxy.cfg")], port),
        "dynamoDBEndpoint": os.environ["AWS_ENDPOINT_URL_DYNAMODB"],
        "initialPositionInStream": "TRIM_HORIZON",
        "metricsLevel": "NONE",
        "retrievalMode": "POLLING",
        "maxRecords": 10_000,
        # Five reads a second are what Kinesis allows for a shard. KCL's own default is slower.
        "idleTimeBetweenReadsInMillis": 200,
        "failoverTimeMillis": 10_000,
    }
    (work / "kcl.properties").write_text("".join(f"{k} = {v}\n" for k, v in properties.items()), encoding="utf-8")
    jars = next(peer.tools().glob("peers/lib/python3*/site-packages/amazon_kclpy/jars"))
    peer.run("java", "-Xmx512m", "-Daws.cborEnabled=false", "-cp", f"{jars}/*",
             "software.amazon.kinesis.multilang.MultiLangDaemon", "--properties-file", work / "kcl.properties")


peer.main(
    {"name": "KCL 3.1.3 MultiLang + batched boto3", "kinds": ["plain", "audit"],
     "records": {"plain": 300_000, "audit": 10_000}, "limit_s": 300,
     "uncounted": "ministack, for its tables of leases, and HAProxy, since it speaks HTTP/2 only"},
    start,
)
