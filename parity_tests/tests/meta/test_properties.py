"""The properties themselves: what they draw, count and turn away, and how they fail."""

from __future__ import annotations

import os
import pkgutil
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st
from hypothesis.statistics import collector

from parity_tests import FORWARD, properties, strategies
from parity_tests.compare.budgets import WIDE
from parity_tests.compare.ledger import LEDGER
from parity_tests.plugin import profiles
from parity_tests.plugin.profiles import EXAMPLES, TOTAL, Count, counting
from parity_tests.properties.agreement import Quantity, VacuousError, agree
from parity_tests.properties.pasting import hold, paste_ready
from parity_tests.tests.house.test_architecture import proof

MODULES = ["layers", "networks", "optimizers", "inputs"]

#: every check with the strategy of its cases.
PROPERTIES = {
    properties.check_activation: strategies.activation_cases(),
    properties.check_average: strategies.average_cases,
    properties.check_batch_norm: strategies.batch_norm_cases(),
    properties.check_clipping: strategies.clipping_cases(),
    properties.check_cost: strategies.cost_cases(),
    properties.check_dropout: strategies.dropout_cases(),
    properties.check_layout: strategies.layout_cases,
    properties.check_linear: strategies.linear_cases,
    properties.check_logistic_regression: strategies.logistic_regression_cases,
    properties.check_mini_batches: strategies.mini_batches_cases,
    properties.check_network: strategies.network_cases,
    properties.check_normalization: strategies.normalization_cases,
    properties.check_optimizer: strategies.optimizer_cases(),
    properties.check_schedule: strategies.schedule_cases(),
    properties.check_split: strategies.split_cases,
    properties.check_training: strategies.training_cases(),
}


def the_properties():
    """Return the tests of all modules of properties."""
    modules = [proof(f"properties_{one}") for one in MODULES]
    return [
        test
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_")
    ]


def test_no_check_is_left_out():
    """Every check that the package offers has a strategy here and a property that holds it."""
    checks = {name for name in properties.__all__ if name.startswith("check_")}
    assert {check.__name__ for check in PROPERTIES} == checks
    held = {
        name for test in the_properties() for name in test.hypothesis.inner_test.__code__.co_names
    }
    assert checks <= held
    assert len(the_properties()) == len(checks)


def test_a_deep_run_has_a_hundred_thousand_examples():
    """Ten times the examples of the profile in force now, or as many where that is `deep`."""
    asked = sum(test._hypothesis_internal_use_settings.max_examples for test in the_properties())
    factor = settings.get_profile("deep").max_examples / settings().max_examples
    assert asked * factor >= 100_000


def test_profiles(monkeypatch):
    """`dev` draws anew, `ci` does not, `deep` draws ten times as many; CI in the environment."""
    dev, ci, deep = (settings.get_profile(name) for name in ("dev", "ci", "deep"))
    assert dev.max_examples == ci.max_examples == EXAMPLES
    assert deep.max_examples == 10 * dev.max_examples
    assert (dev.derandomize, ci.derandomize, deep.derandomize) == (False, True, False)
    assert all(one.deadline is None and one.print_blob for one in (dev, ci, deep))
    now = profiles.profile()
    try:
        for variable, expected in (("", "dev"), ("true", "ci")):
            monkeypatch.setitem(os.environ, "CI", variable)
            profiles.register()
            assert profiles.profile() == expected
    finally:
        settings.load_profile(now)


def run(property, **choices):
    """Run a property whose examples are the same each time and whose failure nobody stores."""
    quiet = settings(
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        **choices,
    )
    quiet(property)()


def test_the_count_is_right():
    """What is counted, here and in the whole run, is what ran; what was turned away is apart."""
    seen, turned, count, before = [], [], Count(), (TOTAL.examples, TOTAL.rejected)

    @given(st.integers())
    def property(number):
        (turned if number % 10 == 0 else seen).append(number)
        assume(number % 10)

    with counting(count):
        run(property, max_examples=137)
    assert count.examples == len(seen) == 137
    assert count.rejected == len(turned) > 0
    total = before[0] + 137, before[1] + len(turned)
    assert (TOTAL.examples, TOTAL.rejected) == total
    lines = []
    profiles.pytest_terminal_summary(SimpleNamespace(write_line=lines.append))
    (line,) = lines
    assert line.startswith(f"hypothesis: {total[0]:,} examples ({total[1]:,} more rejected)")
    assert line.endswith(f"profile {profiles.profile()}")


