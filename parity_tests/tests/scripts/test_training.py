"""The scripts that train: histories, exit statuses, Ctrl-C, flags, the data they are given."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from inspect import getclosurevars
from itertools import combinations
from operator import getitem
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from parity_tests import TRAINING, assert_close
from parity_tests.tests.scripts.conftest import ROOT, SCRIPTS

# fmt: off
BAD_FLAGS = {
    "compare": [
        "--epochs 0", "--epochs 2.5", "--epochs many", "--batch-size 0", "--learning-rate 0",
        "--learning-rate -1", "--learning-rate nan", "--learning-rate inf", "--l2 -0.1",
        "--seed -1", "--optimizer adagrad", "--dtype float16", "--experiment mnist", "--every 0",
        "--no-such-flag", "--out run.txt", "--out /proc/nowhere/run.png", "--out folder.png",
        "--out beside.png", "--experiment saddle --epochs 3",
        "--experiment search --batch-size 3", "--experiment search --learning-rate 0.1",
        "--experiment saddle --optimizer adam",
        "--experiment saddle --seed 0", "--experiment saddle --dtype float32",
    ],
    "figures": ["--only", "--only cats", "--workers 0", "--epochs 0", "--out a-file",
                "--out /proc/nowhere", "--no-such-flag"],
    "train_scratch": ["--experiment saddle", "--out run.png"],
    "train_torch": ["--experiment saddle", "--device gpu"],
    "benchmark": ["--seconds 0", "--threads 0", "--out numbers.txt"],
    "search_rates": ["--l2 1", "--learning-rate 1", "--trials 0", "--workers 0", "--out x.csv"],
    "mutation": ["nowhere", "--jobs 0", "--sample -1", "--seed x"],
    "planted_bugs": ["linear nonsense", "--jobs 0", "--json bugs.txt"],
    "readme": ["nonsense", "--check", "names compare --check"],
}
# fmt: on


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_help_and_bad_flags(name, run):
    """Help shows the lines to type; what is wrong leaves with status 2, and says so."""
    for folder in ("folder.png", "beside.json"):
        Path(folder).mkdir()
    Path("a-file").touch()
    assert f"python scripts/{name}.py" in run(name, "--help")
    for flags in BAD_FLAGS[name]:
        assert "error: " in run(name, flags, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_device_is_a_bad_argument(run):
    assert "use --device cpu" in run("train_torch", "--device cuda", 2)


def test_flags_change_the_experiment(script):
    line = script("runs.command_line")
    parser = line.Parser("")
    parser.add_experiments()
    parse = lambda text: line.chosen(parser.parse_args(text.split()))  # noqa: E731
    digits = line.EXPERIMENTS["digits"]
    assert parse("") == parse("--optimizer adam") == digits
    assert parse("--optimizer momentum").learning_rate == 0.3
    assert parse("--optimizer momentum --learning-rate 0.5").learning_rate == 0.5
    changed = parse("--epochs 3 --batch-size 7 --l2 0 --seed 4")
    assert changed == replace(digits, epochs=3, batch_size=7, l2=0.0, seed=4)


def test_files_are_written_whole_or_not_at_all(script, tmp_path):
    """Ctrl-C in the middle of a file leaves the old one, and nothing beside it."""
    path, line = tmp_path / "report.txt", script("runs.command_line")
    line.write_json(path, {"costs": [1.0, float("nan")], "rate": float("inf")})
    with suppress(KeyboardInterrupt), line.whole(path) as unfinished:
        unfinished.write_text("ha")
        raise KeyboardInterrupt
    assert [one.name for one in tmp_path.iterdir()] == ["report.txt"]
    assert json.loads(path.read_text()) == {"costs": [1.0, None], "rate": None}


def test_no_example_is_in_two_sets(script):
    """Train, dev and test share nothing, whether data is split or drawn; real data is all used."""
    experiments, datasets = script("runs.experiments").EXPERIMENTS, script("runs.datasets")
    for load in {one.load for one in experiments.values()}:
        sets = [{*map(bytes, np.stack([*X, *Y], axis=1))} for X, Y in load()]
        for one, other in combinations(sets, 2):
            assert len(one & other) <= 2, load  # a digit that was drawn twice alike
        assert all(len(X[0]) == len(Y[0]) for X, Y in load())
    for load, count in ((datasets.digits, 1797), (datasets.breast_cancer, 569)):
        assert sum(X.shape[1] for X, _ in load()) == count
    tumours = datasets.breast_cancer()
    assert np.abs(tumours.train[0].mean(axis=1)).max() < 1e-13
    assert np.abs(tumours.train[0].var(axis=1) - 1).max() < 1e-12
    assert np.abs(tumours.test[0].mean(axis=1)).max() > 1e-3


def test_the_start_hands_on_every_choice(script):
    start, experiments = script("runs.start"), script("runs.experiments").EXPERIMENTS
    everything = replace(experiments["digits-regularized"], clip_value=0.5, seed=4)
    drawn, other = (start.draw(replace(everything, seed=one), "float64") for one in (4, 5))
    for name in ("l1", "l2", "clip_value", "clip_norm", "epochs", "batch_size", "schedule_per"):
        assert drawn.choices()[name] == getattr(everything, name)
    assert drawn.network.dropped == (1, 2)
    assert drawn.network.batch_norm
    first, same, another = (next(one.masks())["D1"] for one in (drawn, drawn, other))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, another)
    bits = np.random.default_rng(everything.seed).random(first.shape) < 0.9
    assert not np.array_equal(bits, first > 0)
    X, Y, masks = next(drawn.batches())
    assert np.array_equal(X, drawn.data.train[0][:, drawn.orders[0][:64]])
    assert (Y.shape, masks["D1"].shape) == ((10, 64), (64, 64))


@pytest.mark.parametrize("name", ["runs.start", "runs.scratch_side", "train_scratch"])
def test_the_side_by_hand_holds_no_torch(script, name):
    held = {getattr(one, "__name__", "") for one in vars(script(name)).values()}
    assert not {one for one in held if one.partition(".")[0] in ("torch", "torch_ref")}


def test_both_sides_write_the_same_history(run, is_picture):
    for path in map(Path, ("new/scratch.json", "new/torch.csv")):
        flags = f"--experiment moons --epochs 10 --l2 0.5 --out {path}"
        assert "test accuracy" in run(f"train_{path.stem}", flags)
        assert is_picture(path.with_suffix(".png"))
    written = json.loads(Path("new/scratch.json").read_text())
    assert (written["side"], written["l2"]) == ("scratch", 0.5)
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in table] == [str(epoch) for epoch in range(1, 11)]
    for name in ("costs", "accuracies", "dev_costs", "dev_accuracies"):
        ours, theirs = np.array(written["history"][name]), [float(row[name]) for row in table]
        assert_close(ours, np.array(theirs), name, budget=TRAINING)


# fmt: off
#: a command line, the function whose n-th call Ctrl-C ends, words that are printed, the files that
#: are left, and lengths in the report.
INTERRUPTED = [
    ("compare --experiment breast-cancer --batch-size 100 --out run.png",
     "runs.start:Progress.show", 15, "after 15 steps of scratch", "run.json run.png",
     {"histories.scratch.costs": 3, "histories.scratch.step_costs": 15}),
    ("compare --experiment schedules --out run.png", "compare:judge", 4, "after 3 quantities",
     "run.json", {"quantities": 3}),
    ("figures --only schedules moving-averages layer-norms --workers 1 --out .",
     "runs.command_line:Figure.savefig", 2, "after 1 of 3 pictures", "schedules.png", {}),
    ("search_rates --experiment moons --epochs 1 --trials 5 --workers 1 --out run.json",
     "runs.scratch_side:set_up", 7, "after 6 trials", "run.json", {"trials": 6}),
    *(("train_scratch --experiment breast-cancer --out run.json",
       "scratch.training:History.end_epoch", n, f"in epoch {n} of 40", "run.json run.png",
       {"history.costs": n - 1, "history.dev_costs": n - 1}) for n in (1, 4)),
]
# fmt: on


@pytest.mark.parametrize("row", INTERRUPTED, ids=lambda row: f"{row[0].split()[0]} {row[3]}")
def test_an_interruption_loses_nothing(row, script, run, monkeypatch):
    """Ctrl-C is status 130, and all that was finished is written; an epoch cut in half is not."""
    (line, place, last, words, files, lengths), calls = row, []
    name, _, flags = line.partition(" ")
    honest = script("pkgutil").resolve_name(place)

    def interrupted(*given, **choices):
        calls.append(given)
        if place.endswith("end_epoch") and len(calls) == last:
            given[0].costs.append(given[1])
        else:
            answer = honest(*given, **choices)
        if len(calls) == last:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(place.replace(":", "."), interrupted)
    assert f"interrupted {words}" in run(name, flags, 130)
    assert sorted(str(path) for path in Path().iterdir()) == files.split()
    for key, length in lengths.items():
        report = json.loads(Path("run.json").read_text())
        assert report.get("agreed") is None
        assert len(reduce(getitem, key.split("."), report)) == length


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["train_scratch", "train_torch", "compare"])
def test_a_diverged_run_says_so(name, run):
    printed = run(name, "--optimizer gradient_descent --learning-rate 1e200 --epochs 2", 1)
    says = "OUTSIDE the budget" if name == "compare" else "the cost is not finite from step 2 on"
    assert says in printed


@pytest.mark.parametrize(("ending", "status"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_a_person_ends_a_script_without_a_traceback(ending, status, script, monkeypatch):
    """Ctrl-C before the first step, or a reader that has gone: shells' status, not `they part`."""
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    with pytest.raises(SystemExit, match=str(status)):
        script("runs.command_line").leave(Mock(side_effect=ending))


