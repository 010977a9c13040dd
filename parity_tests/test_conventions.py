"""The convention registry: right translations inside their budget, wrong ones far outside."""

from __future__ import annotations

import json
import math
import re
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests import __main__ as command
from parity_tests import registry
from parity_tests.budgets import FORWARD, Budget
from parity_tests.conventions import Convention, Refutation, examine, in_words
from parity_tests.harness import MARGIN
from parity_tests.ledger import LEDGER

ROWS = {row.name: row for row in registry.REGISTRY}

#: what the courses' dialects and the errata of their notes come to, with the mistakes to be named.
EXPECTED = {
    "momentum": {"dampening=beta", "lr=alpha", "nesterov=True"},
    "momentum-without-averaging": {"lr=alpha * (1 - beta)"},
    "rmsprop": {"torch's default alpha", "epsilon inside the root"},
    "rmsprop-epsilon-inside": {"epsilon outside the root"},
    "adam": {"epsilon-hat form (Keras, TensorFlow, scikit-learn)", "without bias correction"},
    "adam-epsilon-inside": {"epsilon outside the root"},
    "adam-without-correction": {"torch.optim.Adam"},
    "l2": {"decay on the biases", "AdamW", "weight_decay=lambda"},
    "l1": {"lambda / (2 m)"},
    "dropout": {"p=keep_prob", "not divided by keep_prob"},
    "batch-norm-running-averages": {"momentum=beta", "torch's variance for 1/m"},
    "xavier": {"xavier_normal_"},
    "he": {'mode="fan_out"'},
    "input-normalization": {"correction=1, torch's default"},
    "inverse-time-decay": {"stepping once too early", "lambda epoch: 1 / (1 + decay * epoch)"},
    "interval-decay": {"without the floor"},
    "exponential-decay": {"ExponentialLR from alpha_0"},
    "natural-exponential-decay": {"gamma=1 - lambda"},
    "inverse-square-root-decay": {"k / sqrt(epoch + 2)"},
    "piecewise-constant": {"milestones=[6, 11]"},
    "cost-of-an-epoch": {"mean of batch means"},
    "clip-by-value": {"clip_grad_norm_"},
    "clip-by-global-norm": {"each tensor by its own norm", "limit / norm, without torch's 1e-6"},
    "binary-cross-entropy": {"BCELoss where A saturates", 'reduction="mean"'},
    "float32-products": {"TF32"},
    "relu-at-0": {"Z.clamp(min=0)"},
    "leaky-relu-at-0": {"torch.where(Z >= 0, Z, 0.01 * Z)"},
    "absolute-value-at-0": {"torch.where(w >= 0, w, -w)"},
    "moving-average": {"torch.optim.swa_utils", "without correction"},
    "averaging-window": {"1 - beta"},
    "normalization-over-sigma": {"X / sigma^2"},
    "batch-norm-under-the-root": {"(Z - mean) / (sigma^2 + epsilon)"},
    "softmax-backward": {"y - y_hat"},
    "softmax-denominator": {"the sum ends at l"},
    "dropout-keeps-below": {"0 where D is below keep_prob"},
    "dropout-mask-from-rand": {"D = randn"},
    "l2-gradient": {"dW = dZ A^T + lambda / m W"},
    "adam-moves-along-v-hat": {"v for v_hat"},
}
WRONG = [(row.name, wrong) for row in registry.REGISTRY for wrong in row.wrong]


@pytest.fixture(scope="module")
def findings():
    """Return what each convention measures."""
    with LEDGER.unrecorded():  # no test of a convention runs yet
        return {name: examine(row) for name, row in ROWS.items()}


@pytest.mark.parametrize("name", ROWS)
def test_the_right_translation_is_inside_its_budget(name):
    """Both sides of the library compute the course's values from the same draws."""
    finding = examine(ROWS[name])
    assert finding.failure == ""
    assert finding.right.eps <= finding.allowed


