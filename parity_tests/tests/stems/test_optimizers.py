"""Optimizers: the same injected gradients, parameters and state compared after every step."""

from __future__ import annotations

import inspect
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from parity_tests import STEP, assert_close, assert_same_trajectory
from parity_tests.compare.functions import draw_gradients
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.witnesses import widened
from scratch import optimizers as ours
from scratch._blocks import blocks, move
from scratch.optimizers import Adam, GradientDescent, Momentum, RMSprop
from scratch.parameters import Parameters
from torch_ref import optimizers as theirs

EXAMPLES = {
    "scratch.optimizers.minimize": {
        "gradient": lambda theta: 2 * (theta - 5),
        "start": np.array([1.0, 2.0]),
        "optimizer": Adam(),
        "steps": 3,
    },
    "torch_ref.optimizers.minimize": {
        "cost": lambda theta: ((theta - 5) ** 2).sum(),
        "start": torch.tensor([1.0, 2.0]),
        "optimizer": theirs.adam,
        "steps": 3,
    },
}


TINY = [1.0, 1e-8, 1.0, 1e-8, 1.0, 0.0]

CASES = {
    "gradient_descent": (GradientDescent, {}),
    "momentum": (Momentum, {}),
    "momentum-beta=0.5": (Momentum, {"beta": 0.5}),
    "momentum-without (1-beta)": (Momentum, {"averaging": False}),
    "rmsprop": (RMSprop, {}),
    "rmsprop-beta=0.99": (RMSprop, {"beta": 0.99}),
    "rmsprop-epsilon inside": (RMSprop, {"epsilon_inside_root": True}),
    "adam": (Adam, {}),
    "adam-other betas": (Adam, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-6}),
    "adam-epsilon inside": (Adam, {"epsilon_inside_root": True}),
    "adam-without correction": (Adam, {"bias_correction": False}),
    "adam-both": (Adam, {"bias_correction": False, "epsilon_inside_root": True}),
}


def draw_parameters(rng, dtype=np.float64):
    """Draw the parameters of a layer."""
    return {"W1": rng.standard_normal((6, 5)).astype(dtype)}


def assert_case(case, learning_rate, parameters, rng, **options):
    """Hold one of CASES against its twin along a trajectory."""
    make, choices = CASES[case]
    stem = case.split("-")[0]
    choices = {"learning_rate": learning_rate, **choices}
    assert_same_trajectory(
        make(**choices),
        partial(theirs.OPTIMIZERS[stem], **choices),
        parameters,
        rng,
        state=getattr(theirs, f"{stem}_state"),
        **options,
    )


def claims(case):
    """Return a case that proves its optimizer; a state held against nothing would fail it."""
    return pytest.param(case, marks=pytest.mark.parity(CASES[case][0].__name__))


@pytest.mark.parametrize(("learning_rate", "steps"), [(0.01, 1000), (10.0, 200)])
@pytest.mark.parametrize("case", [claims(case) for case in CASES])
def test_trajectory(case, learning_rate, steps, device, rng):
    """A thousand steps, tiny and zero gradients among them, and every array of the state.

    A rule works entry by entry, so a few draws of twelve parameters walk side by side, each held to
    its own gauge: ours, torch's and ours in longdouble.
    """
    groups = 5000 // steps
    parameters = {"W1": rng.standard_normal((groups * 6, 2))}
    choices = {"groups": groups, "steps": steps, "device": device}
    assert_case(case, learning_rate, parameters, rng, **choices)


@pytest.mark.parametrize("case", CASES)
def test_trajectory_of_several_tensors(case, device, rng):
    """Names keep their places in theta and in the state."""
    shapes = {"W1": (4, 3), "b1": (4, 1), "W2": (2, 4), "b2": (2, 1)}
    parameters = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    assert_case(case, 0.1, parameters, rng, device=device)


