"""The third witness is tested with lies too: code right in float64 alone, torch in error."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch

from parity_tests import FORWARD, STEP, assert_close, assert_same_trajectory, assert_twins, measure
from parity_tests.compare.budgets import (
    FINITE_DIFFERENCE,
    FLOAT32_STEP,
    FLOAT64_DIFFERENCE,
    WIDE,
    WIDEST,
    difference_of,
)
from parity_tests.compare.gauges import batch_norm_gauges
from parity_tests.compare.ledger import LEDGER
from parity_tests.compare.measurement import verdict
from parity_tests.compare.optimizers import _exceed
from parity_tests.compare.witnesses import Difference, cast, widened
from parity_tests.tests.meta.test_functions import (
    ADAM,
    LIES,
    SCALES,
    Lying,
    WrongTanh,
    draw,
    honest_backward,
    honest_forward,
)
from parity_tests.tests.stems.test_optimizers import draw_parameters
from scratch import batch_norm, costs
from scratch.optimizers import Adam, GradientDescent, Momentum
from scratch.parameters import Parameters
from torch_ref import batch_norm as their_batch_norm
from torch_ref import costs as their_costs
from torch_ref import optimizers as theirs

wide_only = pytest.mark.skipif(not WIDE, reason="longdouble is no wider than float64 here")
LONG, EPS = np.longdouble, float(np.finfo(float).eps)


@pytest.fixture(autouse=True)
def _forget_lies():
    """Keep comparisons that are meant to fail out of the report."""
    with LEDGER.unrecorded():
        yield


def since(count):
    """Return the entries recorded after so many."""
    return LEDGER.entries[count:]


def bent(values, dtype, factor):
    """Return the values times a factor in one dtype, in another as they are."""
    return values * values.dtype.type(factor) if values.dtype == dtype else values


def tanh_bent(dtype, factor):
    """Return tanh that is off by a factor in one dtype."""
    return lambda x: (bent(np.tanh(x), dtype, factor), np.tanh(x))


def slope_bent(dtype, factor):
    """Return the backward of tanh that is off by a factor in one dtype."""
    return lambda d, a: {"x": bent(d * (1 - a**2), dtype, factor)}


def mean_in_float64(x):
    """Return tanh(x - mean(x)) whose mean alone passes through float64."""
    a = np.tanh(x - x.mean().astype(np.float64).astype(x.dtype))
    return a, a


def centred_backward(d, a):
    """Pull d back through tanh(x - mean(x))."""
    g = d * (1 - a**2)
    return {"x": g - g.mean()}


HIDDEN = {
    "the output is float64": (
        lambda x: (np.tanh(x).astype(float), np.tanh(x)),
        honest_backward,
        "output: the longdouble run gives float64 of shape (3, 4): it is no witness",
    ),
    "a gradient is float64": (
        honest_forward,
        lambda d, a: {"x": (d * (1 - a**2)).astype(float)},
        "gradient of x: the longdouble run gives float64 of shape (3, 4): it is no witness",
    ),
    "the input is rounded": (
        lambda x: (np.tanh(x.astype(float)).astype(x.dtype), np.tanh(x)),
        honest_backward,
        "something inside is rounded to float64, and the run is no witness",
    ),
    "the output is rounded": (
        lambda x: (np.tanh(x).astype(float).astype(x.dtype), np.tanh(x)),
        honest_backward,
        "something inside is rounded to float64, and the run is no witness",
    ),
    "the forward is wrong in longdouble": (
        tanh_bent(LONG, 1 + 1e-12),
        honest_backward,
        "the third witness contradicts both",
    ),
    "the forward is wrong in longdouble by a millionth": (
        tanh_bent(LONG, 1 + 1e-6),
        honest_backward,
        "the third witness contradicts both",
    ),
    "the backward is wrong in longdouble": (
        honest_forward,
        slope_bent(LONG, 1.01),
        "our backward in longdouble is not the derivative of our forward",
    ),
    "the backward is wrong in longdouble, less than differences see": (
        honest_forward,
        slope_bent(LONG, 1 + 1e-12),
        "gradient of x: the longdouble run of our backward gives",
    ),
    "the forward is wrong in float64": (
        tanh_bent(np.float64, 1 + 1e-12),
        honest_backward,
        "the longdouble run gives .*: the third witness contradicts ours",
    ),
    "the backward is wrong in float64": (
        honest_forward,
        slope_bent(np.float64, 1 + 1e-6),
        "a central difference gives .*: the third witness contradicts ours",
    ),
}


@wide_only
@pytest.mark.seeds(5)
@pytest.mark.parametrize("lie", HIDDEN)
def test_code_that_depends_on_its_dtype_is_caught(lie, rng):
    """What agrees with torch in float64 is run in longdouble, and must agree there too."""
    forward, backward, message = HIDDEN[lie]
    message = message if ".*" in message else re.escape(message)
    with pytest.raises(AssertionError, match=message):
        assert_twins(forward, backward, torch.tanh, draw(rng), rng)


@wide_only
def test_a_single_number_kept_in_float64_is_seen(rng):
    """A mean that passes through float64 on its way gives the run away, in most draws."""
    reference = lambda x: torch.tanh(x - x.mean())  # noqa: E731
    honest = lambda x: (np.tanh(x - x.mean()),) * 2  # noqa: E731
    caught = 0
    for _ in range(20):
        honestly, rounded = ({"x": draw(rng)["x"] + 3} for _ in range(2))  # means far from 0
        assert_twins(honest, centred_backward, reference, honestly, rng)
        try:
            assert_twins(mean_in_float64, centred_backward, reference, rounded, rng)
        except AssertionError as error:
            assert re.search("rounded to float64|finite difference", str(error))  # noqa: PT017
            caught += 1
    assert caught > 10


@wide_only
def test_the_message_of_an_output_names_the_guilty_side(rng):
    """The longdouble run contradicts torch's where torch's is wrong, and both where both are."""
    wrong = lambda x: torch.tanh(x) * (1 + 1e-12)  # noqa: E731
    with pytest.raises(AssertionError, match=r"output differs.*contradicts theirs"):
        assert_twins(honest_forward, honest_backward, wrong, draw(rng), rng)
    with pytest.raises(AssertionError, match=r"output differs.*contradicts both"):
        assert_twins(tanh_bent(np.float64, 1 + 2e-12), honest_backward, wrong, draw(rng), rng)
    with pytest.raises(AssertionError, match=r"both sides have .*contradicts both"):
        assert_twins(tanh_bent(np.float64, 1 + 1e-12), honest_backward, wrong, draw(rng), rng)


@pytest.mark.parametrize("widest", {WIDEST, np.float64})
def test_a_wrong_gradient_of_both_sides_is_contradicted(widest, rng):
    """A longdouble backward that shares the mistake is no evidence for it: differences decide."""
    backward = lambda d, a: {"x": 1.01 * (d * (1 - a**2))}  # noqa: E731
    message = "contradicts both, our backward is not the derivative of our forward"
    with pytest.raises(AssertionError, match=message):
        assert_twins(honest_forward, backward, WrongTanh.apply, draw(rng), rng, widest=widest)
    with pytest.raises(AssertionError, match=r"gradient of x differs.*contradicts theirs"):
        assert_twins(
            honest_forward, honest_backward, WrongTanh.apply, draw(rng), rng, widest=widest
        )


@wide_only
def test_every_report_of_a_pair_shows_two_numbers(rng):
    """Output and gradients: how far ours, and how far torch's, is from the longdouble run."""
    before = len(LEDGER.entries)
    assert_twins(honest_forward, honest_backward, torch.tanh, draw(rng), rng)
    measured = [one for one in since(before) if one.cause != FINITE_DIFFERENCE.name]
    assert [one.quantity for one in measured] == ["output", "gradient of x"]
    for one in measured:
        assert 0 < one.ours_error < 4
        assert 0 < one.theirs_error < 4
    sides = [one.quantity for one in since(before) if one.cause == FINITE_DIFFERENCE.name]
    assert sides == [f"gradient of x, {side}" for side in ("ours", "theirs", "ours in longdouble")]
    before = len(LEDGER.entries)
    assert_twins(honest_forward, honest_backward, torch.tanh, draw(rng, np.float32), rng)
    for one in since(before):
        assert one.error == one.ours_error
        assert one.budget == 2 * one.theirs_error + 4