def present(row, wrong):
    """Return a refutation, or skip where this machine cannot measure it."""
    reason = ROWS[row].wrong[wrong].missing()
    if reason:
        pytest.skip(reason)
    return ROWS[row].wrong[wrong]


@pytest.mark.parametrize(("row", "wrong"), WRONG)
def test_the_wrong_translation_is_outside_by_its_margin(row, wrong, findings):
    """Each is measured to be off by its margin, which is a hundred budgets or more."""
    refutation, finding = present(row, wrong), findings[row]
    refuted = finding.wrong[wrong]
    assert refuted.failure == ""
    assert refuted.deviation.relative >= refutation.margin
    eps = np.finfo(np.float32 if row == "float32-products" else np.float64).eps
    assert refutation.margin >= MARGIN * finding.allowed * eps
    assert refutation.why


@pytest.mark.parametrize(("row", "wrong"), WRONG)
def test_the_wrong_translation_would_not_pass_as_the_right_one(row, wrong):
    """Put in the place of torch's values, what is refuted fails the comparison itself."""
    refutation, honest = present(row, wrong), ROWS[row]

    def theirs(**draws):
        return {**honest.theirs(**draws), **refutation.values(**draws)}

    with LEDGER.unrecorded():
        assert examine(replace(honest, theirs=theirs, wrong={})).failure


#: slips in what to type, of each kind of row: what stands there, and what somebody types instead.
SLIPS = [
    ("momentum", "alpha * (1 - beta)", "alpha"),
    ("momentum", "momentum=beta", "momentum=beta, dampening=beta"),
    ("momentum-without-averaging", "lr=alpha", "lr=alpha * (1 - beta)"),
    ("rmsprop", "alpha=beta, ", ""),
    ("rmsprop-epsilon-inside", "_inside_root=True", "_inside_root=False"),
    ("adam", "eps=epsilon", "eps=1e-7"),
    ("adam", "(beta1, beta2)", "(beta2, beta1)"),
    ("adam-epsilon-inside", ", epsilon_inside_root=True", ""),
    ("adam-without-correction", "=False", "=True"),
    ("inverse-time-decay", "(epoch + 1)", "epoch"),
    ("interval-decay", "(epoch + 1)", "epoch"),
    ("exponential-decay", "gamma=rate", "gamma=1 - rate"),
    ("natural-exponential-decay", "math.exp(-decay)", "1 - decay"),
    ("inverse-square-root-decay", "epoch + 1", "epoch + 2"),
    ("piecewise-constant", "[5, 10]", "[6, 11]"),
    ("moving-average", "1 - beta)", "beta)"),
    ("averaging-window", "1 / (1 - beta)", "1 - beta"),
    ("relu-at-0", "torch.nn.ReLU()", "lambda Z: Z.clamp(min=0)"),
    ("leaky-relu-at-0", "0.01", "0.1"),
    ("absolute-value-at-0", "w.abs()", "torch.where(w >= 0, w, -w)"),
    ("softmax", "dim=1", "dim=0"),
    ("binary-cross-entropy", '"sum"', '"mean"'),
    ("cross-entropy", "(Z, Y)", "(Z.softmax(1), Y)"),
    ("l2", "lambda_ / m", "lambda_ / (2 * m)"),
    ("l2", '{"params": biases}', '{"params": biases, "weight_decay": lambda_ / m}'),
    ("l1", "lambda_ / m", "lambda_ / (2 * m)"),
    ("clip-by-value", "value_", "norm_"),
    ("clip-by-global-norm", "limit)", "2 * limit)"),
    ("dropout", "1 - keep_prob", "keep_prob"),
    ("batch-norm-running-averages", "1 - beta", "beta"),
    ("xavier", ', nonlinearity="linear"', ""),
    ("he", ', nonlinearity="relu"', ', mode="fan_out"'),
    ("input-normalization", "0, correction=0", "0"),
    ("float32-products", '"highest"', '"high"'),
    ("normalization-over-sigma", ".std(", ".var("),
    ("batch-norm-under-the-root", "training=True", "training=True, eps=1e-3"),
    ("softmax-backward", " / m", ""),
    ("softmax-denominator", "dim=1", "dim=0"),
    ("dropout-keeps-below", "<", ">="),
    ("dropout-mask-from-rand", " / keep_prob", " * 1.0"),
    ("l2-gradient", "(2 * m)", "m"),
    ("adam-moves-along-v-hat", "eps=epsilon", "eps=1e-3"),
]