def test_a_failing_example_is_counted_too():
    """Whatever ran is counted, a failure and its shrinking among it."""
    seen, count = [], Count()

    @given(st.integers())
    def property(number):
        seen.append(number)
        assert number < 1000

    with collector.with_value(None), counting(count), pytest.raises(AssertionError):
        run(property, max_examples=200)
    # the last one is run once more, to be shown
    assert 0 <= len(seen) - count.examples <= 3


def test_a_property_that_turns_most_examples_away_fails():
    """A few rejected examples are no matter, one in three is."""
    Count(examples=1000, rejected=20).check()
    Count(examples=50, rejected=8).check()
    with pytest.raises(AssertionError, match="500 examples rejected, 1000 kept"):
        Count(examples=1000, rejected=500).check()


@given(st.one_of(*PROPERTIES.values()))
def test_a_case_is_python(case):
    """The repr of a case makes the same case again, to the sign of a zero."""
    again = eval(repr(case), vars(properties))
    assert again == case
    assert repr(again) == repr(case)


def wrong_slope(dA, cache):
    """Pull back through tanh as if A were Z."""
    return {"Z": dA * (1 - cache.A)}


def counted_from_0(self, t):
    """Decay one count too late."""
    return self.learning_rate / (1 + self.decay * (t - 1))


def overwriting(x, beta, bias_correction=False):
    """Average in the memory of the series."""
    for t in range(1, len(x)):
        x[t] = beta * x[t - 1] + (1 - beta) * x[t]
    return x.copy()