# where longdouble is no wider


def test_without_a_wider_dtype_differences_are_float64(rng):
    """No number is made up: two witnesses for outputs, differences in float64 for gradients."""
    before = len(LEDGER.entries)
    pair = (honest_forward, honest_backward, torch.tanh)
    assert_twins(*pair, draw(rng), rng, widest=np.float64)
    entries = since(before)
    assert all(one.ours_error is None and one.theirs_error is None for one in entries)
    seen = [one for one in entries if one.cause == FLOAT64_DIFFERENCE.name]
    assert [one.quantity for one in seen] == ["gradient of x, ours", "gradient of x, theirs"]
    assert all(one.error < one.budget for one in seen)


@pytest.mark.seeds(3)
@pytest.mark.parametrize("lie", LIES)
def test_lies_are_caught_by_float64_differences_too(lie, rng):
    """Every lie about a pair fails where longdouble is no wider."""
    with pytest.raises(AssertionError):
        assert_twins(*LIES[lie], torch.tanh, draw(rng), rng, widest=np.float64)


@pytest.mark.parametrize("scale", SCALES)
def test_float64_differences_find_their_best_step(scale, rng):
    """Right code passes at other scales, and a gradient off by a hundred-thousandth fails."""
    forward, backward, reference, size = SCALES[scale]
    inputs = {"x": size * rng.uniform(0.5, 2, (3, 4))}
    assert_twins(forward, backward, reference, inputs, rng, widest=np.float64)
    wrong = lambda d, cache: {"x": backward(d, cache)["x"] * (1 + 1e-5)}  # noqa: E731
    other = Wrong(reference, 1 + 1e-5)
    with pytest.raises(AssertionError, match="not the derivative"):
        assert_twins(forward, wrong, other, inputs, rng, widest=np.float64)


