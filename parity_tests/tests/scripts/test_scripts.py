"""Scripts: what a person runs, with good flags, bad flags, runs that part and Ctrl-C."""

from __future__ import annotations

import csv
import importlib
import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from parity_tests import TRAINING, assert_close
from scratch.training import History
from torch_ref.training import History as TheirHistory

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"

pytestmark = pytest.mark.skipif(
    not SCRIPTS.is_dir(), reason="the scripts are not beside the package"
)

#: short runs of every experiment.
SHORT = {
    "digits": ["--epochs", "40"],  # the main job itself
    "breast-cancer": ["--epochs", "5"],
    "planar": ["--epochs", "60"],
    "moons": ["--epochs", "30"],
}


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import a script by its name, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


def is_picture(path):
    """Tell whether a PNG of some size is there."""
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


@pytest.mark.parametrize("experiment", SHORT)
def test_compare_agrees(experiment, script, tmp_path, capsys):
    """Every experiment stays inside the budget; table, picture and numbers are made."""
    compare = script("compare")
    assert compare.main(["--experiment", experiment, *SHORT[experiment]]) == 0
    printed = capsys.readouterr().out
    assert "inside the budget" in printed
    assert "largest parameter difference" in printed
    assert is_picture(tmp_path / "compare.png")
    summary = json.loads((tmp_path / "compare.json").read_text())
    assert summary["agreed"]
    assert summary["largest_parameter_difference"] < 1e-10
    assert summary["test_accuracy"][0] == summary["test_accuracy"][1]
    if experiment == "digits":
        assert summary["test_accuracy"][0] >= 0.96
    for name in ("costs", "accuracies", "dev_costs", "dev_accuracies", "seconds"):
        histories = [summary["histories"][side][name] for side in ("scratch", "torch")]
        assert [len(one) for one in histories] == [int(SHORT[experiment][1])] * 2
    epochs = int(SHORT[experiment][1])
    rows = [line.split() for line in printed.splitlines() if line[:6].strip().isdigit()]
    assert rows[-1][0] == str(epochs)
    assert len(rows) == epochs or 30 <= len(rows) <= 41
    assert len(rows[0]) == 6


def test_compare_float32_is_held_against_float64(script, capsys):
    """In float32 a third run, in float64, is the judge."""
    compare = script("compare")
    assert compare.main(["--dtype", "float32", "--epochs", "2", "--experiment", "digits"]) == 0
    printed = capsys.readouterr().out
    assert "against torch in float64: scratch" in printed
    assert "float32: inside the budget" in printed
    assert "float64: inside the budget" in printed


PLANTED = {
    "another beta2": ("adam", {"beta2": 0.99}, 2),
    "epsilon a thousand times": ("adam", {"epsilon": 1e-5}, 1),
    "momentum without (1-beta)": ("momentum", {"averaging": False}, 1),
}


@pytest.mark.parametrize(
    ("planted", "dtype"),
    [*((planted, "float64") for planted in PLANTED), ("another beta2", "float32")],
)
def test_compare_names_the_step_where_runs_part(planted, dtype, script, monkeypatch, capsys):
    """A wrong rule on one side: exit status 1, the first step and tensor named."""
    name, change, step = PLANTED[planted]
    compare, side = script("compare"), script("runs.scratch_side")
    honest = side.OPTIMIZERS[name]
    spoilt = {**side.OPTIMIZERS, name: lambda **choices: honest(**choices, **change)}
    monkeypatch.setattr(side, "OPTIMIZERS", spoilt)
    assert compare.main(["--epochs", "2", "--optimizer", name, "--dtype", dtype]) == 1
    printed = capsys.readouterr().out
    assert "float64: OUTSIDE the budget" in printed
    assert f"the runs part at step {step}, epoch 1, in " in printed


def test_compare_notices_other_weights(script, monkeypatch, capsys):
    """One weight moved by 1e-9 at the start is found at the first step, in its tensor."""
    compare, side = script("compare"), script("runs.torch_side")
    honest = side.twin

    def moved(network, parameters, device):
        parameters = parameters.copy()
        parameters["W2"][3, 4] += 1e-9
        return honest(network, parameters, device)

    monkeypatch.setattr(side, "twin", moved)
    assert compare.main(["--epochs", "1"]) == 1
    assert "the runs part at step 1, epoch 1, in W2[3, 4]" in capsys.readouterr().out