@pytest.mark.parametrize(("name", "right", "slip"), SLIPS)
def test_a_slip_in_what_to_type_is_measured(name, right, slip):
    """The text itself is evaluated: spelled otherwise, the row fails in the quantity as typed."""
    row = ROWS[name]
    assert row.torch.count(right)
    slipped = replace(row, torch=row.torch.replace(right, slip, 1), wrong={})
    with LEDGER.unrecorded():
        assert "as typed" in examine(slipped).failure


def test_what_is_typed_is_evaluated_wherever_it_is_an_expression():
    """All but three texts are, and each of those is slipped above."""
    words = {"cost-of-an-epoch", "rotation", "beta-on-a-log-scale"}
    assert {row.name for row in registry.REGISTRY if row.typed is None} == words
    assert {name for name, *_ in SLIPS} == ROWS.keys() - words


def test_every_dialect_and_erratum_has_its_row():
    """No row of the list is missing, nor any mistake that it names."""
    assert len(ROWS) == len(registry.REGISTRY)
    for name, wrong in EXPECTED.items():
        assert wrong <= ROWS[name].wrong.keys(), name
    assert all(row.wrong and row.course and row.torch and row.source for row in ROWS.values())


@pytest.mark.parametrize("name", ROWS)
def test_mistakes_of_a_row_are_not_the_same_mistake(name, findings):
    """No two of them are off by the same, as a copied refutation would be."""
    measured = [one.deviation for one in findings[name].wrong.values() if one.deviation]
    assert len(set(measured)) == len(measured)