class Wrong:
    """A torch function whose gradient is off by a factor."""

    def __init__(self, function, factor):
        """Take the function and the factor."""
        self.function, self.factor = function, factor

    def __call__(self, x):
        """Return the function's value with a gradient that is too large."""
        right = self.function(x)
        return right.detach() + self.factor * (right - right.detach())


@pytest.mark.seeds(10)
@pytest.mark.parametrize("name", ["batch norm", *costs.COSTS])
def test_real_pairs_pass_by_float64_differences(name, rng):
    """Batch norm and the costs are held where longdouble is no wider."""
    if name == "batch norm":
        inputs = {"Z": (3, 7), "gamma": (3, 1), "beta": (3, 1)}
        inputs = {key: rng.standard_normal(shape) + 0.5 for key, shape in inputs.items()}
        pair = batch_norm.batch_norm_forward, batch_norm.batch_norm_backward
        options = {"gauges": batch_norm_gauges}
        assert_twins(*pair, their_batch_norm.batch_norm, inputs, rng, widest=np.float64, **options)
        return
    letter = "Z" if name.endswith("logits") else "A"
    values = rng.standard_normal((3, 7)) if letter == "Z" else rng.uniform(0.05, 0.9, (3, 7))
    Y = np.eye(3)[:, rng.integers(0, 3, 7)]
    assert_twins(
        *costs.COSTS[name],
        their_costs.COSTS[name],
        {letter: values},
        rng,
        constants={"Y": Y},
        widest=np.float64,
    )


