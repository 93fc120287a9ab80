"""The story behind scripts/kcl/hand-over: KCL, Weir, KCL, Weir, and at the end KCL beside Weir, over one lease table.

A producer writes numbered records all the time. After each hand-over it is asked, shard by shard, whether the successor
began with the very next record after the predecessor's checkpoint; at the end, whether every record was processed, and
which more than once.
"""

import argparse
import collections
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).parent))
from kinesis_proxy import KinesisProxy  # noqa: E402
from streams_proxy import Proxy, list_shards  # noqa: E402

REGION, ACCOUNT = "eu-west-1", "000000000000"
STREAM, TABLE, APPLICATION, GROUP = "hand-over", "orders", "ho-app", "/hand-over"
ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}/stream/2026-01-01T00:00:00.000"
RATE = 60  # records a second
START = time.monotonic()


class Failed(Exception):
    """The hand-over did not keep what is promised; the message says what."""


def say(text):
    print(f"{time.monotonic() - START:7.1f}  {text}", flush=True)


def wait(what, seconds, probe, every=0.25):
    start = time.monotonic()
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() - start > seconds:
            raise Failed(f"waited {seconds} s for {what}, in vain")
        time.sleep(every)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def short(shard):
    return shard.removeprefix("shardId-").lstrip("0") or "0"