def test_a_training_with_everything_on(run):
    """It stops early, and says so; its choices are in the report, its best epoch was restored."""
    printed = run("train_scratch", "--experiment digits-regularized")
    assert "stopped early after 34 of 40 epochs" in printed
    report = json.loads(Path("out/scratch-digits-regularized.json").read_text())
    assert (report["keep_probs"], report["schedule_choices"]) == ([0.9, 0.8], {"rate": 0.95})
    assert len(report["history"]["costs"]) == 34
    assert report["test_accuracy"] > 0.98


def test_the_benchmark(script, run, monkeypatch):
    benchmark = script("benchmark")
    faster = {"BLOCK": 0.01, "SETTLE": 0.001, "import_seconds": lambda: 0.5}
    faster["SHAPES"] = [benchmark.SHAPES[0], benchmark.SHAPES[3]]
    for name, value in faster.items():
        monkeypatch.setattr(benchmark, name, value)
    printed = run("benchmark", "--seconds 0.1 --out numbers.json")
    assert "64-128-64-10, m=64, float32" in printed
    results = json.loads(Path("numbers.json").read_text())["results"]
    assert [one["shape"].split(",")[0] for one in results] == ["2-4-1", "64-128-64-10"]
    assert all(one["lowest"] <= one["ratio"] <= one["highest"] for one in results)
    for shape in benchmark.SHAPES:
        mine, other = benchmark.make_steps(shape)
        for _ in range(5):
            mine()
            other()
        module = getclosurevars(other).nonlocals["module"]
        theirs = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
        assert np.abs(getclosurevars(mine).nonlocals["parameters"].theta - theirs).max() < 1e-5


def test_by_hand_in_a_process_alone(tmp_path):
    """Torch is never imported; a closed pipe is status 141 and nothing on stderr."""
    code = (
        "import sys, train_scratch\n"
        "from runs.command_line import leave\n"
        "try:\n"
        "    leave(lambda: train_scratch.main(['--experiment', 'planar', '--epochs', '2']))\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules and 'sklearn' in sys.modules\n"
    )
    environment = {"PYTHONPATH": f"{SCRIPTS}:{ROOT}", "PATH": "/usr/bin:/bin"}
    reader, writer = os.pipe()
    os.close(reader)
    given = {"cwd": tmp_path, "env": environment, "stdout": writer, "stderr": subprocess.PIPE}
    left = subprocess.run([sys.executable, "-c", code], check=False, **given)
    os.close(writer)
    assert (left.returncode, left.stderr) == (141, b"")
