"""How scripts/bench calls a peer: `NAME.py install | describe | run`, each an executable that ends in main().

`describe` prints one line of JSON; `install` makes sure it can run; `run` reads, decodes and puts until a signal ends it.
`run` turns into the program that is measured: nothing of this stays in its memory or its time. What is not the peer's own
cost (an emulator for its tables of leases, a proxy) runs in a session of its own and ends with it.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def tools():
    """The directory that scripts/tools fills."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "tools"


def python():
    return str(tools() / "peers" / "bin" / "python")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def beside(name, command, port, **environment):
    """Starts what serves the peer on `port`, waits until it listens, and has it end with this process."""
    with open(Path(os.environ["BENCH_DIR"]) / f"{name}.log", "wb") as out:
        helper = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=os.environ | environment,
                                  start_new_session=True, preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    for _ in range(600):
        if helper.poll() is not None:
            sys.exit(f"{name} ended with {helper.returncode}; see {out.name}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    sys.exit(f"{name} does not listen; see {out.name}")


def lease_tables():
    """DynamoDB for the peer's tables of leases, and a place for metrics that it can't be kept from sending."""
    port = free_port()
    url = beside("ministack", [str(tools() / "venv" / "bin" / "ministack")], port, GATEWAY_PORT=str(port),
                 BIND_HOST="127.0.0.1", IOT_MTLS_ENABLED="0", SFTP_ENABLED="0")
    os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = os.environ["AWS_ENDPOINT_URL_CLOUDWATCH"] = url


def run(*command):
    """Turns this process into the peer."""
    # Nothing of the caller's own configuration.
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true")
    os.execvp(command[0], [str(part) for part in command])


def main(description, start):
    match sys.argv[1:]:
        case ["describe"]:
            print(json.dumps(description))
        case ["install"]:
            subprocess.run([str(ROOT / "scripts" / "tools"), "peers"], check=True)
        case ["run"]:
            start()
        case _:
            sys.exit(f"usage: {sys.argv[0]} install | describe | run")
