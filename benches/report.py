"""What is run, what a row is, and which goals are met. Pure: no process, no file, no clock."""

KINDS = ("change", "plain", "audit", "kpl")
SIZES = (200, 1024, 16384)
SHARDS = (1, 4, 16, 256)
LINES, AGGREGATE = 80, 50
# Of the peers and of what Weir is held against them.
PEERS_SHARDS, PEERS_SIZE = 4, 1024
# The one of which the memory with nothing to do is wanted too (scripts/peers).
IDLE_PEER = "kcl"
LIVE_DELAY_MS = 5
IDLE_POLL_MS = 1000
# Events a second, over all shards; and the most of one: a Kinesis shard takes 1 MB a second, half of it is busy.
LIVE_RATE, LIVE_SHARD_RATE = 2000, 500


def cells(quick):
    """(kind, size, shards) of each run; an envelope's size is given by its lines, and stands as 0."""
    every = [(kind, 0 if kind == "audit" else size, shards)
             for kind in KINDS for size in SIZES for shards in SHARDS if kind != "audit" or size == SIZES[0]]
    few = {("change", 1024, 1), ("change", 1024, 16), ("change", 1024, 256), ("plain", 1024, 4), ("plain", 1024, 16),
           ("audit", 0, 4), ("kpl", 1024, 4)}
    return [cell for cell in every if not quick or cell in few]


def live_cells(quick):
    """Those of the latencies. The time of an audit line lies inside the gzip, which is canned."""
    return [(kind, 1024, shards) for kind in ("change", "plain", "kpl") for shards in ((1, 16) if quick else SHARDS)]


