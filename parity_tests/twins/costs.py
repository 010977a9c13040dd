"""Costs: from logits and from probabilities, where both keep their digits, and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy.special import expit, softmax
from torch.nn import functional

from parity_tests.compare.bridge import rows
from parity_tests.compare.gauges import softmax_gauges
from parity_tests.drawing import Array, classes, draw, examples, kinds, smooth, widths
from parity_tests.mistakes import Mistake, Values
from parity_tests.rows import Case, FunctionTwin, Pair, PairTwin, Relation, evaluate
from parity_tests.twins._relations import mapped, same_under, spoilt, taking
from parity_tests.twins.activations import draw_logits
from scratch import costs as ours
from torch_ref import costs as theirs

Table = Sequence[Sequence[float]]

BINARY = 'Course 1, week 2, "Logistic regression cost function"'
CLASSES = 'Course 2, week 3, "Training a softmax classifier"'

#: probabilities stay so far from 0 and 1: nearer to 0 torch divides by 1e-12, and 1 - A of a
#: float32 nearer to 1 is 0.
CLAMPED = 1e-11, 1 - 1e-6

LARGE = {"given": ((1e4, -1e4, 1e4, -1e4, 40.0), (0.0,) * 5),
    "labels": ((0.0, 1.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0, 1.0))}  # fmt: skip

TINY_COST = {"given": ((40.0, 50.0, 700.0),), "labels": ((1.0,) * 3,)}

reductions = st.sampled_from([*ours.REDUCTIONS])
CASES = {"n": widths, "m": examples, "kind": kinds, "reduction": reductions}


def draw_cost(rng: np.random.Generator, letter: str, one_hot: bool, n: int = 3, m: int = 9,
    kind: str = "normal", reduction: str = "mean", given: Table = (),
    labels: Table = ()) -> Case:  # fmt: skip
    """Draw logits or probabilities, the first example undecided, and labels; or take them."""
    if given:
        return {letter: np.array(given), "Y": np.array(labels), "reduction": reduction}
    Z = draw_logits(rng, n, m, kind, scale=1.0)["Z"]
    if one_hot:
        Y = np.eye(n)[:, rng.permutation(np.resize(np.arange(n), m))]
    else:
        Y = rng.permutation(np.resize([0.0, 1.0], n * m)).reshape(n, m)
    if letter == "A":
        Z = np.clip(softmax(Z, axis=0) if one_hot else expit(Z), *CLAMPED)
    return {letter: Z, "Y": Y, "reduction": reduction}


def of_probabilities(arguments: Mapping[str, Any], dJ: Any, name: str) -> dict[str, Array]:
    """Return the gauge of a gradient of which each entry keeps its digits: its size by formula."""
    (A, Y), of_classes = (arguments[each] for each in "AY"), name == "cross_entropy"
    slope = Y / np.where(Y == 1, A, 1) if of_classes else 1 / np.where(Y == 1, A, 1 - A)
    slope = np.ones_like(A) if name == "absolute_error" else slope
    return {"A": np.abs(dJ) * slope / ours.REDUCTIONS[arguments["reduction"]](Y.shape[1])}


def of_logits(arguments: Mapping[str, Any], dJ: Any, name: str) -> dict[str, Array]:
    """Return the gauges of binary costs, of which torch takes two numbers like Z apart.

    Of classes, the log of a sum near 1 keeps its absolute error.
    """
    J, (A, Y, divisor) = ours.COSTS[name].forward(**arguments)
    Z, slope = arguments["Z"], np.abs(dJ) / divisor
    if name.startswith("cross"):
        pulled = softmax_gauges({"Z": Z}, np.ones_like(Y))["output"] + Y
        return {"output": J + Y.shape[1] / divisor, "Z": slope * pulled}
    apart = np.abs((1 - Y) * Z).sum() / divisor
    return {"output": J + apart, "Z": slope * (A + np.abs(A - Y))}


def m_times(row: str) -> Relation:
    def holds(run: Any, **case: Any) -> tuple[Values, Values]:
        mean, total = (run(row, **{**case, "reduction": one})["output"] for one in ("mean", "sum"))
        return {"mean times m": mean * case["Y"].shape[1]}, {"mean times m": total}

    broken = taking(reduction="sum")
    return Relation(name="the mean is the sum over m", holds=holds, broken_by=broken)


def of_two_classes(run: Any, Z: Array, Y: Array, **case: Any) -> tuple[Values, Values]:
    both = run("cross-entropy", Z=Z, Y=Y, **case)
    J, dZ = run("binary-cross-entropy", Z=Z[:1] - Z[1:], Y=Y[:1], **case).values()
    found = {"two classes": both["output"], "gradient of Z": both["gradient of Z"]}
    return found, {"two classes": J, "gradient of Z": np.concatenate([dZ, -dZ])}


def draw_predicted(
    rng: np.random.Generator, n: int = 3, m: int = 25, kind: str = "normal", **others: Any
) -> Case:
    """Draw probabilities; some are at a threshold exactly, and some are 0 and 1."""
    A = expit(draw(kind, (n, m), rng))
    A.flat[rng.integers(0, A.size, 3)] = [others.get("threshold", 0.5), 0.0, 1.0]
    return {"A": A, **others}


def draw_judged(rng: np.random.Generator, n: int = 3, m: int = 25, right: float = 0.8) -> Case:
    """Draw labels, and predictions of which each entry is right with a probability."""
    Y = rng.integers(0, 2, (n, m)).astype(float)
    return {"prediction": np.abs(Y - (rng.random((n, m)) > right)), "Y": Y}


# fmt: off
def cost(name: str, row: str, gauges: Any = of_probabilities, **others: Any) -> PairTwin:
    one_hot, pair = name.startswith("cross"), ours.COSTS[name]
    letter = "Z" if name.endswith("logits") else "A"
    others["relations"] = (m_times(row), *others.get("relations", ()))
    others["edges"] = {"sum": {"reduction": "sum"}, **others.get("edges", {})}
    made = PairTwin(
        name=row, proves=(f"{name}_forward", f"{name}_backward"),
        ours=Pair(pair.forward, pair.backward), theirs=theirs.COSTS[name],
        typed=lambda text, **case: made.torch_run(
            lambda Z, Y, reduction: evaluate(text, Z=Z, Y=Y, m=len(Y)), case),
        constants=("Y", "reduction"), draw=partial(draw_cost, letter=letter, one_hot=one_hot),
        cases={**CASES, "n": classes if one_hot else widths}, smooth=smooth,
        gauges=partial(gauges, name=name), **others)
    return made


def judged(name: str, output: str = "prediction", **others: Any) -> FunctionTwin:
    return FunctionTwin(
        name=name, proves=(name,), ours=getattr(ours, name), theirs=getattr(theirs, name),
        names=(output,), exact=True, weight=0.3, **others)


ABSOLUTE_ERROR = cost(
    "absolute_error", "absolute-error",
    formula="J = 1/m sum |Y - A|;  dA = 1/m sign(A - Y), 0 at A = Y",
    source='Course 1, week 2, "Python basics with NumPy", the L1 loss; torch.nn.functional.l1_loss',
    edges={"right to the bit": {"given": ((1.0, 0.3, -0.0),), "labels": ((1.0, 0.9, 0.0),)}})

TAUGHT = cost(
    "binary_cross_entropy", "binary-cross-entropy-from-A",
    formula="J = -1/m sum (Y log A + (1 - Y) log(1 - A));  dA = 1/m ((1 - Y) / (1 - A) - Y / A)",
    source=f"{BINARY}; torch.nn.functional.binary_cross_entropy",
    mistakes=(Mistake(name='reduction="mean"', margin=0.1,
        why="torch's mean divides by all n m entries, the course by the m examples",
        wrong=lambda A, Y, reduction: functional.binary_cross_entropy(A, Y)),))

TINY = PairTwin(
    name="cost-of-a-tiny-probability", topic="costs",
    formula="J = -log(1 - A) = A + A^2 / 2 + ...;  dA = 1 / (1 - A), for label 0",
    torch="-torch.log1p(-A); BCELoss costs the same, but divides its gradient by 1e-12 at least",
    typed=lambda text, A, **case: {"output": evaluate(text, A=rows(A)).sum().numpy()},
    source=f"{BINARY}; torch.log1p",
    proves=TAUGHT.proves, ours=TAUGHT.ours, theirs=lambda A, Y, reduction: -(-A).log1p().sum(),
    constants=("Y", "reduction"),
    draw=lambda rng, power=2.0: {
        "A": np.array([[10.0**-power]]), "Y": np.zeros((1, 1)), "reduction": "sum"},
    smooth=lambda power=2.0, **_: power < 4, cases={"power": st.floats(0.01, 30)},
    edges={f"A = 1e-{power}": {"power": float(power)} for power in (3, 6, 9, 17, 300)},
    gauges=TAUGHT.gauges,
    mistakes=(
        Mistake(name="(1 - A).log()", margin=0.9, at="A = 1e-17",
            why="1 - A rounds to 1: a rare error costs nothing"),
        Mistake(name="the gradient of BCELoss", margin=0.9, at="A = 1e-17",
            why="it divides by A (1 - A), but by 1e-12 at least",
            wrong=theirs.binary_cross_entropy)))

CLASSES_FROM_A = cost(
    "cross_entropy", "cross-entropy-from-A",
    formula="J = -1/m sum of Y log A;  dA = -1/m Y / A",
    source=f"{CLASSES}; torch.gather, torch.log",
    edges={
        "certain and right": {"given": ((1.0, 0.0, 0.5), (0.0, 1.0, 0.5)),
            "labels": ((1.0, 0.0, 1.0), (0.0, 1.0, 0.0))},
        "A = 1e-300": {"given": ((1e-300,), (1.0,)), "labels": ((1.0,), (0.0,))}})

BINARY_LOGITS = cost(
    "binary_cross_entropy_with_logits", "binary-cross-entropy", of_logits,
    formula="J = -1/m sum (Y log A + (1 - Y) log(1 - A)), A = sigmoid(Z);  dZ = 1/m (A - Y)",
    torch='torch.nn.BCEWithLogitsLoss(reduction="sum")(Z, Y) / m',
    source=f"{BINARY}; torch.nn.BCEWithLogitsLoss, torch.nn.BCELoss",
    edges={
        "large and wrong": {"given": ((200.0, -300.0, 0.5), (0.5, 1.0, -1.0)),
            "labels": ((0.0, 1.0, 1.0), (0.0, 1.0, 0.0))},
        "a tiny cost": TINY_COST,
        "saturated": {"given": ((1e4, -1e4, 1e4, -1e4, 40.0),),
            "labels": ((0.0, 1.0, 1.0, 0.0, 0.0),)}},
    relations=(
        Relation(name="turning logits and labels round costs the same",
            holds=same_under("binary-cross-entropy", lambda Z, Y, **_: {"Z": -Z, "Y": 1 - Y},
                mapped("gradient of Z", np.negative)),
            broken_by=spoilt("gradient of Z", lambda dZ: dZ + 1e-10)),
        Relation(name="a tiny cost keeps its digits", at=TINY_COST,
            holds=lambda run, Z, **case: (
                {"tiny cost": run("binary-cross-entropy", Z=Z, **case)["output"]},
                {"tiny cost": np.log1p(np.exp(-Z)).mean()}),
            broken_by="log(1 + e^-|Z|) as it is typed")),
    mistakes=(
        Mistake(name="BCELoss where A saturates", margin=0.1, at="large and wrong",
            why="BCELoss clamps its logs at -100: wrong logits of 200 and -300 cost 100 each, and "
                "the gradient dies",
            wrong=lambda Z, Y, reduction: theirs.binary_cross_entropy(Z.sigmoid(), Y, reduction)),
        Mistake(name="log(1 + e^-|Z|) as it is typed", margin=0.9, at="a tiny cost",
            why="1 + e^-40 rounds to 1")))

CLASS_LOGITS = cost(
    "cross_entropy_with_logits", "cross-entropy", of_logits,
    formula="J = -1/m sum of Y log A, A = softmax(Z);  dZ = 1/m (A - Y)",
    torch='torch.nn.CrossEntropyLoss(reduction="sum")(Z, Y) / m; Z are logits',
    source=f"{CLASSES}; torch.nn.CrossEntropyLoss",
    edges={"saturated": LARGE,
        "saturated draws": {"n": 5, "m": 8, "kind": "saturated", "reduction": "sum"}},
    relations=(
        Relation(name="the cost of two classes is that of the difference", at={"n": 2},
            holds=of_two_classes, broken_by=spoilt("output", lambda J: J / 2)),
        Relation(name="cross-entropy ignores what is added to all logits of an example",
            holds=same_under("cross-entropy", lambda Z, **_: {"Z": Z + 1024}),
            broken_by="log-sum-exp-without-the-shift", at=LARGE)),
    mistakes=(
        Mistake(name="CrossEntropyLoss of A", margin=0.1,
            seen="tflearn/tflearn pull request 562; Lightning-Universe/lightning-bolts issue 654",
            why="CrossEntropyLoss holds the softmax already: this takes it twice",
            wrong=lambda Z, Y, reduction: theirs.cross_entropy_with_logits(Z.softmax(dim=1), Y)),
        Mistake(name="NLLLoss of A", margin=0.1,
            why="NLLLoss takes no logarithm: it wants log A",
            wrong=lambda Z, Y, reduction: functional.nll_loss(Z.softmax(dim=1), Y.argmax(dim=1))),
        Mistake(name="y - y_hat", margin=1.9, why="the sign is turned: descent climbs")))

PREDICTIONS = (
    judged("predict_by_threshold", float32=True,
        formula="1 where A > threshold, else 0",
        source='Course 1, week 2, "Logistic regression"; torch.gt',
        draw=partial(draw_predicted, threshold=0.5),
        cases={"n": widths, "m": examples,
            "threshold": st.sampled_from([0.5, 0.3]) | st.floats(0, 1)},
        edges={"0": {"threshold": 0.0}, "1": {"threshold": 1.0}}),
    judged("predict_by_argmax",
        formula="1 at the first largest A of a column, else 0",
        source='Course 2, week 3, "Softmax regression"; torch.argmax',
        draw=draw_predicted, cases={"n": widths, "m": examples, "kind": kinds},
        edges={"ties": {"kind": "grid"}, "one class": {"n": 1}}),
    judged("accuracy", "accuracy",
        formula="the fraction of the m columns in which every one of the n labels is right",
        source='Course 1, week 3, "Planar data classification with one hidden layer"; torch.eq',
        draw=draw_judged,
        cases={"n": widths, "m": examples, "right": st.sampled_from([0.0, 0.5, 0.9, 1.0])},
        edges={"all right": {"right": 1.0}, "one output": {"n": 1}}))
# fmt: on

TWINS = (
    *(ABSOLUTE_ERROR, TAUGHT, TINY, CLASSES_FROM_A),
    *(BINARY_LOGITS, CLASS_LOGITS, *PREDICTIONS),
)