@pytest.mark.parametrize("case", ["momentum", "rmsprop", "rmsprop-epsilon inside", "adam-both"])
def test_a_short_memory(case, rng):
    """Averages that hold a quarter of the past and three of the present."""
    make, choices = CASES[case]
    betas = [name for name in inspect.signature(make).parameters if name.startswith("beta")]
    choices = {"learning_rate": 0.1, **choices, **dict.fromkeys(betas, 0.25)}
    stem = case.split("-")[0]
    factory, state = partial(theirs.OPTIMIZERS[stem], **choices), getattr(theirs, f"{stem}_state")
    assert_same_trajectory(make(**choices), factory, draw_parameters(rng), rng, state=state)


@pytest.mark.parametrize("case", CASES)
def test_defaults_agree(case):
    """What is left unsaid means the same on both sides."""
    make, _ = CASES[case]
    stem = case.split("-")[0]
    mine = {
        name: one.default
        for name, one in inspect.signature(make).parameters.items()
        if one.default is not inspect.Parameter.empty
    }
    other = {
        name: one.default
        for name, one in inspect.signature(theirs.OPTIMIZERS[stem]).parameters.items()
        if one.default is not inspect.Parameter.empty
    }
    assert mine == other


def walk(optimizer, rng, steps=50, dtype=np.float64, size=None):
    """Return theta after steps on drawn gradients, and the state."""
    parameters = Parameters(draw_parameters(rng, dtype))
    if size is not None:
        parameters = Parameters({"W1": rng.standard_normal((1, size)).astype(dtype)})
    state = optimizer.init(parameters)
    scales = np.resize(TINY, parameters.theta.size)
    gradients = parameters.zeros_like()
    for _ in range(steps):
        gradients.theta[:] = draw_gradients(parameters.theta.size, rng, scales)
        optimizer.update(parameters, gradients, state)
    return parameters.theta, state


def test_the_first_step_of_adam_is_the_learning_rate():
    """v_hat / sqrt(s_hat) is the sign of the first gradient, whatever its size."""
    parameters = Parameters({"W1": np.zeros((1, 3))})
    gradients = Parameters({"W1": np.array([[3.0, -1e-3, 1e3]])})
    Adam(learning_rate=0.1, epsilon=1e-300).update(parameters, gradients, Adam().init(parameters))
    assert_close(parameters["W1"], np.array([[-0.1, 0.1, -0.1]]), "first step")


