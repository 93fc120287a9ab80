"""A record processor of KCL's MultiLangDaemon: writes down what it gets, then checkpoints.

One process a shard. Each record becomes a line `<time> <shard> <sequence number> <n>` at the end of the file that the
first argument names, before the checkpoint that covers it: what stands there was processed, what is checkpointed stands
there.
"""

import base64
import json
import sys
import time

REPLY = "\n{}\n"


def send(message):
    sys.stdout.write(REPLY.format(json.dumps(message)))
    sys.stdout.flush()


def checkpoint(sequence_number=None, sub=None):
    """Repeats what was throttled; gives up what was lost to another worker."""
    while True:
        send({"action": "checkpoint", "sequenceNumber": sequence_number, "subSequenceNumber": sub})
        answer = json.loads(sys.stdin.readline())
        if answer.get("error") != "ThrottlingException":
            return
        time.sleep(0.1)


def main():
    shard = None
    with open(sys.argv[1], "a", encoding="utf-8") as out:
        for line in sys.stdin:
            if not line.strip():
                continue
            message = json.loads(line)
            action = message["action"]
            if action == "initialize":
                shard = message["shardId"]
            elif action == "processRecords" and message["records"]:
                now = time.time()
                for record in message["records"]:
                    n = json.loads(base64.b64decode(record["data"]))["n"]
                    out.write(f"{now:.3f} {shard} {record['sequenceNumber']} {n}\n")
                out.flush()
                last = message["records"][-1]
                checkpoint(last["sequenceNumber"], last.get("subSequenceNumber"))
            elif action in ("shardEnded", "shutdownRequested"):
                checkpoint()
            send({"action": "status", "responseFor": action})


main()