def test_measuring_leaves_no_trace():
    """The same numbers again, whatever came before; global generators and settings as they were."""
    legacy = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global state is what is watched
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)  # no state that a row leaves behind
        before = torch.get_rng_state()
        for name in ("adam", "dropout", "batch-norm-running-averages", "l2"):
            first, second = (repr(examine(ROWS[name])[1:]) for _ in range(2))
            assert first == second
        assert torch.equal(before, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == legacy  # noqa: NPY002
    narrow = ROWS["float32-products"]
    narrow.wrong["TF32"].values(**narrow.draws())
    assert torch.get_float32_matmul_precision() == "highest"


def test_another_precision_is_noticed():
    """Where torch may round products to fewer bits, the row of float32 products fails."""
    torch.set_float32_matmul_precision("high")
    try:
        with LEDGER.unrecorded():
            assert "bits of the significand differs" in examine(ROWS["float32-products"]).failure
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def lie(x, factor=1.0):
    """Return a quantity, and another that is never wrong."""
    return {"y": factor * x, "z": x + 1}


HONEST = Convention(
    name="doubling",
    topic="arithmetic",
    course="y = x",
    torch="x.clone()",
    source="Peano",
    draw=lambda rng: {"x": rng.standard_normal((2, 3))},
    ours=lie,
    theirs=lie,
    wrong={"a tenth more": Refutation(values=lambda x: lie(x, 1.1), margin=0.05, why="x + x / 10")},
)


def refuted_by(**choices):
    """Return the honest convention with another refutation."""
    choices = {"values": lambda x: lie(x, 1.1), "margin": 0.05, "why": "", **choices}
    return replace(HONEST, wrong={"it": Refutation(**choices)})


LIES = {
    "right translation wrong": (
        replace(HONEST, theirs=lambda x: lie(x, 1 + 1e-14)),
        r"doubling: y differs at \(\d, \d\)",
    ),
    "right translation not finite": (
        replace(HONEST, theirs=lambda x: lie(x, np.nan)),
        "doubling: y: the reference is not finite",
    ),
    "right translation in float32": (
        replace(HONEST, theirs=lambda x: lie(x.astype("f4"))),
        "doubling: y: dtypes differ",
    ),
    "right translation of another shape": (
        replace(HONEST, theirs=lambda x: lie(x[:1])),
        "doubling: y: shapes differ",
    ),
    "all zeros": (
        replace(HONEST, ours=lambda x: lie(x, 0.0), theirs=lambda x: lie(x, 0.0), wrong={}),
        "doubling: y: the reference, at most 0, drowns",
    ),
    "refutation agrees": (refuted_by(values=lie), "doubling, it: y is off by 0 only"),
    "refutation misses its margin": (refuted_by(margin=0.2), "doubling, it: y is off by 0.1 only"),
    "margin within a hundred budgets": (
        refuted_by(margin=99 * 16 * np.finfo(float).eps),
        "doubling, it: its margin 3.5e-13 is not 100 times the budget",
    ),
    "budget as wide as the mistake": (
        replace(HONEST, budget=Budget(name="loose", relative=0.01)),
        "doubling, a tenth more: its margin 0.05 is not 100 times the budget",
    ),
    "refutation breaks instead": (
        refuted_by(values=lambda x: lie(x, np.nan)),
        "doubling, it: y is nan where .* is right: no number at all",
    ),
    "refutation does not break": (refuted_by(margin=math.inf), "expected at least inf"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_caught(name):
    """A row that is wrong in any way says so, in one sentence."""
    row, message = LIES[name]
    with LEDGER.unrecorded():
        failures = examine(row).failures
    assert any(re.search(message, failure) for failure in failures), failures


def test_an_honest_row_passes():
    """The row that the lies are made of has no failure, its mistake is off by a tenth."""
    with LEDGER.unrecorded():
        finding = examine(HONEST)
        assert finding.failures == []
        assert finding.wrong["a tenth more"].deviation.relative == pytest.approx(0.1)
        assert finding.allowed == FORWARD.eps
        nearly = examine(replace(HONEST, theirs=lambda x: lie(x, 1 + 1e-15)))
        assert (nearly.right.quantity, nearly.failures) == ("y", [])
        assert nearly.right.eps > 1
        broken = refuted_by(values=lambda x: lie(x, np.inf), margin=math.inf)
        assert examine(broken).failures == []


def test_rows_that_compare_nothing_are_refused():
    """Quantities must have a counterpart, of the same shape."""
    for row in (
        replace(HONEST, theirs=lambda x: {"y": x}),
        replace(HONEST, ours=lambda x: {}, theirs=lambda x: {}),
        refuted_by(values=lambda x: {}),
        refuted_by(values=lambda x: {"w": x}),
        refuted_by(values=lambda x: {"y": x[0]}),
        replace(HONEST, typed=lambda text, x: {}),
        replace(HONEST, typed=lambda text, x: {"w": x}),
    ):
        with LEDGER.unrecorded(), pytest.raises(ValueError, match=r"^expected "):
            examine(row)


def test_deviations_in_words():
    """People read percents and digits."""
    said = {
        math.inf: "no number at all",
        8.96: "off by 9 times the right value",
        0.221: "off by 22%",
        1.4e-5: "off from digit 5 on (1.4e-05)",
        0.0: "equal",
    }
    assert {relative: in_words(relative) for relative in said} == said


def run(capsys, *arguments):
    """Return the exit status and what was printed."""
    status = command.main(["conventions", *arguments])
    return status, capsys.readouterr().out


def test_the_table_has_every_row(capsys):
    """Each name, formula and mistake stands in it; it is ASCII, at most 120 characters across."""
    status, printed = run(capsys)
    assert status == 0
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 120
    for name in ROWS:
        assert re.search(rf"^{name.upper()} ", printed, re.MULTILINE)
    assert f"{len(ROWS)} conventions, " in printed
    assert "all right ones inside, all wrong ones out" in printed
    assert 'float32 matrix products at "highest" precision' in printed
    assert torch.cuda.is_available() or "no CUDA device is here" in printed
    assert "FAIL" not in printed


def test_one_question_is_answered_in_detail(capsys):
    """`conventions adam` names what to type, and each mistake with its size and reason."""
    status, printed = run(capsys, "Adam")
    assert status == 0
    words = " ".join(printed.split())
    for expected in (
        "W = W - alpha v_hat / (sqrt(s_hat) + epsilon)",
        "torch.optim.Adam(parameters, lr=alpha, betas=(beta1, beta2), eps=epsilon)",
        "of 64 eps allowed (optimizer round-off)",
        "WRONG epsilon-hat form (Keras, TensorFlow, scikit-learn): off by ",
        "visible at |g| ~ 1e-8",
        "v for v_hat",
        "AdamW",
    ):
        assert expected in words
    assert "DROPOUT" not in printed
    assert max(map(len, printed.splitlines())) <= 110


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["rmsprop"], ["rmsprop", "rmsprop-epsilon-inside"]),
        (["CLIPPING"], ["clip-by-value", "clip-by-global-norm"]),
        (["dampening"], ["momentum"]),
        (["he", "xavier_normal_"], ["xavier", "he"]),
        ([], list(ROWS)),
    ],
)
def test_rows_are_found_by_name_topic_or_mistake(words, found):
    """Case does not matter, and the order is the registry's."""
    names = [row.name for row in registry.find(words, registry.REGISTRY)]
    assert set(found) <= set(names)
    assert sorted(names, key=list(ROWS).index) == names
    if words != ["he", "xavier_normal_"]:
        assert names == found


