"""The demo behind scripts/demo: the real binary, an emulated AWS, and what a newcomer should see of both.

Every step prints the command a person would type for it. Whatever happens, the processes started here are ended.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

REGION = "ap-northeast-1"
TABLE = "orders"
GROUP = "/cdc/orders"
APPLICATION = "weir"  # the default of --application; names the lease table
MORE = 100  # times three: as many inserts, updates and deletes

# The order of the fields in the record that the Lambda function of the article logs.
RECORD_FIELDS = ["eventID", "eventName", "eventVersion", "eventSource", "awsRegion", "dynamodb", "eventSourceARN"]
CHANGE_FIELDS = ["ApproximateCreationDateTime", "Keys", "NewImage", "OldImage", "SequenceNumber", "SizeBytes",
                 "StreamViewType"]
IMAGES = {"INSERT": ["NewImage"], "MODIFY": ["NewImage", "OldImage"], "REMOVE": ["OldImage"]}

TTY = sys.stdout.isatty()


class Failed(Exception):
    """The demo did not show what it promises; the message says what."""


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if TTY else text


def step(number, title):
    print(f"\n{paint('1', f'{number}. {title}')}", flush=True)


def say(text):
    print(f"   {text}", flush=True)


def command(text):
    say(paint("36", f"$ {text}"))


def good(text):
    say(paint("32", f"ok: {text}"))


def progress(text, last=False):
    """One line that is rewritten on a terminal; elsewhere a line now and then."""
    if TTY:
        print(f"\r   {text}\033[K", end="\n" if last else "", flush=True)
    elif last or time.monotonic() - progress.shown > 2:
        progress.shown = time.monotonic()
        say(text)


progress.shown = 0.0


def wait(what, seconds, probe, process=None):
    """Asks `probe` until it returns something true; fails after `seconds`, or when `process` ends."""
    start = time.monotonic()
    while True:
        answer = probe()
        if answer:
            return answer
        if process is not None and process.poll() is not None:
            raise Failed(f"waiting for {what}: the process ended with code {process.returncode}")
        if time.monotonic() - start > seconds:
            raise Failed(f"waited {seconds} s for {what}, in vain")
        if time.monotonic() - start > 2:
            progress(f"waiting for {what} … {time.monotonic() - start:.0f} s")
        time.sleep(0.1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url):
    """(status, body) of a GET; (0, reason) while nobody answers. Goes round any proxy: this is our own machine."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=3) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError as e:
        return 0, str(e)


def environment(endpoint):
    """(whole, ours): an environment that can't reach the user's real AWS account, and the part that we set."""
    ours = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    rest = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WEIR_", "CLOUDWATCH_", "RUST_LOG"))}
    return rest | ours, ours


def compact(value):
    return json.dumps(value, ensure_ascii=False)


def show_event(event):
    """One log event with its record, one line a field."""
    at = time.strftime("%H:%M:%S", time.gmtime(event["timestamp"] / 1000)) + f".{event['timestamp'] % 1000:03d}Z"
    record = json.loads(event["message"])
    say(paint("33", f"{GROUP}  {event['logStreamName']}  {at}  {record['eventName']}"))
    for key, value in record.items():
        if key != "dynamodb":
            say(f"   {key}: {compact(value)}")
            continue
        say(f"   {key}:")
        for name, inner in value.items():
            say(f"      {name}: {compact(inner)}")


