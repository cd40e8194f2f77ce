"""What of the bench can be wrong without a server: figures, goals, tables, history, plots, the line's timing.

cd benches && python3 -m unittest compare_lib.test
"""

import copy, json, pathlib, tempfile, unittest, xml.dom.minidom
from unittest import mock

from . import history, line, load, report, scenes, switches
from .pairs import Goal, Run, alternate, digits, summary


def result(ratio=2.0):
    rows = {
        "tacdrop": [Run(10 * ratio, 1.0, 30.0), Run(12 * ratio, 3.0, 40.0)],
        "OpenSSH": [Run(10, 2.0), Run(10, 2.0)],
    }
    return summary(rows, "OpenSSH", budget=256)


def run(ratio=2.0, commit="abc", names=("up-gcm128",)):
    entries = []
    for scene in (scene for scene in scenes.scenes() if scene.id in names):
        found = result(ratio)
        entries.append(
            {
                "scene": scene.id,
                "title": scene.title,
                "unit": scene.unit,
                "cpu_unit": scene.cpu_unit,
                "peer": scene.peer,
                **found,
                "goals": scene.goals(found, False),
            }
        )
    machine = {
        "cpu": "C",
        "flags": ["aes"],
        "sha256_cpu_seconds_per_gib": 1,
        "cores": 2,
        "memory_gib": 4,
        "kernel": "6",
        "system": "Debian",
        "congestion_control": "cubic",
    }
    return {
        "date": "2026-01-02 03:04 UTC",
        "commit": commit,
        "quick": False,
        "load": 0,
        "machine": machine,
        "versions": {"tacdrop": "tacdrop 1"},
        "scenes": entries,
    }


class Pairs(unittest.TestCase):
    def test_sides_take_turns_after_a_warm_up_of_each(self):
        calls = []
        side = lambda name: lambda warm: (calls.append((name, warm)), Run(1))[1]
        rows = alternate({"a": side("a"), "b": side("b")}, 3)
        self.assertEqual(calls[:2], [("a", True), ("b", True)])
        self.assertEqual("".join(name for name, _ in calls[2:]), "abbaab")
        self.assertEqual([len(runs) for runs in rows.values()], [3, 3])

    def test_ratio_is_that_of_the_medians_and_its_spread_that_of_the_pairs(self):
        found = result()
        self.assertEqual((found["ratio"], found["ratio_low"], found["ratio_high"]), (2.2, 2.0, 2.4))
        self.assertEqual((found["cpu"]["ratio"], found["peak_mib"]), (1.0, 40.0))

    def test_a_ratio_above_one_is_better_also_for_times(self):
        rows = {"tacdrop": [Run(2.0)], "OpenSSH": [Run(6.0)]}
        self.assertEqual(summary(rows, "OpenSSH", lower_rate=True)["ratio"], 3.0)

    def test_goals_of_speed_and_of_cost(self):
        judge = lambda value, lower: Goal("g", *((0.85, 0.75) if lower else (1.5, 1.8)), lower).judge(value)["reached"]
        self.assertEqual([judge(value, False) for value in (1.49, 1.5, 1.8)], ["no", "goal", "stretch"])
        self.assertEqual([judge(value, True) for value in (0.86, 0.85, 0.75)], ["no", "goal", "stretch"])

    def test_three_digits(self):
        self.assertEqual([digits(value) for value in (1.2345, 12.345, 1234.5)], [1.23, 12.3, 1234])


class Scenes(unittest.TestCase):
    def test_names_are_unique_and_described(self):
        known = [scene.id for scene in scenes.scenes()]
        self.assertEqual(len(known), len(set(known)))
        page = history.PAGE.read_text()
        for name in known:
            parts = name.split("-")
            described = [f"`{name}`", *(f"`{'-'.join(parts[:end])}-*`" for end in range(1, len(parts)))]
            self.assertTrue(any(form in page for form in described), f"docs/benchmarks.md does not describe {name}")

    def test_a_word_means_a_scene_a_beginning_or_a_family(self):
        names = lambda *words: [scene.id for scene in scenes.chosen(words)]
        self.assertEqual(names("far-100"), ["far-100-stock", "far-100-large"])
        self.assertEqual(names("ten-gib"), ["ten-gib"])
        self.assertEqual(names("streams", "streams-8"), ["streams-8", "streams-32"])
        with self.assertRaises(SystemExit):
            names("nonsense")

    def test_the_stretch_over_a_stock_line_is_what_tcp_alone_does(self):
        scene = next(scene for scene in scenes.scenes() if scene.id == "far-100-stock")
        goal = scene.goals({"ratio": 1.3, "peer_rate": 10, "tcp_alone": 20}, False)[0]
        self.assertEqual((goal["goal"], goal["stretch"], goal["reached"]), (1.25, 1.94, "goal"))


class Load(unittest.TestCase):
    def test_the_last_object_is_found_among_other_lines(self):
        self.assertEqual(
            load.last_object('warming {up}\n{"scene": "x"}\n{"figures": {"a": 1}}\nbye')["figures"], {"a": 1}
        )
        self.assertIsNone(load.last_object("nothing"))

    def test_goals_are_judged_in_both_directions(self):
        self.assertEqual(
            load.goal({"name": "n", "value": 4, "goal": 3, "stretch": 5, "reached": True})["reached"], "goal"
        )
        lower = load.goal({"name": "n", "value": 1.9, "goal": 3, "stretch": 2, "reached": True})
        self.assertEqual((lower["lower"], lower["reached"]), (True, "stretch"))
        self.assertEqual(
            load.goal({"name": "n", "value": 9, "goal": 3, "stretch": 2, "reached": False})["reached"], "no"
        )