def records(kind, size, shards):
    """So many that a run takes seconds: of a Kinesis shard one answer of 10 MB, and what four seconds give afterwards.
    Of 256 shards four times as many, or their start (an iterator, a log stream and a checkpoint each) would be all."""
    if kind == "change":
        most = min(300_000, int(250e6 / (size + 330)))
        count = most // 2 if shards == 1 else most
    else:
        of_one = {"plain": size, "audit": 50 * LINES, "kpl": AGGREGATE * (size + 10)}[kind]
        each = {"plain": 1, "audit": LINES, "kpl": AGGREGATE}[kind]
        count = min(int(min(100e6, shards * 18e6) / of_one), (640_000 if kind == "audit" else 200_000) // each)
    count *= 4 if shards == 256 else 1
    return max(shards * 2, -(-count // shards) * shards)


def row(program, cell, run):
    """A line of the table, of a `measure.Run`."""
    stats = run.stats
    first, last = stats["first_records"], stats["last_put"]
    seconds = max((last["ms"] - first["ms"]) / 1e3, 1e-3) if first and last else None
    events = stats["events"]
    requests = stats["requests"]
    count = lambda part: sum(n for name, n in requests.items() if part in name)
    return {
        "program": program, "kind": cell[0], "size": cell[1], "shards": cell[2], "events": events,
        "events_per_s": events / seconds if seconds else None,
        "cpu_s": run.cpu, "start_cpu_s": run.start_cpu,
        "cpu_per_million": (run.cpu - run.start_cpu) / events * 1e6 if events else None,
        "cpu_per_million_with_start": run.cpu / events * 1e6 if events else None,
        "mb_per_s": stats["get_bytes"] / 1e6 / seconds if seconds else None,
        "peak_mib": run.peak, "cold_s": run.cold,
        "answer_to_put_ms": stats["answer_to_put_ms"], "write_to_log_ms": stats["write_to_log_ms"],
        "get_records": count("GetRecords"), "put_log_events": count("PutLogEvents"),
        "state": count("DynamoDB_20120810"), "requests": requests, "refused": stats["refused"],
        "put_bytes": stats["put_bytes"], "get_bytes": stats["get_bytes"],
        "fake_cpu_s": stats["cpu_s"], "fake_cores": fake_cores(stats), "note": note(run.note, stats),
    }


def floor_row(cell, events, said, stats):
    """The floor's line; it knows no events, those are Weir's."""
    seconds = max((stats["last_put"]["ms"] - stats["first_records"]["ms"]) / 1e3, 1e-3)
    return {
        "program": "floor", "kind": cell[0], "size": cell[1], "shards": cell[2], "events": events,
        "events_per_s": events / seconds, "cpu_s": said["cpu_s"], "start_cpu_s": 0.0,
        "cpu_per_million": said["cpu_s"] / events * 1e6, "cpu_per_million_with_start": said["cpu_s"] / events * 1e6,
        "mb_per_s": said["received"] / 1e6 / seconds, "peak_mib": None, "cold_s": None, "get_records": said["gets"],
        "put_log_events": said["puts"], "state": 0, "refused": stats["refused"], "put_bytes": said["sent"], "get_bytes": said["received"],
        "fake_cpu_s": stats["cpu_s"], "fake_cores": fake_cores(stats), "note": "",
    }


def fake_cores(stats):
    """Cores that the fake used from the first record to the last put."""
    first, last = stats["first_records"], stats["last_put"]
    if not first or not last or last["ms"] <= first["ms"]:
        return 0.0
    return (last["cpu"] - first["cpu"]) / (last["ms"] - first["ms"]) * 1e3


def note(said, stats):
    notes = [said] if said else []
    if stats["expected_events"] and stats["events"] > stats["expected_events"]:
        notes.append(f"{stats['events'] - stats['expected_events']} events more than there were")
    elsewhere = sum(events for group, events in stats["groups"].items() if group != "/bench")
    if elsewhere:
        notes.append(f"{elsewhere} events in other groups")
    return ", ".join(notes)


# The fake has two threads: beyond this it may be what is waited for.
BUSY_CORES = 1.4


def figure(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def size(value):
    return "–" if value == 0 else f"{value / 1024:g} KB" if value >= 1024 else f"{value / 1000:g} KB"


def table(rows):
    """Markdown."""
    head = ("program", "kind", "size", "shards", "events", "events/s", "CPU s per million", "÷ floor", "MB/s",
            "start CPU s", "first put s", "peak MiB", "late p50 / p99 ms", "GetRecords", "PutLogEvents", "state",
            "fake CPU s", "")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for r in rows:
        late = r.get("write_to_log_ms") or {}
        late = f"{figure(late['p50'])} / {figure(late['p99'])}" if late.get("events") else "–"
        busy = "fake busy" if r["fake_cores"] > BUSY_CORES else ""
        lines.append("| " + " | ".join((
            r["program"], r["kind"], size(r["size"]), str(r["shards"]), figure(r["events"]), figure(r["events_per_s"]),
            figure(r["cpu_per_million"], 2), figure(r.get("to_floor"), 2), figure(r["mb_per_s"]),
            figure(r["start_cpu_s"], 2), figure(r["cold_s"], 2), figure(r["peak_mib"]), late, figure(r["get_records"]),
            figure(r["put_log_events"]), figure(r["state"]), figure(r["fake_cpu_s"], 2),
            ", ".join(filter(None, (busy, r["note"]))))) + " |")
    return "\n".join(lines)


def find(rows, program, kind, of=lambda r: True):
    return [r for r in rows if r["program"] == program and r["kind"] == kind and r["cpu_per_million"] and of(r)]


def goals(rows, live, idle, weir="weir"):
    """[(goal, bound, figure or None, whether it is met or None where it was not measured)]"""
    found = []

    def goal(text, bound, value, met, told):
        found.append((text, bound, None if value is None else told, None if value is None else met))

    def worst(values):
        return max(values) if values else None

    for of, shards in (("16 shards", (16,)), ("the worst number of shards", SHARDS)):
        of_size = find(rows, weir, "change", lambda r, shards=shards: r["size"] == 1024 and r["shards"] in shards)
        ratio = worst([r["to_floor"] for r in of_size if r.get("to_floor")])
        goal(f"changes of 1 KB: CPU per record against the floor, {of}", "≤ 2", ratio,
             ratio is not None and ratio <= 2, figure(ratio, 2))
    ratio = worst([r["to_floor"] for r in find(rows, weir, "audit") if r.get("to_floor")])
    goal("audit envelopes: CPU per line against inflate + floor, at the worst number of shards", "≤ 3", ratio,
         ratio is not None and ratio <= 3, figure(ratio, 2))
    for kind, peer, bound in (("plain", "KCL", 15), ("plain", "kcl-rs", 7), ("change", "batched boto3", 15),
                              ("change", "article", 150)):
        ours = find(rows, weir, kind, lambda r: r["shards"] == PEERS_SHARDS and r["size"] == PEERS_SIZE)
        theirs = [r for r in rows if peer in r["program"] and r["kind"] == kind and r["cpu_per_million"]]
        # kcl-rs is not KCL, and the article's loop is not the batched one.
        theirs = [r for r in theirs if peer != "KCL" or r["program"].startswith("KCL")]
        ratio = theirs[0]["cpu_per_million"] / ours[0]["cpu_per_million"] if ours and theirs else None
        name = theirs[0]["program"] if theirs else peer
        goal(f"{kind} of 1 KB: CPU per record of {name}, start apart, against ours", f"≥ {bound}", ratio,
             ratio is not None and ratio >= bound, figure(ratio, 1))
        if peer == "article":
            speed = ours[0]["events_per_s"] / theirs[0]["events_per_s"] if ours and theirs else None
            goal("changes of 1 KB: our records a second against the article's loop's", "≥ 100", speed,
                 speed is not None and speed >= 100, figure(speed))
    peak = worst([r["peak_mib"] for kind in KINDS for r in find(rows, weir, kind, lambda r: r["shards"] == 256)])
    goal("peak memory at 256 busy shards, of any kind and size", "≤ 128 MiB", peak, peak is not None and peak <= 128,
         f"{figure(peak)} MiB")
    ours = idle.get(weir)
    goal("memory with 1 idle shard", "≤ 20 MiB", ours, ours is not None and ours <= 20, f"{figure(ours, 1)} MiB")
    theirs = next((mib for name, mib in idle.items() if name.startswith("KCL")), None)
    ratio = theirs / ours if ours and theirs else None
    goal("… KCL's, after its first record, against ours", "≥ 20", ratio, ratio is not None and ratio >= 20,
         figure(ratio, 1))
    of_weir = [r for r in live if r["program"] == weir and r["answer_to_put_ms"]["events"]]
    late = worst([r["answer_to_put_ms"]["p99"] - LIVE_DELAY_MS for r in of_weir])
    goal("from an answer of GetRecords to that of the put, p99 over the fake's own delay, worst live run", "≤ 50 ms",
         late, late is not None and late <= 50, f"{figure(late)} ms")
    more = worst([r["write_to_log_ms"]["p99"] - r["answer_to_put_ms"]["p99"] - LIVE_DELAY_MS for r in of_weir
                  if r["write_to_log_ms"]["events"]])
    goal("end to end more than that, p99, worst live run", f"≤ {IDLE_POLL_MS} ms, one poll", more,
         more is not None and more <= IDLE_POLL_MS, f"{figure(more)} ms")
    cold = worst([r["cold_s"] for r in rows if r["program"] == weir and r["shards"] == 1 and r["kind"] == "change"])
    goal("from start to the first put, cold, tables created", "≤ 2 s", cold, cold is not None and cold <= 2,
         f"{figure(cold, 2)} s")
    return found


def verdicts(found):
    lines = ["| goal | bound | measured | |", "| --- | --- | --- | --- |"]
    for text, bound, told, met in found:
        lines.append(f"| {text} | {bound} | {told or 'not in this run'} | {'' if met is None else 'met' if met else 'MISSED'} |")
    return "\n".join(lines)


# For the flame graph's summary: the first pattern that a frame of the stack fits.
GROUPS = (
    ("hash and signature of requests", r"sigv4|sha2::|hmac"),
    ("body of PutLogEvents", r"PutLogEventsRequestSerializer|put_log_events_input|JsonValueWriter|logs::cloudwatch::body"),
    ("PutLogEvents, around its body", r"weir::logs::cloudwatch"),
    ("gunzip", r"weir::decode::gzip|miniz_oxide|GzDecoder|zlib_rs"),
    ("MD5 of aggregates", r"md5::"),
    ("aggregates", r"weir::decode::aggregate"),
    ("audit lines", r"weir::decode::audit|Events::push_line"),
    ("subscription envelopes", r"weir::decode::subscription"),
    ("decode, write the message", r"weir::decode|weir::shape"),
    ("GetRecords body", r"weir::stream::|aws_sdk_kinesis|aws_sdk_dynamodbstreams|JsonDeserializer"),
    ("sink: batches, writers", r"weir::logs::"),
    ("consumer: intake, ledger, metrics", r"weir::consumer|weir::ledger|weir::metrics"),
    ("receive and send", r"hyper|tcp_|sock_|TcpStream"),
    ("SDK, the rest", r"aws_smithy|aws_runtime|aws_config"),
    ("tokio", r"tokio::"),
)