class Producer(threading.Thread):
    """Writes numbered records, and knows where each went."""

    def __init__(self, kinesis):
        super().__init__(daemon=True)
        self.kinesis, self.stopping, self.n = kinesis, False, 0
        self.shards = collections.defaultdict(list)  # shard -> [(sequence number, n)]

    def run(self):
        while not self.stopping:
            batch = [{"Data": json.dumps({"n": self.n + i}).encode(), "PartitionKey": f"k{(self.n + i) * 7919 % 1009}"}
                     for i in range(RATE // 4)]
            answer = self.kinesis.put_records(StreamName=STREAM, Records=batch)
            for i, record in enumerate(answer["Records"]):
                if "SequenceNumber" not in record:
                    raise Failed(f"a record was refused: {record}")
                self.shards[record["ShardId"]].append((int(record["SequenceNumber"]), self.n + i))
            self.n += len(batch)
            time.sleep(0.25)


class Story:
    def __init__(self, arguments, work):
        self.arguments, self.work, self.started = arguments, work, []
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WEIR_"))} | {
            "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        os.environ.update(self.environment)
        self.figures, self.holders = [], []

    def spawn(self, name, command, **environment):
        out = open(self.work / f"{name}.log", "ab")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.work,
                                   env=self.environment | environment, start_new_session=True)
        self.started.append(process)
        return process

    def client(self, service, port):
        return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", config=Config(retries={"max_attempts": 5}))

    def services(self):
        self.kinesis_port, self.aws_port, self.proxy_port = free_port(), free_port(), free_port()
        self.spawn("kinesis", [self.arguments.kinesis, "--port", str(self.kinesis_port), "--account-id", ACCOUNT, "--region",
                               REGION, "--create-stream-ms", "50", "--update-stream-ms", "50", "--log-level", "warn"])
        self.spawn("ministack", [str(Path(sys.executable).parent / "ministack")], GATEWAY_PORT=str(self.aws_port),
                   BIND_HOST="127.0.0.1", IOT_MTLS_ENABLED="0", SFTP_ENABLED="0")
        self.kinesis = self.client("kinesis", self.kinesis_port)
        self.dynamodb, self.logs = self.client("dynamodb", self.aws_port), self.client("logs", self.aws_port)

        def answers(ask):
            try:
                ask()
                return True
            except Exception:  # noqa: BLE001 - not there yet
                return False

        wait("the emulators", 30, lambda: answers(self.kinesis.list_streams) and answers(self.dynamodb.list_tables))
        self.kinesis.create_stream(StreamName=STREAM, ShardCount=3)
        self.active()
        self.proxy = Proxy(self.proxy_port, self.kinesis, STREAM, ARN, TABLE, self.aws_port)
        self.kcls_port = free_port()
        self.before_kinesis = KinesisProxy(self.kcls_port, self.kinesis, STREAM, self.kinesis_port)
        self.producer = Producer(self.kinesis)
        self.producer.start()

    def active(self):
        def state():
            return self.kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamStatus"]

        wait("the stream", 30, lambda: state() == "ACTIVE")

    # The two readers

    def kcl(self, worker):
        three = self.arguments.kcl == 3
        processed = self.work / f"{worker}.processed"
        processed.touch()
        properties = {
            "executableName": f"{sys.executable} {Path(__file__).parent / 'processor.py'} {processed}",
            "streamName": STREAM, "applicationName": APPLICATION, "workerId": worker, "processingLanguage": "python/3.11",
            "AwsCredentialsProvider" if three else "AWSCredentialsProvider": "EnvironmentVariableCredentialsProvider",
            "initialPositionInStream": "TRIM_HORIZON", "regionName": REGION,
            "kinesisEndpoint": f"http://127.0.0.1:{self.kcls_port}",
            "dynamoDBEndpoint": f"http://127.0.0.1:{self.aws_port}", "metricsLevel": "NONE", "retrievalMode": "POLLING",
            "maxRecords": 1000, "failoverTimeMillis": 10000, "idleTimeBetweenReadsInMillis": 500}
        path = self.work / f"{worker}.properties"
        path.write_text("".join(f"{k} = {v}\n" for k, v in properties.items()), encoding="utf-8")
        say(f"KCL {self.arguments.kcl} starts as {worker}")
        return self.spawn(worker, ["java", "-Xmx384m", "-Daws.cborEnabled=false", "-cp", f"{self.arguments.jars}/*",
                                   "software.amazon.kinesis.multilang.MultiLangDaemon", "--properties-file", str(path)])

    def weir(self, name):
        config = self.work / "weir.yaml"
        config.write_text(f"application: {APPLICATION}\n"
                          f"pipelines:\n  {TABLE}:\n    source: {{ dynamodb_table: {TABLE}, poll: {{ idle: 500ms }} }}\n"
                          f"    destination: {{ group: {GROUP} }}\n", encoding="utf-8")
        binary = Path(self.arguments.target).resolve() / "debug" / "weir"
        say(f"Weir starts ({name})")
        return self.spawn(name, [str(binary), "run", "-c", str(config), "--http-address", f"127.0.0.1:{free_port()}",
                                 "--log-format", "text"], AWS_ENDPOINT_URL=f"http://127.0.0.1:{self.proxy_port}")

    def hand_back(self):
        binary = Path(self.arguments.target).resolve() / "debug" / "weir"
        done = subprocess.run([str(binary), "leases", "hand-back", "-c", str(self.work / "weir.yaml")], text=True, timeout=120,
                              capture_output=True, check=False, cwd=self.work,
                              env=self.environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy_port}"})
        for line in (done.stdout + done.stderr).strip().splitlines():
            say(f"   weir leases hand-back: {line[:160]}")
        if done.returncode != 0:
            raise Failed(f"the hand-back ended with {done.returncode}")

    def terminate(self, name, process, seconds=120):
        process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        code = process.wait(seconds)
        say(f"{name} ended with {code}, {time.monotonic() - start:.1f} s after SIGTERM")
        return code

    # What they did

    def by_kcl(self, worker):
        rows = []
        for line in (self.work / f"{worker}.processed").read_text(encoding="utf-8").splitlines():
            at, shard, sequence, n = line.split()
            rows.append((shard, int(sequence), int(n), float(at)))
        return rows

    def by_weir(self):
        rows = []
        try:
            names = [s["logStreamName"] for page in self.logs.get_paginator("describe_log_streams").paginate(logGroupName=GROUP)
                     for s in page["logStreams"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return rows
        for name in names:
            token = {}
            while True:
                page = self.logs.get_log_events(logGroupName=GROUP, logStreamName=name, startFromHead=True, **token)
                for event in page["events"]:
                    record = json.loads(event["message"])["dynamodb"]
                    rows.append((name, int(record["SequenceNumber"]), int(record["NewImage"]["n"]["N"]),
                                 event["ingestionTime"] / 1000))
                if page["nextForwardToken"] == token.get("nextToken"):
                    break
                token = {"nextToken": page["nextForwardToken"]}
        return rows

    def leases(self):
        try:
            page = self.dynamodb.scan(TableName=APPLICATION, ConsistentRead=True)
        except self.dynamodb.exceptions.ResourceNotFoundException:
            return {}
        return {i["leaseKey"]["S"]: i for i in page["Items"] if i.get("entityType", {"S": "LEASE"})["S"] == "LEASE"}

    def keep(self, step):
        leases = self.leases()
        (self.work / f"{step}.json").write_text(json.dumps(leases, indent=1, sort_keys=True), encoding="utf-8")
        for key, row in sorted(leases.items()):
            say(f"   {short(key)}: {row['checkpoint']['S'][-14:]:>14} counter {row['leaseCounter']['N']:>4} owner "
                f"{row.get('leaseOwner', {}).get('S', '-')}")
        return leases

    def split(self):
        """Splits the shard with the lowest id that is open."""
        shard = next(s for s in list_shards(self.kinesis, STREAM) if "EndingSequenceNumber" not in s["SequenceNumberRange"])
        low, high = int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"])
        self.kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2))
        self.active()
        say(f"shard {short(shard['ShardId'])} is split")

    def merge(self, one, other):
        name = "shardId-{:012}".format
        self.kinesis.merge_shards(StreamName=STREAM, ShardToMerge=name(one), AdjacentShardToMerge=name(other))
        self.active()
        say(f"shards {one} and {other} are merged")

    def open_shards(self):
        shards = list_shards(self.kinesis, STREAM)
        return {s["ShardId"] for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]}

    def reads_all(self, rows_of, since, seconds, what):
        """Waits until every open shard was read from after `since`; says when the first and the last were."""
        def probe():
            firsts = {}
            for shard, _, _, at in rows_of():
                if at > since:
                    firsts[shard] = min(at, firsts.get(shard, at))
            return firsts if self.open_shards() <= set(firsts) else None

        firsts = wait(f"{what} to read every open shard", seconds, probe, every=1)
        first, last = min(firsts.values()) - since, max(firsts[s] for s in self.open_shards()) - since
        say(f"{what}: the first record {first:.1f} s after its start, a record of every open shard {last:.1f} s after it")
        return first, last

    def gone_on(self, what, before, rows):
        """Whether `rows` go on with the very next record after each of `before`'s checkpoints, and skip none."""
        seen = collections.defaultdict(set)
        for shard, sequence, _, _ in rows:
            seen[shard].add(sequence)
        shards = 0
        for shard, found in sorted(seen.items()):
            produced = [s for s, _ in self.producer.shards[shard]]
            checkpoint = before.get(shard, {}).get("checkpoint", {"S": "TRIM_HORIZON"})["S"]
            if checkpoint == "SHARD_END":
                raise Failed(f"{what} read shard {short(shard)}, which had ended")
            after = int(checkpoint) if checkpoint.isdigit() else -1
            expected = [s for s in produced if s > after][: len(found)]
            early = [s for s in found if s <= after]
            if early:
                raise Failed(f"{what} read {len(early)} records of shard {short(shard)} up to the checkpoint {after}")
            if sorted(found) != expected:
                raise Failed(f"{what} skipped records of shard {short(shard)} after {after}: {len(found)} found, the first "
                             f"{min(found)}, expected from {expected[:1]}")
            shards += 1
        say(f"{what} went on with the next record after the checkpoint in each of {shards} shards, and skipped none")

    # The story

    def tell(self):
        self.services()
        say(f"3 shards, {RATE} records a second")
        kcl, since = self.kcl("kcl-1"), time.time()
        self.reads_all(lambda: self.by_kcl("kcl-1"), since, 300, "KCL, from nothing")
        self.split()
        self.merge(1, 2)
        self.reads_all(lambda: self.by_kcl("kcl-1"), since, 300, "KCL, after split and merge")

        say("Weir beside a live KCL:")
        before, start = self.leases(), time.monotonic()
        refused = self.weir("weir-refused")
        code = refused.wait(120)
        refusal = time.monotonic() - start
        say(f"Weir ended with {code} after {refusal:.1f} s: {last_line(self.work / 'weir-refused.log')}")
        owners = {k: v.get("leaseOwner") for k, v in self.leases().items()}
        if code != 1 or any(before[k].get("leaseOwner") != owners.get(k) for k in before) or self.by_weir():
            raise Failed("Weir did not leave a live KCL alone")

        self.terminate("KCL", kcl)
        first = self.keep("1-kcl-stopped")
        time.sleep(10)
        weir, since = self.weir("weir-1"), time.time()
        to_weir = self.reads_all(self.by_weir, since, 120, "Weir")
        self.split()
        self.reads_all(self.by_weir, time.time(), 120, "Weir, after a split")
        time.sleep(30)
        code = self.terminate("Weir", weir)
        if code != 0:
            raise Failed("Weir's drain was not complete")
        self.hand_back()
        second = self.keep("2-weir-stopped")
        weir_1 = self.by_weir()
        self.gone_on("Weir", first, weir_1)
        ours = {"leaseOwner", "leaseCounter", "checkpoint", "checkpointSubSequenceNumber", "ownerSwitchesSinceCheckpoint",
                "childShardIds", "checkpointOwner"}
        for key, row in first.items():
            changed = {n for n in set(row) | set(second[key]) if row.get(n) != second[key].get(n)} - ours
            if changed:
                raise Failed(f"Weir changed {changed} of {key}")

        time.sleep(5)
        kcl, since = self.kcl("kcl-2"), time.time()
        to_kcl = self.reads_all(lambda: self.by_kcl("kcl-2"), since, 400, "KCL, after Weir")
        self.split()
        self.reads_all(lambda: self.by_kcl("kcl-2"), time.time(), 400, "KCL, after another split")
        self.terminate("KCL", kcl)
        third = self.keep("3-kcl-stopped")
        kcl_2 = self.by_kcl("kcl-2")
        self.gone_on("KCL", second, kcl_2)

        weir, since = self.weir("weir-2"), time.time()
        again = self.reads_all(self.by_weir, since, 120, "Weir, again")
        time.sleep(30)
        say("KCL beside a live Weir:")
        kcl, start = self.kcl("kcl-3"), time.monotonic()
        wait("KCL to take a lease", 300, lambda: any(v.get("leaseOwner", {}).get("S") == "kcl-3" for v in self.leases().values()))
        taken = time.monotonic()
        code = weir.wait(120)
        noticed = time.monotonic() - taken
        say(f"Weir ended with {code}, {noticed:.1f} s after KCL's first take: {last_line(self.work / 'weir-2.log')}")
        if code != 1:
            raise Failed("Weir did not end for KCL")
        self.gone_on("Weir, again", third, [r for r in self.by_weir() if r not in weir_1])
        self.producer.stopping = True
        self.producer.join()
        everything = {n for rows in self.producer.shards.values() for _, n in rows}

        def missing():
            done = {r[2] for r in self.by_weir()}
            for worker in ("kcl-1", "kcl-2", "kcl-3"):
                done |= {r[2] for r in self.by_kcl(worker)}
            return not everything - done

        wait("every record to be processed", 400, missing, every=2)
        self.terminate("KCL", kcl)
        self.keep("4-end")

        by = {"kcl-1": self.by_kcl("kcl-1"), "weir": self.by_weir(), "kcl-2": self.by_kcl("kcl-2"), "kcl-3": self.by_kcl("kcl-3")}
        counts = collections.Counter(r[2] for rows in by.values() for r in rows)
        repeats = {n: c for n, c in counts.items() if c > 1}
        planned = collections.Counter(r[2] for name in ("kcl-1", "kcl-2") for r in by[name])
        planned.update(r[2] for r in weir_1)
        say("---")
        say(f"KCL {self.arguments.kcl}: {len(everything)} records; processed by " +
            ", ".join(f"{name} {len(rows)}" for name, rows in by.items()))
        say(f"lost {len(everything - set(counts))}; repeats at the two planned hand-overs "
            f"{sum(c - 1 for c in planned.values())}, in all, with KCL started beside a live Weir, "
            f"{sum(c - 1 for c in repeats.values())}")
        say(f"first record / every shard, in seconds: Weir after KCL {to_weir[0]:.1f} / {to_weir[1]:.1f}, again "
            f"{again[0]:.1f} / {again[1]:.1f}; KCL after Weir {to_kcl[0]:.1f} / {to_kcl[1]:.1f}")
        say(f"Weir refused a live KCL after {refusal:.1f} s, and ended {noticed:.1f} s after one took a lease of its")

    def end(self):
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def last_line(path):
    return path.read_text(encoding="utf-8").strip().splitlines()[-1][:200]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--kcl", type=int, choices=(2, 3), default=3)
    parser.add_argument("--jars", required=True, type=lambda p: str(Path(p).resolve()))
    parser.add_argument("--kinesis", required=True, type=lambda p: str(Path(p).resolve()))
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    work = (arguments.work or Path(tempfile.mkdtemp(prefix="weir-kcl-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    say(f"logs and tables in {work}")
    story = Story(arguments, work)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        story.tell()
    except Failed as failed:
        say(f"FAILED: {failed}")
        return 1
    finally:
        story.end()
    return 0


sys.exit(main())