def test_as_many_entries_are_witnessed_as_were_asked_for(monkeypatch, rng):
    """Distinct ones of each input, twelve by default, and all where there are fewer."""
    places: list[tuple[int, ...]] = []
    quotient = Difference.__call__

    def counting(self, index):
        places.append(index)
        return quotient(self, index)

    monkeypatch.setattr(Difference, "__call__", counting)
    pair = honest_forward, honest_backward, torch.tanh
    for options, shape, most in (
        ({}, (5, 4), 12),
        ({}, (3, 3), 9),
        ({"witnessed": 5}, (5, 4), 5),
        ({"witnessed": 100}, (5, 4), 20),
    ):
        places.clear()
        assert_twins(*pair, {"x": rng.standard_normal(shape)}, rng, **options)
        assert len(places) == len(set(places)) == most


def test_witnessed_entries_differ_from_call_to_call(monkeypatch, rng):
    """They are drawn: a gradient wrong at one entry on both sides is met sooner or later."""
    places: set[tuple[int, ...]] = set()
    quotient = Difference.__call__
    monkeypatch.setattr(
        Difference,
        "__call__",
        lambda self, index: places.add(index) or quotient(self, index),
    )
    for _ in range(40):
        assert_twins(honest_forward, honest_backward, torch.tanh, draw(rng), rng, witnessed=6)
    assert places == set(np.ndindex(3, 4))


def test_a_witness_as_blurred_as_the_sides_are_apart_judges_nobody(rng):
    """A float64 difference sees seven digits: a gradient off by the thirteenth may be right."""
    wrong = lambda d, a: {"x": (1 + 1e-13) * (d * (1 - a**2))}  # noqa: E731
    message = r"gradient of x differs.*the third witness cannot tell which is wrong$"
    with pytest.raises(AssertionError, match=message):
        assert_twins(honest_forward, wrong, torch.tanh, draw(rng), rng, widest=np.float64)
    found = measure(np.array([1.5]), np.array([1.0]))
    for third, blur, judged in (
        (1.25, 0.125, "cannot tell which is wrong"),
        (1.25, 0.1, "contradicts both"),
        (1.0, 0.25, "cannot tell which is wrong"),
        (1.0, 0.2, "contradicts ours"),
        (1.5, 0.2, "contradicts theirs"),
        (4.0, 0.2, "contradicts both"),
    ):
        said = verdict(third, blur, found, 64, "a difference")
        assert said == f"a difference gives {third!r}: the third witness {judged}"


def test_the_step_suits_the_dtype(rng):
    """Differences see seven digits in float64; each dtype has its step and its budget."""
    assert difference_of(np.float64) == (1e-3, FLOAT64_DIFFERENCE)
    assert difference_of(WIDEST) == ((1e-6, FINITE_DIFFERENCE) if WIDE else difference_of(float))
    x, upstream = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    difference = Difference(honest_forward, {"x": x}, {}, upstream, "x", np.float64)
    exact = upstream[1, 2] * (1 - np.tanh(x[1, 2]) ** 2)
    assert 0 < abs(difference((1, 2)) - exact) < 1e-9
    best, bar = difference.refined((1, 2))
    assert abs(best - exact) < bar < 1e-9


def test_a_machine_without_a_wider_dtype_is_served(monkeypatch, rng):
    """Runs in longdouble are left out, and everything else goes on."""
    monkeypatch.setattr("parity_tests.compare.witnesses.WIDE", False)
    monkeypatch.setattr("parity_tests.compare.optimizers.WIDE", False)
    assert widened(np.tanh, np.ones(3)) is None
    before = len(LEDGER.entries)
    assert_is_adam(ADAM, rng, steps=20)
    assert_close(np.ones(3), np.ones(3), "ones", wider=widened(np.tanh, np.ones(3)))
    assert all(one.ours_error is None for one in since(before))
    with pytest.raises(AssertionError, match="step 11: "):
        assert_is_adam(Drifting(ADAM, 10), rng, steps=20)


# a wider run that is handed in


