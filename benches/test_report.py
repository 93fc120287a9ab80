"""python3 -m unittest discover -s benches"""

import unittest

import flame
import measure
import report


def stats(**more):
    moment = lambda ms, cpu: {"ms": ms, "cpu": cpu}
    late = {"events": 0, "p50": None, "p99": None, "max": None}
    return {"events": 1000, "expected_events": 1000, "first_records": moment(2000, 0.5), "last_put": moment(4000, 1.5),
            "get_bytes": 4_000_000, "put_bytes": 5_000_000, "cpu_s": 2.0, "refused": {}, "groups": {"/bench": 1000}, "answer_to_put_ms": late,
            "write_to_log_ms": late, "requests": {"DynamoDB_20120810.Scan": 3, "Kinesis_20131202.GetRecords": 4,
                                                  "Logs_20140328.PutLogEvents": 5}} | more


def row(program, cell, cpu, start=0.0, **more):
    return report.row(program, cell, measure.Run(stats(**more), cpu, start, 100.0, 1.5))


class Reports(unittest.TestCase):
    def test_a_row_tells_the_start_apart_and_counts_from_the_first_record_to_the_last_put(self):
        told = row("weir", ("plain", 1024, 4), 0.25, 0.05)
        self.assertAlmostEqual(told["cpu_per_million"], 200)
        self.assertAlmostEqual(told["cpu_per_million_with_start"], 250)
        self.assertEqual((told["events_per_s"], told["mb_per_s"], told["fake_cores"]), (500, 2, 0.5))
        self.assertEqual((told["state"], told["get_records"], told["put_log_events"]), (3, 4, 5))

    def test_a_run_that_put_nothing_has_a_row_too(self):
        told = row("weir", ("plain", 1024, 4), 0.2, events=0, first_records=None, last_put=None)
        self.assertIsNone(told["cpu_per_million"])
        self.assertIn("| weir | plain | 1 KB | 4 | 0 | – | – |", report.table([told]))

    def test_events_put_twice_are_told(self):
        self.assertEqual(row("weir", ("plain", 1024, 4), 1, events=1007)["note"], "7 events more than there were")

    def test_a_goal_is_met_missed_or_not_measured(self):
        cell = ("plain", report.PEERS_SIZE, report.PEERS_SHARDS)
        weir, kcl, rs = row("weir", cell, 0.1), row("KCL 3.1.3", cell, 1.6), row("kcl-rs 0.1", cell, 0.6)
        goals = {text: met for text, _, _, met in report.goals([weir, kcl, rs], [], {"weir": 19.0, "KCL 3.1.3": 900.0})}
        verdict = lambda part: next(met for text, met in goals.items() if part in text)
        self.assertTrue(verdict("of KCL 3.1.3"))
        self.assertFalse(verdict("of kcl-rs 0.1"))
        self.assertIsNone(verdict("against the floor"))
        self.assertTrue(verdict("1 idle shard"))
        self.assertTrue(verdict("KCL's"))
        self.assertIn("MISSED", report.verdicts(report.goals([weir, rs], [], {})))

    def test_the_worst_number_of_shards_is_told_beside_16(self):
        rows = [row("weir", ("change", 1024, shards), 0.1) | {"to_floor": ratio} for shards, ratio in ((16, 1.5), (256, 2.5))]
        told = [(value, met) for _, _, value, met in report.goals(rows, [], {})[:2]]
        self.assertEqual(told, [("1.50", True), ("2.50", False)])

    def test_a_run_has_records_for_every_shard_and_as_many_for_each(self):
        for cell in report.cells(False):
            count = report.records(*cell)
            self.assertEqual(count % cell[2], 0, cell)
            self.assertGreaterEqual(count, 2 * cell[2], cell)
        self.assertTrue(set(report.cells(True)) < set(report.cells(False)))


class Flames(unittest.TestCase):
    STACKS = {("w", "poll", "weir::logs::cloudwatch::put", "sha2::compress"): 3, ("w", "poll", "hyper::read"): 1}

    def test_a_stack_counts_for_one_group(self):
        shares = flame.inclusive(self.STACKS, report.GROUPS)
        self.assertEqual(shares, {"hash and signature of requests": 0.75, "receive and send": 0.25})

    def test_the_graph_tells_each_frame_and_its_share(self):
        svg = flame.svg(self.STACKS, "a < b")
        self.assertIn("<title>sha2::compress 75.00%</title>", svg)
        self.assertIn("a &lt; b", svg)


if __name__ == "__main__":
    unittest.main()
