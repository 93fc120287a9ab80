"""Stands before the Kinesis emulator for KCL, and adds what the emulator's answers lack.

KCL speaks HTTP/2 without TLS, and takes a shard for ended only if GetRecords names its children. ferrokinesis doesn't; this
does. JSON only: KCL's JVM is started with -Daws.cborEnabled=false.
"""

import asyncio
import http.client
import json
import threading

from hypercorn.asyncio import serve
from hypercorn.config import Config

from streams_proxy import list_shards


class KinesisProxy:
    def __init__(self, port, kinesis, stream, emulator_port):
        self.kinesis, self.stream, self.emulator_port = kinesis, stream, emulator_port
        self.shards = {}  # iterator -> shard
        config = Config()
        config.bind = [f"127.0.0.1:{port}"]
        config.loglevel = "WARNING"

        def run():
            forever = asyncio.new_event_loop()
            forever.run_until_complete(serve(self.app, config, shutdown_trigger=lambda: asyncio.Event().wait()))

        threading.Thread(target=run, daemon=True).start()

    async def app(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        status, kept, answer = await asyncio.to_thread(self.ask, headers, scope["path"], body)
        await send({"type": "http.response.start", "status": status,
                    "headers": [(k.lower().encode(), v.encode()) for k, v in kept]})
        await send({"type": "http.response.body", "body": answer})

    def ask(self, headers, path, body):
        onward = http.client.HTTPConnection("127.0.0.1", self.emulator_port, timeout=30)
        try:
            passed = {k: v for k, v in headers.items() if k not in ("host", "content-length", "connection")}
            onward.request("POST", path, body, passed)
            got = onward.getresponse()
            answer = got.read()
            kept = [(k, v) for k, v in got.getheaders() if k.lower() in ("content-type", "x-amzn-requestid")]
        finally:
            onward.close()
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        if got.status == 200 and action in ("GetShardIterator", "GetRecords"):
            answer = self.looked_at(action, json.loads(body), answer)
        return got.status, kept + [("content-length", str(len(answer)))], answer

    def looked_at(self, action, request, text):
        answer = json.loads(text)
        if action == "GetShardIterator":
            self.shards[answer["ShardIterator"]] = request["ShardId"]
            return text
        shard = self.shards[request["ShardIterator"]]
        if answer.get("NextShardIterator"):
            self.shards[answer["NextShardIterator"]] = shard
            return text
        answer["ChildShards"] = []
        for other in list_shards(self.kinesis, self.stream):
            parents = [other[k] for k in ("ParentShardId", "AdjacentParentShardId") if k in other]
            if shard in parents:
                answer["ChildShards"].append({"ShardId": other["ShardId"], "ParentShards": parents,
                                              "HashKeyRange": other["HashKeyRange"]})
        return json.dumps(answer).encode()
