"""Processes, run and measured: the fake, and whatever does the job before it. Linux, standard library alone.

CPU is user and system time. Of a session it is that of all its processes, those that ended too; what a peer starts in
a session of its own is not counted.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def processes(session):
    """{pid: (parent, own seconds with those of the children it waited for)} of a session."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # Fields of proc(5) from the third on: state, ppid, pgrp, session, … utime, stime, cutime, cstime.
        if int(fields[3]) == session:
            found[int(name)] = (int(fields[1]), sum(int(f) for f in fields[11:15]) / TICKS)
    return found


def exact_cpu(pid):
    """Seconds of the threads that live, in nanoseconds where /proc/PID/stat has hundredths."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def memory(pid, file, key):
    """A line of status or smaps_rollup, in MiB."""
    try:
        with open(f"/proc/{pid}/{file}", encoding="ascii", errors="replace") as lines:
            return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), 0.0)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


class Session:
    """What runs in one session: sampled, since what has ended tells nothing more."""

    def __init__(self, leader):
        self.leader = leader
        self.last, self.lost, self.peak = {}, 0.0, 0.0

    def cpu(self):
        now = processes(self.leader)
        for pid, (parent, seconds) in self.last.items():
            # Who waits for a child takes its time over; of an orphan we have what we saw last.
            if pid not in now and parent not in now:
                self.lost += seconds
        self.last = now
        return self.lost + sum(seconds for _, seconds in now.values())

    def resident(self):
        """Proportional set size in MiB: pages that processes share are counted once. And the peak so far."""
        total = sum(memory(pid, "smaps_rollup", "Pss:") for pid in processes(self.leader))
        self.peak = max(self.peak, total)
        return total

    def end(self, patience=20):
        """SIGTERM to the leader, later SIGKILL to all that is left."""
        try:
            os.kill(self.leader, signal.SIGTERM)
        except ProcessLookupError:
            pass
        until = time.monotonic() + patience
        while time.monotonic() < until and os.waitpid(self.leader, os.WNOHANG)[0] == 0:
            time.sleep(0.05)
        for pid in processes(self.leader):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Fake:
    """The fake AWS, as a process of its own."""

    def __init__(self, rig, *arguments):
        self.process = subprocess.Popen([rig, "fake", *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake did not start: rig fake {' '.join(map(str, arguments))}")
        self.address = json.loads(line)["address"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stats(self, what="stats"):
        with urllib.request.urlopen(f"http://{self.address}/{what}", timeout=30) as answer:
            return json.load(answer)

    def environment(self):
        """For whoever takes it for AWS."""
        services = ("", "_DYNAMODB", "_DYNAMODB_STREAMS", "_KINESIS", "_CLOUDWATCH_LOGS")
        return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WEIR_LOG", "OTEL_"))} | {
            "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        } | {f"AWS_ENDPOINT_URL{service}": f"http://{self.address}" for service in services}


class Run:
    """What one run took. `stats` is what the fake saw by its end."""

    def __init__(self, stats, cpu, start_cpu, peak, cold, idle=None, note=""):
        self.stats, self.cpu, self.start_cpu, self.peak, self.cold, self.idle, self.note = (
            stats, cpu, start_cpu, peak, cold, idle, note)


def alone(fake, command, log, limit, settle=0.0):
    """A single process that does the job and ends at SIGTERM: Weir. With `settle`, it is left to idle so long instead."""
    before = fake.stats()["now_ms"]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=fake.environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    start_cpu, idle, note, began = None, None, "", time.monotonic()
    while True:
        # So often only until the first record: what is spent meanwhile counts for the start.
        time.sleep(0.005 if start_cpu is None else 0.05)
        stats = fake.stats()
        if start_cpu is None and stats["first_records"]:
            start_cpu = exact_cpu(process.pid)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: see {log}")
        waited = time.monotonic() - began
        if settle and waited >= settle:
            idle = memory(process.pid, "status", "VmRSS:")
            break
        if not settle and stats["done"]:
            break
        if waited > limit:
            note = f"not done after {limit} s"
            break
    peak = memory(process.pid, "status", "VmHWM:")
    process.send_signal(signal.SIGTERM)
    until, ended = time.monotonic() + 60, 0
    while ended == 0:
        time.sleep(0.01)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if time.monotonic() > until:
            process.kill()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        note = f"{note} ended with {process.returncode}".strip()
    stats = fake.stats("stats?latencies")
    first = stats["first_put"]
    cold = (first["ms"] - before) / 1e3 if first else None
    return Run(stats, usage.ru_utime + usage.ru_stime, start_cpu or 0.0, peak, cold, idle, note)


def peer(fake, command, variables, log, limit):
    """A program of any number of processes, in a session of its own, measured up to the last put."""
    before = fake.stats()["now_ms"]
    with open(log, "wb") as out:
        process = subprocess.Popen(command, env=fake.environment() | variables, stdout=out, stderr=out,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
    session, start_cpu, idle, note, began, turn = Session(process.pid), None, None, "", time.monotonic(), 0
    try:
        while True:
            time.sleep(0.05)
            stats, cpu, turn = fake.stats(), session.cpu(), turn + 1
            # Dear for large processes, so not each time.
            resident = session.resident() if turn % 5 == 1 or (start_cpu is None and stats["first_records"]) else None
            if start_cpu is None and stats["first_records"]:
                start_cpu, idle = cpu, resident
            if stats["done"]:
                break
            if process.poll() is not None:
                note = f"ended with {process.returncode}: see {log}"
                break
            if time.monotonic() - began > limit:
                note = f"not done after {limit} s"
                break
        cpu = session.cpu()
        session.resident()
    finally:
        session.end()
        process.poll()
    stats = fake.stats("stats?latencies")
    first = stats["first_put"]
    return Run(stats, cpu, start_cpu or 0.0, session.peak, (first["ms"] - before) / 1e3 if first else None, idle, note)


def floor(rig, fake, kind, shards, ratio):
    """What `rig floor` says of itself, and what the fake saw."""
    command = [rig, "floor", "--fake", fake.address, "--kind", kind, "--shards", str(shards), "--ratio", f"{ratio:.4f}"]
    if kind == "audit":
        command.append("--inflate")
    said = subprocess.run(command, check=True, text=True, capture_output=True, timeout=120).stdout
    return json.loads(said), fake.stats()
