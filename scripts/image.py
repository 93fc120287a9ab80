"""What scripts/image run shows of the image: it works as Kubernetes' restricted profile lets it.

Containers of podman and runc on this machine's own network, an emulated AWS. Each claim is checked, and the first that
doesn't hold ends it. Whatever happens, the containers and processes started here are ended.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from demo import Failed, environment, free_port, get, wait

TABLE, GROUP, APPLICATION = "orders", "/cdc/orders", "weir"
USER = 65532
GRACE = 30  # seconds that the platforms give by default
MEMORY = 128 << 20
CHANGES = 400

SETTINGS = f"""application: {APPLICATION}
pipelines:
  orders:
    source: {{ dynamodb_table: {TABLE} }}
    destination: {{ group: {GROUP} }}
"""


def good(text):
    print(f"ok: {text}", flush=True)


def same(what, found, expected):
    if found != expected:
        raise Failed(f"{what} is {found!r}, but should be {expected!r}")


class Container:
    """A worker, held as tightly as the restricted profile allows, and more: its root is read-only without exceptions."""

    def __init__(self, show, *arguments, settings=SETTINGS, endpoint=None, options=()):
        self.show = show
        self.name = f"weir-{uuid.uuid4().hex[:12]}"
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        file = show.dir / f"{self.name}.yaml"
        file.write_text(settings)
        file.chmod(0o444)
        variables = environment(endpoint or show.endpoint)[1] | {
            "WEIR_CONFIG": "/etc/weir/weir.yaml", "WEIR_HTTP_ADDRESS": self.address}
        self.command = [
            "run", *options, "--detach", "--name", self.name,
            "--network", "host", "--no-hosts", "--log-driver", "k8s-file",
            "--read-only", "--read-only-tmpfs=false", "--user", f"{USER}:{USER}",
            "--cap-drop", "all", "--security-opt", "no-new-privileges", "--memory", str(MEMORY),
            "--volume", f"{file}:/etc/weir/weir.yaml:ro",
            *[word for key, value in variables.items() for word in ("--env", f"{key}={value}")],
            show.image, *arguments]
        show.containers.append(self)

    def start(self):
        self.show.podman(*self.command)
        self.pid = self.inspect("{{.State.Pid}}")
        return self

    def inspect(self, what):
        return self.show.podman("inspect", "--format", what, self.name).strip()

    def logs(self):
        return self.show.podman("logs", self.name, merged=True)

    def kernel(self):
        """What the kernel says of the process."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def ready(self):
        start = time.monotonic()
        wait("/readyz to say 200", 30, lambda: self.must_live() or get(f"{self.url}/readyz")[0] == 200)
        return time.monotonic() - start

    def must_live(self):
        if self.inspect("{{.State.Running}}") != "true":
            raise Failed(f"{self.name} ended with code {self.inspect('{{.State.ExitCode}}')}")

    def kill(self, name):
        self.show.podman("kill", "--signal", name, self.name)

    def ended(self, seconds):
        """The exit code."""
        wait("the container to end", seconds, lambda: self.inspect("{{.State.Running}}") == "false")
        return int(self.inspect("{{.State.ExitCode}}"))

    def exec(self, *words):
        """The exit code and the words of a command inside."""
        done = self.show.call("exec", self.name, *words)
        return done.returncode, (done.stdout + done.stderr).strip()