WRONG = {
    "dampening instead of (1-beta)": (
        Momentum(learning_rate=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.9),
    ),
    "torch's default alpha": (
        RMSprop(learning_rate=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
    ),
    "epsilon outside for inside": (
        RMSprop(learning_rate=0.1, epsilon_inside_root=True),
        partial(theirs.rmsprop, learning_rate=0.1),
    ),
    "epsilon inside for outside, adam": (
        Adam(learning_rate=0.1),
        partial(theirs.adam, learning_rate=0.1, epsilon_inside_root=True),
    ),
    "no correction": (
        Adam(learning_rate=0.1),
        partial(theirs.adam, learning_rate=0.1, bias_correction=False),
    ),
    "Nesterov": (
        Momentum(learning_rate=0.1, averaging=False),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    ),
    "AMSGrad": (Adam(learning_rate=0.1), lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_tempting_translations_fail(wrong, rng):
    """Each wrong translation parts from ours at a named step."""
    mine, other = WRONG[wrong]
    state = getattr(theirs, f"{_stem(mine)}_state")
    with LEDGER.unrecorded(), pytest.raises(AssertionError, match=r"step \d+: "):
        assert_same_trajectory(mine, other, draw_parameters(rng), rng, state=lambda _: state(_))


def _stem(optimizer):
    return next(name for name, one in ours.OPTIMIZERS.items() if one is type(optimizer))


@pytest.mark.parametrize(
    ("size", "lengths"),
    [(1, [1]), (32768, [32768]), (32769, [32768, 1]), (98304, [32768] * 3)],
)
def test_blocks(size, lengths):
    """Matching pieces of 2^15 entries, five of which fit the cache; what fits is not sliced."""
    vectors = np.arange(size, dtype="f4"), -np.arange(size, dtype="f4")
    pieces = list(blocks(*vectors))
    assert [[len(one) for one in piece] for piece in pieces] == [[length] * 3 for length in lengths]
    for i, vector in enumerate(vectors):
        assert np.array_equal(np.concatenate([piece[i] for piece in pieces]), vector)
        assert all(np.shares_memory(piece[i], vector) for piece in pieces)
        assert (pieces[0][i] is vector) == (len(lengths) == 1)
    work = pieces[0][2]
    assert work.dtype == np.float32
    assert not any(np.shares_memory(work, vector) for vector in vectors)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 32768, 32769, 100_000])
def test_blocks_change_nothing(case, size, monkeypatch):
    """A long vector, walked in blocks, takes the steps of one walked whole, bit by bit."""
    make, choices = CASES[case]
    optimizer = make(**{"learning_rate": 0.1, **choices})
    blocked = walk(optimizer, np.random.default_rng(1), steps=3, size=size)[0]
    monkeypatch.setattr("scratch._blocks.BLOCK", 10**9)
    assert np.array_equal(blocked, walk(optimizer, np.random.default_rng(1), steps=3, size=size)[0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_dtype_is_kept(case, dtype):
    """float32 parameters have float32 state, also with a float64 scalar as learning rate."""
    make, choices = CASES[case]
    theta, state = walk(
        make(**{"learning_rate": np.float64(0.1), **choices}), np.random.default_rng(1), dtype=dtype
    )
    assert theta.dtype == dtype
    assert all(one.dtype == dtype for name, one in state._asdict().items() if name != "t")
    plain, _ = walk(
        make(**{"learning_rate": 0.1, **choices}), np.random.default_rng(1), dtype=dtype
    )
    assert np.array_equal(theta, plain)  # the steps are not taken in float64 and rounded


@pytest.mark.parametrize("case", CASES)
def test_float32_errs_no_more_than_torch(case, rng):
    """Held against float64 after every step, ours errs at most twice what torch does, and a floor.

    Parameters and every array of the state.
    """
    parameters = {"W1": rng.standard_normal((5 * 6, 2)).astype(np.float32)}
    assert_case(case, 0.01, parameters, rng, groups=5, steps=300)


@pytest.mark.parametrize("beta", [0.0, 0.25, 0.5])
def test_a_large_average_takes_no_digits_from_a_small_gradient(beta):
    """What follows an average of 1e12 is beta of it and (1 - beta) g: nothing is swallowed."""
    average, target = np.array([1e12, 0.0]), np.array([1e-12, 1e-12])
    move(average, target, beta, np.empty(2))
    expected = beta * np.array([1e12, 0.0]) + (1 - beta) * 1e-12
    assert_close(average, expected, "v, entry by entry", gauge=expected)


def test_an_average_of_equal_weights_stays_finite():
    """Half of the largest floats of either sign: their difference would be infinite."""
    largest = np.finfo(float).max
    average = np.array([largest])
    move(average, np.array([-largest]), 0.5, np.empty(1))
    assert average.tolist() == [0.0]


@pytest.mark.parametrize(("decay", "velocity"), [(0.0, [3.0, -4.0]), (0.5, [3.5, -3.0])])
def test_the_velocity_of_beta_zero_is_what_the_step_took(decay, velocity):
    """Torch keeps no buffer for it; gradients that are gone since, and decay, change nothing."""
    tensor = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    groups = [{"params": [tensor], "weight_decay": decay}]
    optimizer = theirs.momentum(groups, learning_rate=0.1, beta=0.0)
    tensor.grad = torch.tensor([3.0, -4.0], dtype=torch.float64)
    optimizer.step()
    assert theirs.momentum_state(optimizer)["v"].tolist() == velocity
    optimizer.zero_grad()
    assert theirs.momentum_state(optimizer)["v"].tolist() == velocity
    assert_close(np.array([1.0, 2.0]) - 0.1 * np.array(velocity), tensor.detach().numpy(), "theta")


@pytest.mark.parametrize(
    ("state", "entry", "optimizer"),
    [
        ("momentum", "momentum_buffer", theirs.momentum),
        ("momentum", "momentum_buffer", partial(theirs.momentum, beta=0.0)),
        ("momentum", "momentum_buffer", theirs.gradient_descent),
        ("rmsprop", "square_avg", theirs.rmsprop),
        ("rmsprop", "square_avg", theirs.gradient_descent),
        ("adam", "exp_avg", theirs.adam),
        ("adam", "exp_avg", theirs.gradient_descent),
    ],
)
def test_a_state_that_is_not_there_is_refused(state, entry, optimizer):
    """Before a step there is none, whatever gradients wait; another rule has none either."""
    tensor = torch.tensor([1.0], requires_grad=True)
    tensor.grad = torch.tensor([3.0])
    with pytest.raises(ValueError, match=f"^expected an optimizer with {entry} for each parameter"):
        getattr(theirs, f"{state}_state")(optimizer([tensor], learning_rate=0.1))


LAYER = Parameters({"W1": np.ones((2, 2)), "b1": np.ones((2, 1))})
NARROW = Parameters({name: view.astype("f4") for name, view in LAYER.items()})
SMALL = Parameters({"W1": np.ones((1, 2))})
MOMENTS = Adam().init(LAYER)
LONG, SHORT = np.zeros(7), np.zeros(5)

#: what an update says of what does not belong together, to the last character.
MISFITS = {
    "a dictionary for parameters": (
        ({}, LAYER, MOMENTS),
        (TypeError, "parameters and gradients to be Parameters, got dict {}"),
    ),
    "a list for gradients": (
        (LAYER, [], MOMENTS),
        (TypeError, "parameters and gradients to be Parameters, got list []"),
    ),
    "neither": (
        ({}, [], MOMENTS),
        (TypeError, "parameters and gradients to be Parameters, got dict {}"),
    ),
    "gradients of a smaller network": (
        (LAYER, SMALL, MOMENTS),
        (ValueError, f"gradients like {LAYER}, got {SMALL}"),
    ),
    "gradients of a larger network": (
        (SMALL, LAYER, Adam().init(SMALL)),
        (ValueError, f"gradients like {SMALL}, got {LAYER}"),
    ),
    "no state": ((LAYER, LAYER, None), (TypeError, "state to be AdamState, got NoneType None")),
    "narrow gradients": (
        (LAYER, NARROW, MOMENTS),
        (TypeError, "gradients of dtype float64, got float32"),
    ),
    "wide gradients": (
        (NARROW, LAYER, Adam().init(NARROW)),
        (TypeError, "gradients of dtype float32, got float64"),
    ),
}
MISFITS |= {
    f"{kind} {name}": (
        (parameters, parameters, Adam().init(parameters)._replace(**{name: array})),
        (
            ValueError,
            f"state.{name} of shape (6,) and dtype {parameters.theta.dtype}, "
            f"got {array.shape} and {array.dtype}",
        ),
    )
    for name in ("v", "s")
    for kind, parameters, array in (
        ("a long", LAYER, LONG),
        ("a short", LAYER, SHORT),
        ("a narrow", LAYER, MOMENTS.v.astype("f4")),
        ("a wide", NARROW, MOMENTS.v),
    )
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_an_update_names_what_does_not_belong(misfit):
    """Kind, dtype and shape, of gradients and of each array of the state."""
    arguments, (error, message) = MISFITS[misfit]
    with pytest.raises(error) as refusal:
        Adam().update(*arguments)
    assert str(refusal.value) == f"expected {message}"


@pytest.mark.parametrize("name", ours.OPTIMIZERS)
def test_what_was_pickled_is_as_good(name, rng):
    """The dtype of an array that was read again is equal, and another object."""
    rule = ours.OPTIMIZERS[name](learning_rate=0.1)
    gradients = Parameters(draw_parameters(rng))
    ends = []
    for carry in (lambda one: one, lambda one: pickle.loads(pickle.dumps(one))):
        parameters = Parameters(draw_parameters(np.random.default_rng(0)))
        rule.update(parameters, carry(gradients), carry(rule.init(parameters)))
        ends.append(parameters.theta)
    assert np.array_equal(*ends)
    start = np.array([1.0, 2.0])
    path = ours.minimize(
        lambda theta: pickle.loads(pickle.dumps(2 * theta)), start, optimizer=rule, steps=2
    )
    assert np.array_equal(
        path, ours.minimize(lambda theta: 2 * theta, start, optimizer=rule, steps=2)
    )


def test_a_rule_has_both_methods():
    """One of the two alone is named before the first step."""
    for method in ("init", "update"):
        rule = type("Half", (), {method: lambda *_: None})()
        with pytest.raises(TypeError, match="expected optimizer with methods init and update, got"):
            ours.minimize(**{**EXAMPLES["scratch.optimizers.minimize"], "optimizer": rule})


def test_torchs_count_is_that_of_the_first_tensor():
    """A tensor that had no gradient at first has taken fewer steps."""
    first, second = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    for choices in ({}, {"bias_correction": False}):
        optimizer = theirs.adam([first, second], **choices)
        for tensors in ((first,), (first, second)):
            optimizer.zero_grad()
            for tensor in tensors:
                tensor.grad = torch.ones_like(tensor)
            optimizer.step()
        assert theirs.adam_state(optimizer)["t"] == 2
        groups = theirs.adam([{"params": [second]}, {"params": [first]}], **choices)
        groups.state = optimizer.state
        assert theirs.adam_state(groups)["t"] == 1


def test_choices_go_by_their_names():
    """Rates cannot be mixed up, neither in the factories nor in the rules that torch lacks."""
    for one in (*theirs.OPTIMIZERS.values(), theirs.RMSpropInsideRoot, theirs.AdamDialect):
        _, *choices = inspect.signature(one).parameters.values()
        assert all(choice.kind is choice.KEYWORD_ONLY for choice in choices)
    for side in (ours, theirs):
        _, _, *choices = inspect.signature(side.minimize).parameters.values()
        assert all(choice.kind is choice.KEYWORD_ONLY for choice in choices)


def test_rules_torch_lacks_take_a_closure_and_weight_decay(rng):
    """The two subclasses behave as torch's own do: closure's loss returned, decay added to g."""
    for rule in (
        partial(theirs.rmsprop, learning_rate=0.1, epsilon_inside_root=True),
        partial(theirs.adam, learning_rate=0.1, bias_correction=False),
    ):
        w = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
        still = torch.tensor([1.0], requires_grad=True)
        optimizer = rule([{"params": [w, still], "weight_decay": 0.5}])

        def closure(w=w, optimizer=optimizer):
            optimizer.zero_grad()
            cost = ((w - 5) ** 2).sum()
            cost.backward()
            return cost

        assert optimizer.step(closure).item() == 4.0
        plain = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
        other = rule([plain])
        plain.grad = torch.tensor([2 * (3.0 - 5) + 0.5 * 3.0], dtype=torch.float64)
        other.step()
        assert w.item() == plain.item()
        assert still.item() == 1.0


#: costs of theta, written with what NumPy and torch share, and their gradients by hand.
SURFACES = {
    "(w - 5)^2": (
        lambda theta: ((theta - 5) ** 2).sum(),
        lambda theta: 2 * (theta - 5),
        [0.0],
    ),
    "a saddle, x^2 - y^2": (
        lambda theta: theta[0] ** 2 - theta[1] ** 2,
        lambda theta: np.array([2, -2]) * theta,
        [1.0, 1e-3],
    ),
    "Rosenbrock's banana": (
        lambda theta: (1 - theta[0]) ** 2 + 100 * (theta[1] - theta[0] ** 2) ** 2,
        lambda theta: np.array(
            [
                -2 * (1 - theta[0]) - 400 * theta[0] * (theta[1] - theta[0] ** 2),
                200 * (theta[1] - theta[0] ** 2),
            ]
        ),
        [-0.5, 0.6],
    ),
    "a narrow bowl": (
        lambda theta: (theta[0] ** 2 + 50 * theta[1] ** 2) / 2,
        lambda theta: np.array([theta[0], 50 * theta[1]]),
        [10.0, 1.0],
    ),
}


def paths(case, surface, learning_rate, steps):
    """Return the paths of both sides down a surface, and ours in longdouble."""
    cost, gradient, start = SURFACES[surface]
    make, choices = CASES[case]
    choices = {"learning_rate": learning_rate, **choices}
    start = np.array(start)
    tensor = torch.from_numpy(start.copy())
    mine = ours.minimize(gradient, start, optimizer=make(**choices), steps=steps)
    rule = partial(theirs.OPTIMIZERS[case.split("-")[0]], **choices)
    other = theirs.minimize(cost, tensor, optimizer=rule, steps=steps)
    assert start.tolist() == tensor.tolist() == SURFACES[surface][2]
    options = {"optimizer": make(**choices), "steps": steps}
    return mine, other.numpy(), widened(ours.minimize, gradient, start, **options)


@pytest.mark.parity("minimize")
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("case", CASES)
def test_minimize(case, surface):
    """Both sides take the same path: every point of it, from the start on."""
    mine, other, truth = paths(case, surface, 1e-3, 200)
    assert mine.shape == (201, len(SURFACES[surface][2]))
    assert mine[0].tolist() == SURFACES[surface][2]
    assert_close(mine, other, surface, budget=STEP, wider=truth)
    assert np.abs(mine[-1] - mine[0]).max() > 1e-3


@pytest.mark.parity("minimize")
@pytest.mark.parametrize("case", CASES)
def test_the_bottom_of_a_parabola_is_reached(case):
    """(w - 5)^2 leads to 5, from 0, whatever the rule.

    At the bottom, where gradients are round-off, rules that divide by their size part: only the
    way there is compared.
    """
    mine, other, truth = paths(case, "(w - 5)^2", 0.05, 300)
    wider = None if truth is None else truth[:90]
    assert_close(mine[:90], other[:90], "path", budget=STEP, wider=wider)
    for path in (mine, other):
        assert abs(path[1, 0] - 5) < 5
        assert abs(path[-1, 0] - 5) < 0.05


def test_minimize_spells_out_gradient_descent():
    """On (w - 5)^2 each step of descent leaves 1 - 2 alpha of the distance."""
    path, *_ = paths("gradient_descent", "(w - 5)^2", 0.125, 20)
    assert np.array_equal(path[:, 0], 5 - 5 * 0.75 ** np.arange(21))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_a_path_keeps_its_dtype(dtype):
    """The path is of the dtype of its start, and its points are copies."""
    seen = []

    def gradient(theta):
        seen.append(theta)
        return 2 * (theta - 5)

    path = ours.minimize(gradient, np.zeros(2, dtype), optimizer=Adam(), steps=3)
    assert path.dtype == dtype
    assert np.array_equal(np.array(seen), path[:-1])


def test_minimize_refuses_what_is_no_gradient():
    """A gradient of another shape, dtype or kind, a cost that is no scalar tensor."""
    arguments = EXAMPLES["scratch.optimizers.minimize"]
    for error, gradient in (
        (ValueError, lambda theta: theta[:, None]),
        (ValueError, lambda theta: theta[:1]),
        (TypeError, lambda theta: theta.astype("f4")),
        (TypeError, lambda theta: theta.astype(np.longdouble)),
        (TypeError, lambda theta: [1.0, 2.0]),
    ):
        with pytest.raises(error, match="expected gradient to return"):
            ours.minimize(**{**arguments, "gradient": gradient})
    arguments = EXAMPLES["torch_ref.optimizers.minimize"]
    for error, cost in ((ValueError, lambda theta: theta), (TypeError, lambda theta: 1.0)):
        with pytest.raises(error, match="expected cost to return"):
            theirs.minimize(**{**arguments, "cost": cost})
