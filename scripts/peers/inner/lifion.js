'use strict';

// lifion-kinesis with puts in batches by the AWS SDK for JavaScript. It reads a shard on when what it gave was put, so a
// checkpoint covers nothing that wasn't.

const http = require('node:http');
const https = require('node:https');
const zlib = require('node:zlib');
const { CloudWatchLogsClient, CreateLogGroupCommand, CreateLogStreamCommand, PutLogEventsCommand } = require('@aws-sdk/client-cloudwatch-logs');
const Kinesis = require('lifion-kinesis');

const { BENCH_GROUP, BENCH_KIND, BENCH_STREAM, AWS_REGION } = process.env;
const CHECKPOINT = 15_000; // ms, as Weir's default
const EVENTS = 10_000, BYTES = 1_048_576, OVERHEAD = 26, SPAN = 24 * 3600 * 1000; // the rules of PutLogEvents

const logs = new CloudWatchLogsClient({ endpoint: process.env.AWS_ENDPOINT_URL_CLOUDWATCH_LOGS, maxAttempts: 10 });

// The data of a record, and when it arrived, to its log events.
function eventsOf({ data, approximateArrivalTimestamp }) {
  if (BENCH_KIND !== 'audit') {
    const message = Buffer.isBuffer(data) ? data.toString() : JSON.stringify(data);
    return [{ timestamp: +approximateArrivalTimestamp, message }];
  }
  const envelope = JSON.parse(zlib.gunzipSync(data));
  if (envelope.messageType !== 'DATA_MESSAGE') return [];
  return envelope.logEvents.map(({ timestamp, message }) => ({ timestamp, message }));
}

function* batches(events) {
  let batch = [];
  let size = 0;
  for (const event of events.sort((a, b) => a.timestamp - b.timestamp)) {
    const cost = OVERHEAD + Buffer.byteLength(event.message);
    const full = batch.length === EVENTS || size + cost > BYTES;
    if (batch.length && (full || event.timestamp - batch[0].timestamp >= SPAN)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(event);
    size += cost;
  }
  if (batch.length) yield batch;
}

async function make(command) {
  await logs.send(command).catch((error) => {
    if (error.name !== 'ResourceAlreadyExistsException') throw error;
  });
}

const checkpointed = {};

async function take({ records, shardId, setCheckpoint, continuePolling }) {
  if (!checkpointed[shardId]) {
    await make(new CreateLogGroupCommand({ logGroupName: BENCH_GROUP }));
    await make(new CreateLogStreamCommand({ logGroupName: BENCH_GROUP, logStreamName: shardId }));
    checkpointed[shardId] = Date.now();
  }
  for (const logEvents of batches(records.flatMap(eventsOf))) {
    const command = new PutLogEventsCommand({ logGroupName: BENCH_GROUP, logStreamName: shardId, logEvents });
    const { rejectedLogEventsInfo } = await logs.send(command);
    if (rejectedLogEventsInfo) throw new Error(`rejected: ${JSON.stringify(rejectedLogEventsInfo)}`);
  }
  if (Date.now() - checkpointed[shardId] >= CHECKPOINT) {
    const { approximateArrivalTimestamp, sequenceNumber } = records[records.length - 1];
    await setCheckpoint(sequenceNumber, approximateArrivalTimestamp);
    checkpointed[shardId] = Date.now();
  }
  continuePolling();
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

// aws-sdk 2, which lifion uses, opens a connection for each request unless it is told otherwise.
function options(service) {
  const endpoint = process.env[`AWS_ENDPOINT_URL_${service}`];
  const { Agent } = endpoint.startsWith('https:') ? https : http;
  return { endpoint, region: AWS_REGION, httpOptions: { agent: new Agent({ keepAlive: true }) } };
}

const kinesis = new Kinesis({
  ...options('KINESIS'),
  dynamoDb: { ...options('DYNAMODB'), tableName: 'bench-lifion' },
  streamName: BENCH_STREAM,
  consumerGroup: 'peer',
  createStreamIfNeeded: false,
  initialPositionInStream: 'TRIM_HORIZON',
  shouldDeaggregate: BENCH_KIND === 'kpl',
  // What looks like JSON it parses, unless told not to; then it would copy each record byte by byte into an object, which
  // takes three times the time. So numbers may be written differently from how they came.
  shouldParseJson: 'auto',
  useAutoCheckpoints: false,
  usePausedPolling: true,
  noRecordsPollDelay: 250,
  logger: { warn: console.warn, error: console.error },
});
kinesis.on('data', (given) => take(given).catch(fail));
kinesis.on('error', fail);
kinesis.startConsumer().catch(fail);