def test_a_wider_value_holds_both_sides():
    """Ours and torch's agree on a wrong value: the wider one contradicts both."""
    truth = np.array([1.0, 2.0], WIDEST) / 3
    right = truth.astype(float)
    before = len(LEDGER.entries)
    for wider in (truth, lambda: truth, None):
        assert_close(right, right, "thirds", wider=wider)
    if WIDE:
        numbers = [(one.ours_error, one.theirs_error) for one in since(before)]
        assert numbers[0] == numbers[1]
        assert 0 < numbers[0][0] == numbers[0][1] < 1
        assert numbers[2] == (None, None)
        wrong = right * (1 + 40 * EPS)
        with pytest.raises(AssertionError, match=r"both sides have .* contradicts both"):
            assert_close(wrong, wrong, "thirds", wider=truth)
        with pytest.raises(AssertionError, match=r"thirds differs .* contradicts theirs"):
            assert_close(right, wrong, "thirds", wider=truth)
        nearly = right * (1 + 12 * EPS)
        other = right * (1 + 24 * EPS)
        with pytest.raises(AssertionError, match=r"theirs has .* contradicts theirs"):
            assert_close(nearly, other, "thirds", wider=truth)


def test_float64_is_the_wider_of_float32():
    """Both numbers are in eps of float32."""
    truth = np.array([1.0, 2.0]) / 3
    single = truth.astype(np.float32)
    before = len(LEDGER.entries)
    assert_close(single, single, "thirds", wider=truth)
    (entry,) = since(before)
    assert 0 < entry.ours_error == entry.theirs_error < 1


def test_what_is_no_wider_run_is_refused():
    """One of another shape, or of no more digits."""
    one = np.ones(3)
    with pytest.raises(AssertionError, match="the wider run is of shape"):
        assert_close(one, one, "ones", wider=np.ones((3, 1), WIDEST))
    with pytest.raises(AssertionError, match="the wider run is float32, ours float64"):
        assert_close(one, one, "ones", wider=one.astype(np.float32))
    with pytest.raises(AssertionError, match="the wider run is float32, ours float32"):
        assert_close(one.astype("f4"), one.astype("f4"), "ones", wider=one.astype("f4"))


def test_casting_reaches_into_containers():
    """Parameters, mappings, tuples and caches are widened; counts, labels and numbers are not."""
    parameters = Parameters({"W1": np.ones((2, 3))})
    cache = costs.BinaryCrossEntropyCache(np.ones((1, 2)), np.ones((1, 2)), 2)
    value = {"a": [np.ones(2), 3, np.float64(0.1)], "b": (cache, parameters, np.arange(2), 0.5)}
    wide = cast(value, LONG)
    assert wide["a"][0].dtype == wide["a"][2].dtype == LONG
    assert wide["a"][1:] == [3, np.float64(0.1)]
    (inner, theta, counts, number) = wide["b"]
    assert type(inner) is costs.BinaryCrossEntropyCache
    assert inner.A.dtype == theta.theta.dtype == LONG
    assert (inner.divisor, counts.dtype, number) == (2, np.arange(2).dtype, 0.5)
    assert theta.layout == parameters.layout
    assert parameters.theta.dtype == float


# optimizers


class Drifting(Lying):
    """A rule whose state is right for a while and then off by a little."""

    def __init__(self, honest, steps, factor=1 + 1e-12, dtype=None):
        """Take the honest rule, the steps it is right for, and what its v is multiplied by."""
        super().__init__(honest)
        self.steps, self.factor, self.dtype, self.t = steps, factor, dtype, 0

    def update(self, parameters, gradients, state):
        """Update rightly, then bend v."""
        super().update(parameters, gradients, state)
        self.t += 1
        if self.t > self.steps and self.dtype in (None, state.v.dtype):
            state.v[:] *= state.v.dtype.type(self.factor)


def assert_is_adam(rule, rng, dtype=np.float64, make=None, steps=1000):
    """Hold a rule against torch's Adam."""
    assert_same_trajectory(
        rule,
        make or partial(theirs.adam, learning_rate=0.01),
        draw_parameters(rng, dtype),
        rng,
        state=theirs.adam_state,
        steps=steps,
    )