class Demo:
    def __init__(self, target, stay):
        self.weir_binary = target / "debug" / "weir"
        self.tools = target / "tools" / "venv" / "bin"
        self.dir = target / "demo"
        self.dir.mkdir(parents=True, exist_ok=True)
        self.weir_log = self.dir / "weir.log"
        self.emulator_log = self.dir / "emulator.log"
        self.stay = stay
        self.emulator = None
        self.weir = None

    # The steps, in order.

    def run(self):
        self.start_emulator()
        self.create_table()
        self.start_weir()
        self.three_changes()
        self.many_changes()
        self.look_inside()
        if self.stay:
            self.play()
        self.drain()

    def start_emulator(self):
        step(3, "Start the AWS emulator")
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.env, self.ours = environment(self.endpoint)
        command(f"GATEWAY_PORT={port} BIND_HOST=127.0.0.1 ministack")
        with open(self.emulator_log, "w") as log:
            self.emulator = subprocess.Popen(
                [self.tools / "ministack"],
                # The last two are services nobody asked for, on ports of their own.
                env=self.env | {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "WARNING",
                                "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait("the emulator", 30, lambda: get(f"{self.endpoint}/_ministack/health")[0] == 200, self.emulator)
        say(f"DynamoDB, DynamoDB Streams and CloudWatch Logs at {self.endpoint}")

        import boto3  # slow to import, and only now of use
        from botocore.config import Config

        def client(service):
            return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id="demo",
                                aws_secret_access_key="demo", config=Config(proxies={}))

        self.dynamodb, self.logs = client("dynamodb"), client("logs")

    def create_table(self):
        step(4, "Create a table whose stream holds the new and the old image of each changed item")
        command(f"aws dynamodb create-table --table-name {TABLE} --billing-mode PAY_PER_REQUEST \\")
        say("      --attribute-definitions AttributeName=order_id,AttributeType=S \\")
        say("      --key-schema AttributeName=order_id,KeyType=HASH \\")
        say("      --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES")
        table = self.dynamodb.create_table(
            TableName=TABLE, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
        self.stream_arn = table["TableDescription"]["LatestStreamArn"]
        say(f"its stream: {self.stream_arn}")

    def start_weir(self):
        step(5, "Start Weir: this table, that log group, nothing else to set up")
        address = f"127.0.0.1:{free_port()}"
        self.http = f"http://{address}"
        arguments = ["run", "--table", TABLE, "--log-group", GROUP, "--http-address", address, "--log-format", "text"]
        command(f"export AWS_ENDPOINT_URL={self.endpoint}   # on AWS: leave this out")
        command(f"weir {' '.join(arguments)} > {self.weir_log}")
        with open(self.weir_log, "w") as log:
            self.weir = subprocess.Popen([self.weir_binary, *arguments], env=self.env, stdout=log, stderr=log,
                                         stdin=subprocess.DEVNULL, start_new_session=True)
        start = time.monotonic()
        wait("/readyz to say 200", 30, lambda: get(f"{self.http}/readyz")[0] == 200, self.weir)
        good(f"ready after {time.monotonic() - start:.1f} s")

    def three_changes(self):
        step(6, "Insert, update and delete an order; each change becomes one log event")
        key = {"order_id": {"S": str(uuid.uuid4())}}
        first = key | {
            "order_status": {"S": "PLACED"},
            "order_total": {"N": "42.5"},
            "order_customer": {"S": "Müller & Söhne"},
            "order_channel": {"S": "web"},
            "order_version": {"S": "$LATEST"},
        }
        second = first | {"order_status": {"S": "PAID"}}
        id_ = key["order_id"]["S"]

        command(f"aws dynamodb put-item --table-name {TABLE} --item '{compact(first)}'")
        self.dynamodb.put_item(TableName=TABLE, Item=first)
        seen = self.show_until(1, [])
        command(f"aws dynamodb update-item --table-name {TABLE} --key '{{\"order_id\": {{\"S\": \"{id_}\"}}}}' \\")
        say("      --update-expression 'SET order_status = :s' --expression-attribute-values '{\":s\": {\"S\": \"PAID\"}}'")
        self.dynamodb.update_item(TableName=TABLE, Key=key, UpdateExpression="SET order_status = :s",
                                  ExpressionAttributeValues={":s": {"S": "PAID"}})
        seen = self.show_until(2, seen)
        command(f"aws dynamodb delete-item --table-name {TABLE} --key '{{\"order_id\": {{\"S\": \"{id_}\"}}}}'")
        self.dynamodb.delete_item(TableName=TABLE, Key=key)
        seen = self.show_until(3, seen)

        images = [{"NewImage": first}, {"NewImage": second, "OldImage": first}, {"OldImage": second}]
        for event, name, image in zip(seen, IMAGES, images, strict=True):
            self.check(event, name, key, image)
        good("the three log events hold the fields of Lambda's event record, in its order, and the values written:")
        say(f"   {', '.join(RECORD_FIELDS)}")
        say(f"   dynamodb: {', '.join(CHANGE_FIELDS)} (the images as the kind of change has them)")

    def check(self, event, name, key, images):
        """Compares a log event with the change that made it."""
        record = json.loads(event["message"])

        def same(what, found, expected):
            if found != expected:
                raise Failed(f"{name}: {what} is\n      {compact(found)}\n   but should be\n      {compact(expected)}")

        same("the order of the fields", list(record), RECORD_FIELDS)
        change = record["dynamodb"]
        absent = {"NewImage", "OldImage"} - set(IMAGES[name])
        same("the order of the fields in `dynamodb`", list(change), [f for f in CHANGE_FIELDS if f not in absent])
        same("eventName", record["eventName"], name)
        same("eventVersion", record["eventVersion"], "1.1")
        same("eventSource", record["eventSource"], "aws:dynamodb")
        same("awsRegion", record["awsRegion"], REGION)
        same("eventSourceARN", record["eventSourceARN"], self.stream_arn)
        same("Keys", change["Keys"], key)
        same("the images", {f: change[f] for f in IMAGES[name]}, images)
        same("StreamViewType", change["StreamViewType"], "NEW_AND_OLD_IMAGES")
        same("the log event's timestamp", event["timestamp"], int(1000 * change["ApproximateCreationDateTime"]))

    def many_changes(self):
        step(7, f"{3 * MORE} more changes: {MORE} orders inserted, updated, deleted")
        keys = [{"order_id": {"S": f"order-{n:04}"}} for n in range(MORE)]

        def in_batches(kind, requests):
            for at in range(0, len(requests), 25):
                batch = [{kind: r} for r in requests[at:at + 25]]
                while batch:
                    batch = self.dynamodb.batch_write_item(RequestItems={TABLE: batch})["UnprocessedItems"].get(TABLE)

        in_batches("PutRequest", [{"Item": k | {"order_total": {"N": str(n)}}} for n, k in enumerate(keys)])
        for k in keys:
            self.dynamodb.update_item(TableName=TABLE, Key=k, UpdateExpression="SET order_status = :s",
                                      ExpressionAttributeValues={":s": {"S": "SHIPPED"}})
        in_batches("DeleteRequest", [{"Key": k} for k in keys])

        expected = 3 + 3 * MORE
        start = time.monotonic()
        command(f"aws logs filter-log-events --log-group-name {GROUP}")
        while True:
            events = self.events()
            progress(f"{len(events)} of {expected} log events", last=len(events) >= expected)
            if len(events) >= expected:
                break
            self.must_live()
            if time.monotonic() - start > 30:
                raise Failed(f"only {len(events)} of {expected} log events after 30 s")
            time.sleep(0.2)

        records = [json.loads(e["message"]) for e in events]
        ids = {r["eventID"] for r in records}
        if len(events) != expected or len(ids) != expected:
            raise Failed(f"{len(events)} log events with {len(ids)} different ids; {expected} of both were expected")
        kinds = {}
        for r in records:
            kinds.setdefault(r["dynamodb"]["Keys"]["order_id"]["S"], []).append(r["eventName"])
        wrong = [k for k, names in kinds.items() if names != list(IMAGES)]
        if wrong:
            raise Failed(f"the changes of these orders are not in order: {wrong}")
        self.last = max(records, key=lambda r: int(r["dynamodb"]["SequenceNumber"]))["dynamodb"]["SequenceNumber"]
        good("each change once, those of each order in their order")

    def look_inside(self):
        step(8, "Look inside: health, metrics, leases")
        for path in ("/livez", "/readyz"):
            command(f"curl {self.http}{path}")
            status, body = get(self.http + path)
            say(f"{status} {body.strip()}")
            if status != 200:
                raise Failed(f"{path} says {status}")
        command(f"curl {self.http}/metrics | grep ^weir_records")
        status, body = get(f"{self.http}/metrics")
        if status != 200:
            raise Failed(f"/metrics says {status}: {body}")
        for line in body.splitlines():
            if line.startswith("weir_records"):
                say(line)
        command(f"aws dynamodb scan --table-name {APPLICATION}   # one row a shard, in the format of KCL")
        self.show_leases()

    def leases(self):
        return self.dynamodb.scan(TableName=APPLICATION, ConsistentRead=True)["Items"]

    def show_leases(self):
        rows = self.leases()
        if not rows:
            raise Failed(f"the lease table {APPLICATION} is empty")
        for row in rows:
            for name, value in sorted(row.items(), key=lambda i: (i[0] != "leaseKey", i[0])):
                say(f"   {name}: {compact(next(iter(value.values())))}")

    def play(self):
        step("", "Everything stays up; in another terminal:")
        for name, value in self.ours.items():
            print(f"export {name}={value}")
        say("")
        command(f"aws dynamodb put-item --table-name {TABLE} --item '{{\"order_id\": {{\"S\": \"mine\"}}}}'")
        command(f"aws logs tail {GROUP} --follow")
        command(f"curl {self.http}/metrics")
        command(f"tail -f {self.weir_log}")
        say("Without the AWS command line: its Python client is in " + str(self.tools / "python"))
        say(paint("1", "Ctrl-C ends it."))
        try:
            while True:
                self.must_live()
                time.sleep(0.5)
        except KeyboardInterrupt:
            print()
        self.last = None  # you may have changed the table

    def drain(self):
        step(9, "Stop Weir as ECS and Kubernetes do: it finishes what is in flight, checkpoints, gives its leases back")
        command(f"kill -TERM {self.weir.pid}")
        before = self.weir_log.stat().st_size
        start = time.monotonic()
        self.weir.terminate()
        try:
            code = self.weir.wait(timeout=30)
        except subprocess.TimeoutExpired:
            raise Failed("Weir did not end within 30 s of SIGTERM") from None
        with open(self.weir_log, "rb") as log:
            log.seek(before)
            for line in log.read().decode(errors="replace").splitlines()[-12:]:
                say(paint("2", f"weir: {line[:200]}"))
        if code != 0:
            raise Failed(f"the drain ended with exit code {code}, not 0")
        good(f"exit code 0 after {time.monotonic() - start:.1f} s")
        for row in self.leases():
            owner = row.get("leaseOwner", {}).get("S")
            checkpoint = row["checkpoint"]["S"]
            if owner:
                raise Failed(f"the lease {row['leaseKey']['S']} still has an owner: {owner}")
            if self.last and checkpoint != self.last:
                raise Failed(f"the checkpoint is {checkpoint}; the last record delivered is {self.last}")
            good(f"lease {row['leaseKey']['S']}: no owner, checkpoint {checkpoint}: the next start goes on from there")

    # What the steps use.

    def must_live(self):
        if self.weir.poll() is not None:
            raise Failed(f"Weir ended with code {self.weir.returncode}")

    def events(self):
        """All events of the log group. A few hundred: one page of the emulator's."""
        try:
            return self.logs.filter_log_events(logGroupName=GROUP)["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return []  # Weir creates the group with the first event

    def show_until(self, count, seen):
        """Shows the events after `seen` until there are `count`."""
        def arrived():
            found = self.events()
            return found if len(found) >= count else None
        found = wait(f"log event {count}", 20, arrived, self.weir)
        for event in found[len(seen):]:
            show_event(event)
        return found

    def stop(self):
        """Ends what runs still; by process, never by name."""
        for process in (self.weir, self.emulator):
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def explain(self, problem):
        print(f"\n{paint('31', f'The demo failed: {problem}')}", flush=True)
        if self.weir is not None and self.weir_log.exists():
            print(f"The end of Weir's log, {self.weir_log}:")
            for line in self.weir_log.read_text(errors="replace").splitlines()[-25:]:
                print(f"   {line}")
        print(f"The emulator's log: {self.emulator_log}", flush=True)


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--target", type=Path, required=True, help="cargo's target directory")
    options.add_argument("--stay", action="store_true", help="leave everything running until Ctrl-C")
    options = options.parse_args()

    # A killed demo cleans up as well as an interrupted one.
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)

    start = time.monotonic()
    demo = Demo(options.target, options.stay)
    code = 1
    try:
        demo.run()
        code = 0
    except KeyboardInterrupt:
        print("\ninterrupted")
        code = 130
    except Failed as e:
        demo.explain(e)
    except Exception as e:  # an unexpected answer of the emulator, say: the log helps there too
        demo.explain(f"{type(e).__name__}: {e}")
    finally:
        # A second Ctrl-C must not leave a process behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        demo.stop()
    if code == 0:
        print(f"\n{paint('1', 'That was the demo')}, in {time.monotonic() - start:.0f} s; the emulator is stopped."
              f" Weir's log is {demo.weir_log}.")
        print("Next: scripts/demo --stay to play with it, scripts/test to run the tests, README.md to read on.")
    sys.exit(code)


if __name__ == "__main__":
    main()