#: what is put in the place of what, the check that sees it, and what a shrunken case is like.
LIES = {
    "the slope of a hidden layer": (
        ("scratch.network.BACKWARD", "tanh", wrong_slope),
        properties.check_network,
        lambda case: case.layer_sizes == (1, 1, 1) and case.m == 1 and not case.keep_probs,
    ),
    "a decay that is counted from 0": (
        ("scratch.schedules.InverseTime", "_at", counted_from_0),
        properties.check_schedule,
        lambda case: (case.name, case.counts) == ("inverse_time", 1),
    ),
    "a training step without its penalty": (
        ("scratch._step.TrainingStep", "_penalize", lambda self: 0.0),
        properties.check_training,
        lambda case: case.layer_sizes == (1, 1) and case.m == 1 and not (case.l1 and case.l2),
    ),
    "an epsilon under the root of a deviation": (
        ("scratch.normalization", "_scale", lambda one: np.sqrt(one.variance + 1e-8)),
        properties.check_normalization,
        lambda case: case.n_x == 1 and case.m <= 2 and case.offset == 0,
    ),
    "a series that is written to": (
        ("scratch.moving_averages", "moving_average", overwriting),
        properties.check_average,
        lambda case: len(case.x) <= 2,
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_failure_is_shrunk_and_can_be_pasted(lie, monkeypatch):
    """The printed test fails in the same way on its own, and passes without the lie."""
    (place, name, wrong), check, small = LIES[lie]
    target = pkgutil.resolve_name(place)
    replaced = monkeypatch.setitem if isinstance(target, dict) else monkeypatch.setattr

    @given(PROPERTIES[check])
    def property(case):
        hold(check, case)

    with LEDGER.unrecorded(), collector.with_value(None):
        replaced(target, name, wrong)
        with pytest.raises(AssertionError) as failure:
            run(property, max_examples=300)
        note = next(one for one in failure.value.__notes__ if "to be pasted" in one)
        pasted = note.split("to be pasted:")[1]
        namespace = {}
        exec(pasted, namespace)
        (test,) = [one for key, one in namespace.items() if key.startswith("test_")]
        with pytest.raises(AssertionError) as again:
            test()
        assert str(again.value) == str(failure.value)
        (call,) = re.findall(r"check_\w+\((\w+\(.*\))\)", pasted)
        assert small(eval(call, vars(properties))), call
        monkeypatch.undo()
        test()


def test_what_is_pasted_is_a_whole_file():
    """Imports, one test, the case: nothing else."""
    case = properties.MiniBatchCase(m=1, batch_size=2, kind="normal", seed=0)
    assert paste_ready(properties.check_mini_batches, case) == (
        "from parity_tests.properties import MiniBatchCase, check_mini_batches\n\n\n"
        "def test_mini_batches_of_a_pasted_case():\n"
        "    check_mini_batches(MiniBatchCase(m=1, batch_size=2, kind='normal', seed=0))\n"
    )


def test_the_ledger_keeps_the_worst_of_all_examples():
    """A hundred examples leave one comparison of each quantity."""

    def check(error):
        one = np.ones(2)
        agree({"first": Quantity(one * (1 + error * 2**-52), one), "second": Quantity(one, one)})

    before = len(LEDGER.entries)
    for error in (1, 3, 2) * 30:
        hold(check, error)
    first, second = LEDGER.entries[before:]
    assert (first.quantity, first.error, second.error) == ("first", 3.0, 0.0)


def test_what_agrees():
    """Zeros are met exactly, drowned values within their tolerance, and one value must show."""
    one, zero, tiny = np.ones(2), np.zeros(2), np.full(2, 1e-15)
    proof = {"proof": Quantity(one, one)}
    agree({**proof, "zeros": Quantity(zero, zero), "drowned": Quantity(tiny, zero, one)})
    for wrong in (
        Quantity(tiny, zero),  # not zero
        Quantity(1e3 * tiny, zero, one),  # beyond its tolerance
        Quantity(one * (1 + 17 * 2**-52), one),
        Quantity(zero[:1], zero),
        Quantity(zero.astype("f4"), zero),
        Quantity(zero * np.nan, zero, one),
        Quantity(one, one * np.nan),
        Quantity(one, one, one * np.inf),
    ):
        with LEDGER.unrecorded(), pytest.raises(AssertionError):
            agree({**proof, "wrong": wrong})
    agree({"one": Quantity(one, one, wider=one.astype(np.longdouble))})
    if WIDE:
        off, far = (
            one.astype(np.longdouble) * (1 + 17 * 2**-52),
            np.array([0, 4e-15], np.longdouble),
        )
        for wrong, message in (
            (Quantity(one, one, wider=off), "contradicts both"),
            (Quantity(one, one * (1 + 17 * 2**-52), wider=off), "contradicts ours"),
            (Quantity(one * (1 + 17 * 2**-52), one, wider=off), "contradicts theirs, unless our"),
            (Quantity(zero, zero, one, wider=far), "contradicts both"),  # drowned
        ):
            with LEDGER.unrecorded(), pytest.raises(AssertionError, match=message):
                agree({**proof, "wrong": wrong})
    with pytest.raises(VacuousError):
        agree({"zeros": Quantity(zero, zero), "drowned": Quantity(tiny, tiny, one)})
    assert FORWARD.eps == 16


#: corners of the legal range that each strategy must reach.
CORNERS = {
    "five layers of nine": (
        properties.check_network,
        lambda case: len(case.layer_sizes) == 6 and max(case.layer_sizes) == 9,
    ),
    "batch norm of a single example": (
        properties.check_network,
        lambda case: case.epsilon and case.m == 1 and len(case.layer_sizes) > 2,
    ),
    "dropout of one layer beside batch norm": (
        properties.check_training,
        lambda case: case.epsilon and 1.0 in case.keep_probs and min(case.keep_probs) < 1,
    ),
    "ties of rectifiers": (
        properties.check_network,
        lambda case: (case.kind, case.weights, case.hidden) == ("grid", "grid", "relu"),
    ),
    "a penalty shared by more examples than are at hand": (
        properties.check_training,
        lambda case: case.l1 and case.l2 and case.shared > case.m,
    ),
    "constant features under batch norm": (
        properties.check_batch_norm,
        lambda case: case.kind == "constant" and case.epsilon < 1e-10,
    ),
    "saturated logits": (properties.check_cost, lambda case: case.kind == "saturated"),
    "a gradient above 1e6 after one below 1e-6": (
        properties.check_optimizer,
        lambda case: max(map(abs, case.gradients[-1])) > 1e6 > 1e-6 > abs(case.gradients[0][0]) > 0,
    ),
    "minus zero": (
        properties.check_optimizer,
        lambda case: (np.signbit(case.gradients) & (np.array(case.gradients) == 0)).any(),
    ),
    "adam of other betas, uncorrected, epsilon inside": (
        properties.check_optimizer,
        lambda case: (
            case.rule == "adam"
            and not case.choices["bias_correction"]
            and case.choices["epsilon_inside_root"]
            and case.choices["beta1"] == 0
        ),
    ),
    "a last batch of one": (
        properties.check_mini_batches,
        lambda case: case.m % case.batch_size == 1 and case.m > case.batch_size,
    ),
    "a batch larger than all examples": (
        properties.check_mini_batches,
        lambda case: case.batch_size > case.m,
    ),
    "a read-only network": (
        properties.check_layout,
        lambda case: case.function == "network" and not case.writeable,
    ),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_every_corner_is_reached(corner):
    """The strategy draws it, and the check holds there."""
    check, condition = CORNERS[corner]
    quick = settings(database=None, derandomize=True, max_examples=5000, phases=[Phase.generate])
    with LEDGER.unrecorded():
        case = find(PROPERTIES[check], condition, settings=quick)
        try:
            check(case)
        except VacuousError as error:
            raise AssertionError(f"{case} proves nothing: {error}") from error