def test_compare_judges_costs_too(script, monkeypatch, capsys):
    """A cost that is reported wrong on one side parts the runs, equal parameters or not."""
    from scratch._step import TrainingStep

    compare = script("compare")
    honest = TrainingStep.cost_and_gradients
    monkeypatch.setattr(
        TrainingStep, "cost_and_gradients", lambda *arguments: 1.5 * honest(*arguments)
    )
    assert compare.main(["--epochs", "1"]) == 1
    assert "the runs part at step 1, epoch 1, in cost: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["accuracies", "dev_accuracies"])
def test_compare_judges_accuracies_too(name, script, monkeypatch, capsys):
    """An accuracy that differs is outside of the budget."""
    compare = script("compare")
    honest = History.end_epoch

    def wrong(self, *entries):
        honest(self, *entries)
        getattr(self, name)[-1] += 0.01

    monkeypatch.setattr(History, "end_epoch", wrong)
    assert compare.main(["--epochs", "1"]) == 1
    assert f"eps units in {name}" in capsys.readouterr().out


def test_compare_reports_a_diverging_run(script, capsys):
    """A learning rate that overflows is a verdict, not a traceback."""
    compare = script("compare")
    flags = ["--optimizer", "gradient_descent", "--learning-rate", "1e200", "--epochs", "2"]
    with np.errstate(all="ignore"):
        assert compare.main(flags) == 1
    assert "OUTSIDE the budget" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_both_training_scripts_write_the_same_history(suffix, script, tmp_path, capsys):
    """The same flags on both sides: equal costs and accuracies in the files, a picture beside."""
    histories = []
    for side in ("scratch", "torch"):
        path = tmp_path / "folder" / f"{side}{suffix}"
        flags = ["--experiment", "moons", "--epochs", "20", "--l2", "0.5", "--out", str(path)]
        assert script(f"train_{side}").main(flags) == 0
        assert is_picture(path.with_suffix(".png"))
        assert "test accuracy" in capsys.readouterr().out
        if suffix == ".json":
            written = json.loads(path.read_text())
            assert written["l2"] == 0.5
            histories.append(written["history"])
        else:
            with path.open() as file:
                table = list(csv.DictReader(file))
            histories.append({name: [float(row[name]) for row in table] for name in table[0]})
            assert histories[-1]["epoch"] == list(range(1, 21))
    for name in ("costs", "accuracies", "dev_costs", "dev_accuracies"):
        ours, theirs = (np.array(history[name]) for history in histories)
        assert len(ours) == 20
        assert_close(ours, theirs, name, budget=TRAINING)


def test_default_files_are_named_after_side_and_experiment(script, tmp_path):
    """Without --out the history goes to out/."""
    assert script("train_scratch").main(["--experiment", "planar", "--epochs", "2"]) == 0
    assert (tmp_path / "out" / "scratch-planar.json").is_file()
    assert is_picture(tmp_path / "out" / "scratch-planar.png")