class Show:
    def __init__(self, options):
        self.work, self.image = options.work, options.image
        self.tools = options.tools / "venv" / "bin"
        self.dir = self.work / f"show-{os.getpid()}"
        self.dir.mkdir()
        self.dir.chmod(0o755)
        self.containers = []
        self.emulator = None

    def call(self, *words):
        podman = ["podman", "--root", self.work / "store", "--runroot", self.work / "run", *words]
        return subprocess.run(podman, capture_output=True, text=True, timeout=120)

    def podman(self, *words, merged=False):
        done = self.call(*words)
        if done.returncode != 0:
            raise Failed(f"podman {' '.join(map(str, words))}: code {done.returncode}\n{done.stderr.strip()}")
        return done.stdout + done.stderr if merged else done.stdout

    def run(self):
        self.image_itself()
        self.start_emulator()
        self.main_job()
        self.wrong_setting()
        self.stop_while_starting()
        self.second_signal()
        self.interrupted_command()

    def image_itself(self):
        found = json.loads(self.podman("image", "inspect", self.image))[0]
        config = found["Config"]
        same("the image's user", config["User"], f"{USER}:{USER}")
        same("the entry point", config["Entrypoint"], ["/usr/local/bin/weir"])
        self.version = config["Labels"]["org.opencontainers.image.version"]
        asked = self.podman("run", "--rm", "--network", "none", self.image, "--version").strip()
        same("weir --version", asked, f"weir {self.version}")
        good(f"{asked}, image of {found['Size'] / 1e6:.1f} MB for {found['Architecture']}, binary of"
             f" {(self.work / 'weir').stat().st_size / 1e6:.1f} MB")

    def start_emulator(self):
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        with open(self.dir / "emulator.log", "w") as log:
            self.emulator = subprocess.Popen(
                [self.tools / "ministack"],
                env=environment(self.endpoint)[0] | {
                    "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "WARNING",
                    "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait("the emulator", 30, lambda: get(f"{self.endpoint}/_ministack/health")[0] == 200, self.emulator)

        import boto3  # slow to import
        from botocore.config import Config

        def client(service):
            return boto3.client(service, endpoint_url=self.endpoint, region_name="ap-northeast-1",
                                aws_access_key_id="demo", aws_secret_access_key="demo", config=Config(proxies={}))

        self.dynamodb, self.logs = client("dynamodb"), client("logs")
        self.dynamodb.create_table(
            TableName=TABLE, BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})

    def main_job(self):
        """A table's changes into a log group, while the container is replaced by another."""
        first = Container(self).start()
        good(f"ready {first.ready():.1f} s after its start")
        self.held(first)
        self.looks(first)

        stop, failure = threading.Event(), []

        def change():
            try:
                for n in range(CHANGES):
                    self.dynamodb.put_item(TableName=TABLE, Item={"id": {"S": f"order-{n:04}"}})
                    time.sleep(0.01)
            except Exception as e:
                failure.append(e)
            finally:
                stop.set()

        writer = threading.Thread(target=change, daemon=True)
        writer.start()
        wait("the first events", 30, lambda: len(self.delivered()) > CHANGES // 10)
        if stop.is_set():
            raise Failed("the table was changed before the container could be stopped: nothing was in flight")
        start = time.monotonic()
        self.podman("stop", "--time", str(GRACE), first.name)
        took = time.monotonic() - start
        same("the exit code after SIGTERM", int(first.inspect("{{.State.ExitCode}}")), 0)
        if took >= GRACE:
            raise Failed(f"the drain took {took:.1f} s of {GRACE}")
        rows = self.dynamodb.scan(TableName=APPLICATION, ConsistentRead=True)["Items"]
        same("the owners left by the drain", [row["leaseOwner"] for row in rows if "leaseOwner" in row], [])
        good(f"SIGTERM amid changes: exit code 0 after {took:.1f} s of {GRACE}, all leases given back")
        # The place of the settings that are mounted is podman's doing.
        same("what was written to the root", self.podman("diff", first.name).splitlines(),
             ["C /etc", "A /etc/weir", "A /etc/weir/weir.yaml"])
        good("nothing was written to the root")

        second = Container(self).start()
        second.ready()
        writer.join(60)
        if failure:
            raise Failed(f"the table could not be changed: {failure[0]}")
        wait("all events", 30, lambda: len(self.delivered()) >= CHANGES)
        second.kill("TERM")
        same("the exit code of the second", second.ended(GRACE), 0)
        delivered = self.delivered()
        keys = sorted(json.loads(message)["dynamodb"]["Keys"]["id"]["S"] for message in delivered)
        same("the changes delivered by the two", keys, [f"order-{n:04}" for n in range(CHANGES)])
        good(f"{CHANGES} changes in the log group, each once, by a container and its successor")

    def held(self, container):
        """It is held as tightly as was asked for."""
        kernel = container.kernel()
        same("the users of the process", kernel["Uid"].split(), [str(USER)] * 4)
        same("the groups of the process", kernel["Gid"].split(), [str(USER)] * 4)
        for key in ("CapEff", "CapPrm", "CapBnd"):
            same(key, int(kernel[key], 16), 0)
        same("no_new_privs", kernel["NoNewPrivs"], "1")
        same("the mode of seccomp", kernel["Seccomp"], "2")
        same("the number inside", kernel["NSpid"].split()[-1], "1")
        root = next(line for line in Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()
                    if line.split()[4] == "/")
        same("the root", root.split()[5].split(",")[0], "ro")
        good(f"PID 1 of user {USER}, no capability, no new privileges, seccomp, read-only root without a tmpfs,"
             f" {MEMORY >> 20} MiB")
        good(f"memory at rest: {int(kernel['VmRSS'].split()[0]) / 1024:.1f} MiB resident, of which"
             f" {int(kernel['RssAnon'].split()[0]) / 1024:.1f} MiB are its own; {kernel['Threads']} threads")

    def looks(self, container):
        """What is asked of it from outside and from inside."""
        for path in ("/livez", "/startupz", "/readyz"):
            same(path, get(container.url + path)[0], 200)
        status, metrics = get(f"{container.url}/metrics")
        same("/metrics", status, 200)
        build = f'weir_build_info{{version="{self.version}"}} 1'
        if build not in metrics.splitlines():
            raise Failed(f"/metrics has no line `{build}`")
        good(f"/livez, /startupz, /readyz say 200; /metrics says {build}")
        self.podman("healthcheck", "run", container.name)
        code, told = container.exec("/usr/local/bin/weir", "health", "--ready")
        same("weir health --ready", (code, told), (0, "ready"))
        code, told = container.exec("/bin/sh", "-c", "true")
        if code == 0:
            raise Failed("the image has a shell")
        good("the image's own health check passes, without a shell in it")

    def wrong_setting(self):
        wrong = Container(self, settings=SETTINGS.replace("destination", "target")).start()
        same("the exit code after a wrong setting", wrong.ended(10), 2)
        told = wrong.logs()
        if "pipelines.orders.target" not in told:
            raise Failed(f"the message doesn't name the key:\n{told}")
        good(f"a wrong setting: exit code 2, {' '.join(told.split())[:160]}")

    def stop_while_starting(self):
        """PID 1 gets no signal that it doesn't handle; it handles SIGTERM before it asks AWS anything."""
        # A listener that never answers: no start gets past it.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            container = Container(self, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}").start()
            terminate = 1 << (signal.SIGTERM - 1)
            wait("SIGTERM to be handled", 10, lambda: int(container.kernel()["SigCgt"], 16) & terminate)
            same("/readyz", get(f"{container.url}/readyz")[0] == 200, False)
            container.kill("TERM")
            same("the exit code of a start that was stopped", container.ended(GRACE), 0)
            good("SIGTERM while it waits for an AWS that doesn't answer: exit code 0")

    def second_signal(self):
        container = Container(self).start()
        container.ready()
        # AWS freezes: the drain can't end by itself.
        self.emulator.send_signal(signal.SIGSTOP)
        try:
            container.kill("TERM")
            wait("the drain", 10, lambda: "draining" in container.logs())
            container.kill("TERM")
            same("the exit code after a second SIGTERM", container.ended(5), 128 + signal.SIGTERM)
        finally:
            self.emulator.send_signal(signal.SIGCONT)
        good("a second SIGTERM ends a drain that AWS holds up: exit code 143")

    def interrupted_command(self):
        """A command that a person runs in a container can be interrupted, too."""
        # It waits for records on standard input, which stays open.
        container = Container(self, "decode", options=("--interactive",)).start()
        wait("SIGINT to be handled", 10, lambda: int(container.kernel()["SigCgt"], 16) & 1 << (signal.SIGINT - 1))
        container.kill("INT")
        same("the exit code of a command after SIGINT", container.ended(5), 128 + signal.SIGINT)
        good("SIGINT ends a command: exit code 130")

    def delivered(self):
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP)
            return [event["message"] for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []  # Weir creates the group with the first event

    def explain(self, problem):
        print(f"\nThe image failed: {problem}", file=sys.stderr)
        for container in self.containers:
            told = self.call("logs", container.name)
            if told.returncode == 0:
                print(f"The end of the log of {container.name}:", file=sys.stderr)
                for line in (told.stdout + told.stderr).splitlines()[-15:]:
                    print(f"   {line}", file=sys.stderr)

    def stop(self):
        for container in self.containers:
            self.call("rm", "--force", "--ignore", "--time", "0", container.name)
        if self.emulator is not None and self.emulator.poll() is None:
            self.emulator.send_signal(signal.SIGCONT)
            self.emulator.terminate()
            try:
                self.emulator.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.emulator.kill()
                self.emulator.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, required=True, help="scripts/image's directory")
    options.add_argument("--tools", type=Path, required=True, help="scripts/tools' directory")
    options.add_argument("--image", required=True)
    options = options.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    show = Show(options)
    code = 1
    try:
        show.run()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except Failed as e:
        show.explain(e)
    except Exception as e:  # an unexpected answer of podman or the emulator, say
        show.explain(f"{type(e).__name__}: {e}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        show.stop()
    sys.exit(code)


if __name__ == "__main__":
    main()