def test_a_thousand_honest_steps_show_two_numbers(rng):
    """Parameters and every array of the state, in eps from our rule in longdouble."""
    before = len(LEDGER.entries)
    assert_is_adam(ADAM, rng)
    entries = since(before)
    assert {one.quantity.split()[0] for one in entries} == {"theta", "v", "s"}
    assert all(one.budget == STEP.eps for one in entries)
    if WIDE:
        for one in entries:
            assert 0 < one.ours_error <= STEP.eps
            assert 0 < one.theirs_error <= STEP.eps


def test_a_drift_after_five_hundred_steps_is_caught(rng):
    """The step, the quantity, the index and the guilty side are named."""
    for dtype, guilty in (
        (np.float64, "ours"),
        (None, "theirs, unless our rule itself is another"),
    ):
        message = rf"step 501: v differs at \(\d+,\): .* contradicts {guilty}"
        with pytest.raises(AssertionError, match=message if WIDE else "step 501: v differs"):
            assert_is_adam(Drifting(ADAM, 500, dtype=dtype), rng)
    assert_is_adam(Drifting(ADAM, 500), rng, steps=500)


@wide_only
def test_a_drift_of_torchs_is_blamed_on_torch(rng):
    """A hook that bends torch's state is what our rule in longdouble contradicts."""

    def drifting(tensors):
        optimizer = theirs.adam(tensors, learning_rate=0.01)

        def bend(*_):
            for one in optimizer.state.values():
                if one["step"] > 20:
                    one["exp_avg"] *= 1 + 1e-12

        optimizer.register_step_post_hook(bend)
        return optimizer

    with pytest.raises(AssertionError, match=r"step 21: v differs .* contradicts theirs"):
        assert_is_adam(ADAM, rng, make=drifting, steps=50)


@wide_only
def test_a_rule_wrong_only_in_longdouble_is_caught(rng):
    """A rule that agrees with torch in float64 must be the same rule in longdouble."""
    rule = Drifting(ADAM, 10, 1 + 1e-12, LONG)
    with pytest.raises(AssertionError, match=r"step 11: v: our rule in longdouble .* both"):
        assert_is_adam(rule, rng, steps=50)


@wide_only
def test_a_rule_whose_state_is_kept_in_float64_is_no_witness(rng):
    """A longdouble run that remembers in float64 is refused."""

    class Narrow(Lying):
        def init(self, parameters):
            return self.honest.init(parameters)._replace(v=np.zeros(parameters.theta.size))

        def update(self, parameters, gradients, state):
            v = state.v.astype(parameters.theta.dtype)
            self.honest.update(parameters, gradients, state._replace(v=v))
            state.v[:] = v

    with pytest.raises(AssertionError, match="v: our rule in longdouble keeps it in float64"):
        assert_is_adam(Narrow(ADAM), rng, steps=20)


SLOPPY = {
    "v kept in half precision": lambda p, g, s: s.v.__setitem__(
        slice(None), s.v.astype(np.float16)
    ),
    "s off by a thousandth": lambda p, g, s: s.s.__imul__(np.float32(1.001)),
    "theta off by thirty eps": lambda p, g, s: p.theta.__imul__(np.float32(1 + 30 * 2.0**-23)),
}


@pytest.mark.parametrize("lie", SLOPPY)
def test_lies_about_a_float32_optimizer_are_caught(lie, rng):
    """Held against float64, a sloppy rule errs more than twice what torch does."""
    assert_is_adam(ADAM, rng, np.float32, steps=50)
    with pytest.raises(AssertionError, match=r"step \d+: .*twice torch's, float32 floor"):
        assert_is_adam(Lying(ADAM, after=SLOPPY[lie]), rng, np.float32, steps=50)


def test_float32_is_allowed_twice_what_torch_has_erred_so_far():
    """Torch three eps off in the first step allows ten in the second, and eleven are too many."""
    eps, one = np.float32(2.0**-23), np.ones(6, np.float32)
    theirs, oracle = [one + 3 * eps, one], [one.astype(float)] * 2
    for errors, breach in (((10, 10), None), ((10, 11), 2), ((11, 0), 1)):
        ours = [one + np.float32(error) * eps for error in errors]
        found = _exceed("v", ours, theirs, oracle, [6], FLOAT32_STEP)
        assert (found and found[0]) == breach
        entry = LEDGER.entries[-1]
        assert entry.budget == 10
        assert entry.error == entry.ours_error == max(errors)