def test_unknown_names_are_refused(capsys):
    """Status 2, and a list of what is known."""
    with pytest.raises(SystemExit) as refused:
        command.main(["conventions", "adam", "adamm"])
    assert refused.value.code == 2
    message = capsys.readouterr().err
    assert "got adamm" in message
    assert all(name in message for name in ROWS)


def test_a_failing_row_fails_the_command(capsys, monkeypatch):
    """Status 1, and the failure named, in the table and in detail."""
    broken = LIES["right translation wrong"][0]
    monkeypatch.setattr(registry, "REGISTRY", [ROWS["clip-by-value"], broken])
    with LEDGER.unrecorded():
        for arguments in ([], ["doubling"]):
            status, printed = run(capsys, *arguments)
            assert status == 1
            assert "FAILS: doubling: y differs at" in printed
            assert "1 FAIL" in printed


def test_numbers_as_json(capsys, tmp_path):
    """Every number of the table and the versions, in JSON that any reader takes."""
    path = tmp_path / "conventions.json"
    status, _ = run(capsys, "absolute-value", "float32-products", "--json", str(path))

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    report = json.loads(path.read_text(), parse_constant=refuse)
    assert status == 0
    assert report["environment"]["torch"] == torch.__version__
    rows = {row["name"]: row for row in report["conventions"]}
    assert list(rows) == ["absolute-value-at-0", "float32-products"]
    broken = rows["absolute-value-at-0"]["wrong"]["(w ** 2).sqrt()"]
    assert broken["deviation"]["relative"] is None
    assert rows["float32-products"]["right"]["eps"] <= rows["float32-products"]["allowed_eps"]
    with pytest.raises(SystemExit) as refused:
        command.main(["conventions", "clip", "--json", str(tmp_path / "missing" / "a.json")])
    assert refused.value.code == 2


def test_the_markdown_table_is_one(capsys):
    """Every line has four cells, bars inside them escaped."""
    _, printed = run(capsys, "--markdown")
    lines = printed.splitlines()
    assert len(lines) == len(ROWS) + 2
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in lines)


def test_the_command_runs_from_any_folder(capsys, monkeypatch, tmp_path):
    """`python -m parity_tests` needs no file of the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, command.__name__)
    monkeypatch.setattr(sys, "argv", ["parity_tests", "conventions", "clip-by-value"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("parity_tests", run_name="__main__")
    assert ended.value.code == 0
    assert "CLIP-BY-VALUE (clipping)" in capsys.readouterr().out