class History(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.docs = pathlib.Path(place.name)
        (self.docs / "benchmarks.md").write_text(f"before\n{history.BEGIN}\nold\n{history.END}\nafter\n")
        for name, value in (("PAGE", self.docs / "benchmarks.md"), ("FOLDER", self.docs / "benchmarks")):
            patch = mock.patch.object(history, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_runs_are_appended_and_the_page_shows_the_newest_figures(self):
        history.write(run(2.0, "first", names=("up-gcm128", "down-gcm128")))
        history.write(run(3.0, "second"))
        kept = json.loads((self.docs / "benchmarks" / "history.json").read_text())
        self.assertEqual([one["commit"] for one in kept], ["first", "second"])
        self.assertNotIn("raw", kept[0]["scenes"][0])
        page = (self.docs / "benchmarks.md").read_text()
        self.assertTrue(page.startswith("before\n") and page.endswith("after\n") and "old" not in page)
        self.assertEqual(page.count("`up-gcm128`"), 1)
        self.assertIn("3.30", page)
        self.assertIn("`down-gcm128`", page)

    def test_plots_are_well_formed(self):
        history.write(run(2.0, "<first>"))
        text = (self.docs / "benchmarks" / "up.svg").read_text()
        xml.dom.minidom.parseString(text)
        self.assertIn("&lt;first&gt;", text)

    def test_each_goal_of_the_load_generator_has_a_panel(self):
        goals = [load.goal({"name": name, "value": 4, "goal": 3, "stretch": 5, "reached": True}) for name in ("a", "b")]
        text = history.plots([{**run(), "scenes": [{"scene": "load-idle", "figures": {}, "goals": goals}]}])["load"]
        xml.dom.minidom.parseString(text)
        self.assertEqual(text.count("<polyline"), 2)

    def test_figures_of_the_load_generator_stand_behind_its_goals(self):
        goals = [load.goal({"name": "a", "value": 4, "goal": 3, "stretch": 5, "reached": True})]
        figures = {"peak_kib": 20_000, "ratios": {"1": [2.5, 3]}}
        text = report.table({**run(), "scenes": [{"scene": "load-idle", "figures": figures, "goals": goals}]})
        self.assertIn("| `load-idle` | a | 4 |", text)
        self.assertIn("peak_kib 20,000; ratios.1.0 2.5; ratios.1.1 3.", text)

    def test_what_failed_is_said(self):
        failed = copy.deepcopy(run())
        failed["scenes"].append({"scene": "up-rclone", "failed": "'rclone' is missing", "goals": []})
        self.assertIn("`up-rclone` was not measured: 'rclone' is missing", report.table(failed))

    def test_a_page_without_markers_is_left_alone(self):
        (self.docs / "benchmarks.md").write_text("mine\n")
        with self.assertRaises(SystemExit):
            history.write(run())
        self.assertEqual((self.docs / "benchmarks.md").read_text(), "mine\n")


class Switches(unittest.TestCase):
    def test_threads_that_do_the_same_count_together_and_new_ones_from_their_begin(self):
        before = {"1": ("ssh", 10, 1, 100), "2": ("ssh", 20, 2, 100)}
        after = {"1": ("ssh", 14, 1, 101), "2": ("ssh", 22, 3, 101), "3": ("worker", 8, 0, 2)}
        counted = switches.since(before, after, amount=2)
        self.assertEqual(counted, {"all": [7, 0.5, 2], "ssh": [3, 0.5, 1], "worker": [4, 0, 1]})

    def test_a_kind_that_a_round_did_not_have_counts_as_none(self):
        rounds = [{"all": [4, 0, 1]}, {"all": [6, 0, 1], "worker": [2, 0, 0]}, {"all": [5, 0, 1]}]
        self.assertEqual(switches.median(rounds), {"all": [5, 0, 1], "worker": [0, 0, 0]})


class Line(unittest.TestCase):
    def test_packets_leave_at_the_rate_and_arrive_after_the_delay(self):
        way, sent = line.Way(7, rate=1000.0, delay=0.5, most=10_000), []
        with mock.patch("os.write", lambda handle, packet: sent.append((handle, packet))):
            way.send(b"a" * 1000, 100.0)
            way.send(b"b" * 1000, 100.0)
            self.assertEqual(way.deliver(101.4), 101.5)
            self.assertEqual(way.deliver(101.5), 102.5)
            self.assertIsNone(way.deliver(102.5))
        self.assertEqual([(handle, packet[:1]) for handle, packet in sent], [(7, b"a"), (7, b"b")])

    def test_what_waits_is_bounded(self):
        way = line.Way(7, rate=1000.0, delay=5.0, most=3000)
        for _ in range(100):
            way.send(bytes(1000), 1.0)
        # Three seconds' worth wait, and one more that found exactly that.
        self.assertEqual(len(way.under_way), 4)


if __name__ == "__main__":
    unittest.main()