def test_what_torch_errs_later_allows_nothing_now():
    """Torch three eps off in the second step: four are allowed in the first, and ten from there."""
    eps, one = np.float32(2.0**-23), np.ones(6, np.float32)
    theirs, oracle = [one, one + 3 * eps, one], [one.astype(float)] * 3
    for errors, breach in (((4, 10, 10), None), ((5, 0, 0), 1), ((0, 11, 0), 2), ((0, 0, 11), 3)):
        ours = [one + np.float32(error) * eps for error in errors]
        found = _exceed("v", ours, theirs, oracle, [6], FLOAT32_STEP)
        assert (found and found[0]) == breach


def test_the_edge_of_a_float32_tolerance():
    """A tenth of the largest value may be tolerated, and no more."""
    one = np.ones(6, np.float32)
    for error, proves in ((0.0499, True), (0.0501, False)):
        paths = [one], [one + np.float32(error)], [one.astype(float)]
        if proves:
            assert _exceed("v", *paths, [6], FLOAT32_STEP) is None
        else:
            with pytest.raises(AssertionError, match=r"v drowns in a tolerance of .* eps: the"):
                _exceed("v", *paths, [6], FLOAT32_STEP)


def test_a_float32_tolerance_without_end_is_refused(rng):
    """Where torch's own error swallows the value, nothing is proved."""

    def noisy(tensors):
        optimizer = torch.optim.SGD(tensors, lr=0.1)
        generator = torch.Generator().manual_seed(0)

        def disturb(*_):
            if tensors[0].dtype == torch.float32:
                with torch.no_grad():
                    tensors[0] += torch.randn(tensors[0].shape, generator=generator)

        optimizer.register_step_post_hook(disturb)
        return optimizer

    with pytest.raises(AssertionError, match="proves nothing"):
        assert_same_trajectory(
            GradientDescent(learning_rate=0.1),
            noisy,
            draw_parameters(rng, np.float32),
            rng,
            state=lambda _: {},
        )


def test_a_rule_that_holds_time_is_run_from_its_start(rng):
    """The wider run has a rule of its own: a count in the rule is not taken twice."""

    class Counting:
        t = 0

        def init(self, parameters):
            return Momentum(learning_rate=0.1).init(parameters)

        def update(self, parameters, gradients, state):
            self.t += 1
            Momentum(learning_rate=0.1 / self.t).update(parameters, gradients, state)

    def made(tensors):
        optimizer = theirs.momentum(tensors, learning_rate=0.1)
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (1 + t))
        optimizer.register_step_post_hook(lambda *_: decay.step())
        return optimizer

    rule = Counting()
    for _ in range(2):
        assert_same_trajectory(
            rule, made, draw_parameters(rng), rng, state=theirs.momentum_state, steps=30
        )
    assert rule.t == 0


def test_forward_budgets_bound_the_truth_as_well():
    """Sixteen eps from the truth pass, seventeen do not."""
    if not WIDE:
        pytest.skip("longdouble is no wider than float64 here")
    one, truth = np.ones(3), np.ones(3, LONG)
    for eps, fails in ((16, False), (17, True)):
        values = one * (1 + eps * EPS)
        if fails:
            with pytest.raises(AssertionError, match=r"17 eps units, allowed 16"):
                assert_close(values, values, "values", wider=truth, gauge=1.0)
        else:
            assert assert_close(values, values, "values", wider=truth, gauge=1.0) == 0
    assert FORWARD.eps == 16


def test_adams_defaults_are_a_rule(rng):
    """Adam without a rate of one's own walks a thousand steps beside torch's."""
    assert_is_adam(Adam(), rng, make=theirs.adam, steps=100)
