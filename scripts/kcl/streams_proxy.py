"""Speaks the DynamoDB Streams API over a Kinesis stream, so that Weir and KCL read the same shards.

One table with one stream, whose shards, sequence numbers and iterators are those of the Kinesis stream. A record's `n` is
its new image's only attribute. All other requests (DynamoDB, CloudWatch Logs) go to an AWS emulator as they are.

A shard of DynamoDB's has one parent: of a merge's child the listing tells but one. Weir reads the other from the lease, if
KCL has made it.
"""

import base64
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.exceptions import ClientError

STREAMS = "DynamoDBStreams_20120810."
# Kinesis' words for what DynamoDB Streams says otherwise.
ERRORS = {"ExpiredIteratorException": "ExpiredIteratorException", "ResourceNotFoundException": "ResourceNotFoundException",
          "ProvisionedThroughputExceededException": "LimitExceededException"}


class Proxy:
    def __init__(self, port, kinesis, stream, arn, table, emulator_port):
        self.kinesis, self.stream, self.arn, self.table = kinesis, stream, arn, table
        self.emulator_port = emulator_port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, answer = proxy.answer(self.headers, body, self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, headers, body, path):
        target = headers.get("X-Amz-Target", "")
        action = target.rpartition(".")[2]
        if target.startswith(STREAMS):
            try:
                status, answer = 200, getattr(self, action)(json.loads(body))
            except ClientError as e:
                code = e.response["Error"]["Code"]
                status = 400
                answer = {"__type": "com.amazonaws.dynamodb.v20120810#" + ERRORS.get(code, "InternalServerError"),
                          "message": str(e)}
            return status, "application/x-amz-json-1.0", json.dumps(answer).encode()
        if action == "DescribeTable" and json.loads(body).get("TableName") == self.table:
            answer = {"Table": {"TableName": self.table, "TableStatus": "ACTIVE", "LatestStreamArn": self.arn}}
            return 200, "application/x-amz-json-1.0", json.dumps(answer).encode()
        onward = http.client.HTTPConnection("127.0.0.1", self.emulator_port, timeout=30)
        try:
            passed = {k: v for k, v in headers.items() if k.lower() not in ("host", "content-length", "connection")}
            onward.request("POST", path, body, passed)
            answer = onward.getresponse()
            return answer.status, answer.getheader("Content-Type", "application/x-amz-json-1.0"), answer.read()
        finally:
            onward.close()

    def ListStreams(self, _):
        return {"Streams": [{"StreamArn": self.arn, "TableName": self.table, "StreamLabel": self.arn.rpartition("/")[2]}]}

    def DescribeStream(self, request):
        shards = []
        for shard in list_shards(self.kinesis, self.stream):
            known = {"ShardId": shard["ShardId"], "SequenceNumberRange": shard["SequenceNumberRange"]}
            if "ParentShardId" in shard:
                known["ParentShardId"] = shard["ParentShardId"]
            wanted = request.get("ShardFilter", {}).get("ShardId")
            if wanted is None or known.get("ParentShardId") == wanted:
                shards.append(known)
        return {"StreamDescription": {"StreamArn": self.arn, "StreamStatus": "ENABLED", "TableName": self.table,
                                      "StreamViewType": "NEW_IMAGE", "Shards": shards}}

    def GetShardIterator(self, request):
        wanted = {"StreamName": self.stream, "ShardId": request["ShardId"],
                  "ShardIteratorType": request["ShardIteratorType"]}
        if "SequenceNumber" in request:
            wanted["StartingSequenceNumber"] = request["SequenceNumber"]
        return {"ShardIterator": self.kinesis.get_shard_iterator(**wanted)["ShardIterator"]}

    def GetRecords(self, request):
        answer = self.kinesis.get_records(ShardIterator=request["ShardIterator"], Limit=request.get("Limit", 1000))
        found = {"Records": [self.record(r) for r in answer["Records"]]}
        if answer.get("NextShardIterator"):
            found["NextShardIterator"] = answer["NextShardIterator"]
        return found

    def record(self, record):
        n = json.loads(record["Data"])["n"]
        return {"eventID": record["SequenceNumber"], "eventName": "INSERT", "eventVersion": "1.1",
                "eventSource": "aws:dynamodb", "awsRegion": self.arn.split(":")[3],
                "dynamodb": {"ApproximateCreationDateTime": record["ApproximateArrivalTimestamp"].timestamp(),
                             "Keys": {"n": {"N": str(n)}}, "NewImage": {"n": {"N": str(n)}},
                             "SequenceNumber": record["SequenceNumber"], "SizeBytes": len(base64.b64encode(record["Data"])),
                             "StreamViewType": "NEW_IMAGE"}}


def list_shards(kinesis, stream):
    answer = kinesis.list_shards(StreamName=stream)
    shards = answer["Shards"]
    while "NextToken" in answer:
        answer = kinesis.list_shards(NextToken=answer["NextToken"])
        shards += answer["Shards"]
    return shards