def test_training_by_hand_never_imports_torch(tmp_path):
    """The scratch script runs an experiment with torch not loaded."""
    code = (
        "import sys, train_scratch\n"
        "assert train_scratch.main(['--experiment', 'planar', '--epochs', '2']) == 0\n"
        "assert 'torch' not in sys.modules and 'sklearn' in sys.modules\n"
    )
    environment = {"PYTHONPATH": f"{SCRIPTS}:{ROOT}", "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)


@pytest.mark.parametrize("name", ["train_scratch", "train_torch", "compare"])
def test_interrupted_runs_lose_nothing(name, script, monkeypatch, tmp_path, capsys):
    """Ctrl-C in the fourth epoch: status 130, three epochs written."""
    module, bar = script(name), script("runs.draws").Bar
    honest = bar.__call__

    def interrupt(self, step, history):
        honest(self, step, history)
        if step.number == 15:
            raise KeyboardInterrupt

    monkeypatch.setattr(bar, "__call__", interrupt)
    out = tmp_path / ("run.png" if name == "compare" else "run.json")
    flags = ["--experiment", "breast-cancer", "--batch-size", "100", "--out", str(out)]
    assert module.main(flags) == 130
    assert "interrupted" in capsys.readouterr().out
    assert is_picture(out.with_suffix(".png"))
    if name == "compare":
        written = json.loads(out.with_suffix(".json").read_text())
        assert written["interrupted"]
        assert len(written["histories"]["scratch"]["step_costs"]) == 15
    else:
        history = json.loads(out.read_text())["history"]
        assert len(history["costs"]) == 3
        assert len(history["step_costs"]) == 15


@pytest.mark.parametrize("name", ["train_scratch", "train_torch", "compare", "figures"])
@pytest.mark.parametrize(("ending", "status"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_scripts_that_a_person_ends_leave_without_a_traceback(
    ending, status, name, script, monkeypatch, capfd
):
    """Ctrl-C before the first step, or a reader that has gone: shells' status, not `they part`."""

    def ended(*_):
        raise ending

    monkeypatch.setattr(script("runs.command_line"), "make_room", ended)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert left.value.code == status
    assert "Traceback" not in capfd.readouterr().err


def test_a_reader_that_has_gone_is_no_failure(tmp_path):
    """A closed pipe, noticed when the output is flushed: status 141 and nothing on stderr."""
    code = "from runs import command_line; command_line.leave(lambda: print('x' * 10) or 0)"
    environment = {"PYTHONPATH": f"{SCRIPTS}:{ROOT}", "PATH": "/usr/bin:/bin"}
    reader, writer = os.pipe()
    os.close(reader)
    left = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    os.close(writer)
    assert (left.returncode, left.stderr) == (141, b"")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("side", ["scratch", "torch"])
def test_a_diverged_run_says_so(side, script, capsys):
    """A rate that overflows: files are written, the step is named, status 1."""
    flags = ["--optimizer", "gradient_descent", "--learning-rate", "1e200", "--epochs", "2"]
    assert script(f"train_{side}").main(flags) == 1
    assert "the cost is not finite from step 2 on" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".json", ".csv"])
@pytest.mark.parametrize("side", ["scratch", "torch"])
@pytest.mark.parametrize("whole", [0, 3])
def test_an_interruption_between_two_entries_of_an_epoch(
    whole, side, suffix, script, monkeypatch, tmp_path, capsys
):
    """Ctrl-C while an epoch is being written down: the epochs before it are whole."""
    module = script(f"train_{side}")
    history = {"scratch": History, "torch": TheirHistory}[side]
    honest = history.end_epoch

    def interrupted(self, cost, *rest):
        if len(self.costs) == whole:
            self.costs.append(cost)
            raise KeyboardInterrupt
        honest(self, cost, *rest)

    monkeypatch.setattr(history, "end_epoch", interrupted)
    out = tmp_path / f"run{suffix}"
    assert module.main(["--experiment", "breast-cancer", "--out", str(out)]) == 130
    assert f"interrupted in epoch {whole + 1} of 40" in capsys.readouterr().out
    assert is_picture(out.with_suffix(".png"))
    if suffix == ".json":
        assert len(json.loads(out.read_text())["history"]["costs"]) == whole
    else:
        assert len(out.read_text().splitlines()) == whole + 1


BAD_FLAGS = [
    ["--experiment", "mnist"],
    ["--epochs", "0"],
    ["--epochs", "2.5"],
    ["--epochs", "many"],
    ["--batch-size", "0"],
    ["--learning-rate", "0"],
    ["--learning-rate", "-1"],
    ["--learning-rate", "nan"],
    ["--l2", "-0.1"],
    ["--seed", "-1"],
    ["--optimizer", "adagrad"],
    ["--dtype", "float16"],
    ["--out", "run.txt"],
    ["--out", "/proc/nowhere/run.json"],
    ["--out", "/proc/run.json"],
    ["--out", "folder.json"],
    ["--no-such-flag"],
]


@pytest.mark.parametrize("flags", BAD_FLAGS, ids=" ".join)
@pytest.mark.parametrize("name", ["train_scratch", "train_torch", "compare"])
def test_bad_flags_leave_with_status_2(name, flags, script, capsys):
    """Argparse's status, and a message that says what was expected."""
    if name == "compare":
        flags = [flag.replace(".json", ".png") for flag in flags]
    for folder in ("folder.json", "folder.png"):
        Path(folder).mkdir()
    with pytest.raises(SystemExit) as left:
        script(name).main(flags)
    assert left.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_device_is_a_bad_argument(script, capsys):
    """--device cuda without a device: status 2 and a way out."""
    assert script("train_torch").main(["--device", "cuda"]) == 2
    assert "use --device cpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["train_scratch", "train_torch", "compare", "figures", "benchmark", "readme"]
)
def test_help(name, script, capsys):
    """--help explains and leaves with status 0."""
    with pytest.raises(SystemExit) as left:
        script(name).main(["--help"])
    assert left.value.code == 0
    assert "python scripts/" in capsys.readouterr().out


def test_another_optimizer_brings_its_own_rate(script):
    """--optimizer without --learning-rate does not keep a rate made for another rule."""
    command_line = script("runs.command_line")
    arguments = command_line.argparse.ArgumentParser()
    command_line.add_flags(arguments)
    parse = lambda *flags: command_line.chosen(arguments.parse_args(flags))  # noqa: E731
    experiments = command_line.EXPERIMENTS
    assert parse() == experiments["digits"]
    assert parse("--optimizer", "adam") == experiments["digits"]
    assert parse("--optimizer", "momentum").learning_rate == 0.3
    assert parse("--optimizer", "momentum", "--learning-rate", "0.5").learning_rate == 0.5
    changed = parse("--epochs", "3", "--batch-size", "7", "--l2", "0", "--seed", "4")
    digits = experiments["digits"]
    assert changed == replace(digits, epochs=3, batch_size=7, l2=0.0, seed=4)


def test_experiments_split_real_data_once(script):
    """Every example of the bundled data is in exactly one of train, dev and test."""
    experiments = script("runs.experiments")
    for name, count in (("digits", 1797), ("breast-cancer", 569)):
        data = experiments.EXPERIMENTS[name].load()
        assert sum(X.shape[1] for X, _ in data) == count
        assert data.train[0].shape[1] == int(0.6 * count)
    datasets = script("runs.datasets")
    columns = np.concatenate([X for X, _ in datasets.digits()], axis=1)
    bundled = datasets.load_digits().data / 16
    assert_close(np.sort(columns.sum(axis=0)), np.sort(bundled.sum(axis=1)), "ink of the images")


def test_inputs_of_breast_cancer_are_normalized_on_the_training_set(script):
    """Mean 0 and variance 1 where the descent looks, not where it is judged."""
    data = script("runs.datasets").breast_cancer()
    assert np.abs(data.train[0].mean(axis=1)).max() < 1e-13
    assert np.abs(data.train[0].var(axis=1) - 1).max() < 1e-12
    assert np.abs(data.test[0].mean(axis=1)).max() > 1e-3


def test_benchmark_reports_every_shape(script, monkeypatch, tmp_path, capsys):
    """Each shape gets a row and a ratio; the numbers are written."""
    benchmark = script("benchmark")
    monkeypatch.setattr(benchmark, "BLOCK", 0.01)
    monkeypatch.setattr(benchmark, "SETTLE", 0.001)
    monkeypatch.setattr(benchmark, "SHAPES", [benchmark.SHAPES[0], benchmark.SHAPES[3]])
    assert benchmark.main(["--seconds", "0.1", "--out", "numbers.json"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "numbers.json").read_text())["results"]
    assert [one["shape"].split(",")[0] for one in results] == ["2-4-1", "64-128-64-10"]
    assert all(one["lowest"] <= one["ratio"] <= one["highest"] for one in results)
    assert "64-128-64-10, m=64, float32" in printed


def test_the_benchmark_times_the_same_step_on_both_sides(script):
    """After a few timed steps both sides have the same weights."""
    benchmark = script("benchmark")
    for shape in (benchmark.SHAPES[0], benchmark.SHAPES[3]):
        mine, other = benchmark.make_steps(shape)
        for _ in range(5):
            mine()
            other()
        ours = mine.__closure__
        cells = {type(cell.cell_contents).__name__: cell.cell_contents for cell in ours}
        module = next(
            cell.cell_contents
            for cell in other.__closure__
            if isinstance(cell.cell_contents, torch.nn.Module)
            and hasattr(cell.cell_contents, "logits")
        )
        theirs = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
        distance = np.abs(cells["Parameters"].theta - theirs).max()
        assert distance < 1e-5


def test_files_are_written_whole_or_not_at_all(script, tmp_path):
    """Ctrl-C in the middle of a file leaves the old one, and nothing beside it."""
    path = tmp_path / "report.txt"
    with script("runs.command_line").whole(path) as unfinished:
        unfinished.write_text("whole")
        assert not path.exists()

    def interrupted():
        with script("runs.command_line").whole(path) as unfinished:
            unfinished.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.name for one in tmp_path.iterdir()] == ["report.txt"]
    assert path.read_text() == "whole"
