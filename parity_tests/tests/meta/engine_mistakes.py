"""Mistakes typed into the harness itself, each of which the tests of this folder must notice."""

from __future__ import annotations

from functools import partial

from parity_tests.rows import Change, Mistake


def typed(module: str, name: str, why: str, old: str, new: str) -> Mistake:
    """Return a mistake in a module of `parity_tests`."""
    return Mistake(name=name, why=why, change=Change(f"parity_tests.{module}", old, new))


measurement, budgets = partial(typed, "compare.measurement"), partial(typed, "compare.budgets")
functions, quantities = partial(typed, "compare.functions"), partial(typed, "compare.quantities")
witnesses, optimizers = partial(typed, "compare.witnesses"), partial(typed, "compare.optimizers")
ledger, locate = partial(typed, "compare.ledger"), partial(typed, "compare.locate")
rows, checks, findings = (
    partial(typed, "rows"),
    partial(typed, "checks"),
    partial(typed, "findings"),
)
fingerprints, bridge = partial(typed, "compare.fingerprints"), partial(typed, "compare.bridge")
validation, gauges = partial(typed, "compare.validation"), partial(typed, "compare.gauges")
claims, profiles = partial(typed, "plugin.claims"), partial(typed, "plugin.profiles")
options, user_code = partial(typed, "plugin.options"), partial(typed, "user_code")

ENGINE_MISTAKES: tuple[Mistake, ...] = (
    measurement(
        "engine-gauge-of-ours",
        "a wrong result that is large is measured by itself",
        "scale = eps * gauge_of(theirs, gauge)",
        "scale = eps * gauge_of(ours, gauge)",
    ),
    measurement(
        "engine-truth-gauge-of-ours",
        "both distances from the truth shrink with a large result of ours",
        "gauge = gauge_of(theirs, gauge)\n",
        "gauge = gauge_of(ours, gauge)\n",
    ),
    measurement(
        "engine-gauge-is-the-mean",
        "the mean of |theirs| is no bound of its rounding",
        "np.abs(wide).max() if gauge is None",
        "np.abs(wide).mean() if gauge is None",
    ),
    measurement(
        "engine-abs-forgotten-in-the-gauge",
        "a negative reference has a negative gauge",
        "np.abs(wide).max() if gauge is None",
        "wide.max() if gauge is None",
    ),
    measurement(
        "engine-abs-forgotten-in-the-distance",
        "ours too small is never wrong",
        "distance = np.abs(wide_ours - wide_theirs)",
        "distance = wide_ours - wide_theirs",
    ),
    measurement(
        "engine-nan-passes",
        "NaN compares as nothing apart",
        "found = np.inf if np.isnan(found) else found",
        "found = 0.0 if np.isnan(found) else found",
    ),
    measurement(
        "engine-eps-of-float64",
        "float32 is measured in the eps of float64",
        "eps = float(np.finfo(ours.dtype).eps) if eps is None else eps",
        "eps = float(np.finfo(float).eps) if eps is None else eps",
    ),
    measurement(
        "engine-vacuity-reversed",
        "a case proves something where it drowns",
        "if not margin * tolerance < largest:",
        "if margin * tolerance < largest:",
    ),
    measurement(
        "engine-vacuity-without-margin",
        "a reference as small as its tolerance passes for a proof",
        "if not margin * tolerance < largest:",
        "if not tolerance < largest:",
    ),
    measurement(
        "engine-broadcast",
        "a scalar is compared with an array",
        "if ours.shape != theirs.shape or ours.dtype",
        "if ours.shape not in ((), theirs.shape) or ours.dtype",
    ),
    measurement(
        "engine-dtypes-ignored",
        "float32 passes for float64",
        "ours.shape != theirs.shape or ours.dtype != theirs.dtype",
        "ours.shape != theirs.shape",
    ),
    measurement(
        "engine-infinite-reference",
        "infinity is near to everything",
        "if not np.isfinite(reference).all():",
        "if np.isnan(reference).any():",
    ),
    measurement(
        "engine-wrong-side-blamed",
        "the witness names the side that it agrees with",
        "elif mine < other:",
        "elif mine > other:",
    ),
    measurement(
        "engine-one-side-true-is-enough",
        "a wider run may be far from one of the sides",
        "    if not wrong:\n",
        "    if len(wrong) < 2:\n",
    ),
    budgets(
        "engine-infinite-budget",
        "everything is inside of an infinite budget",
        "if not 0 <= bound < math.inf:",
        "if not 0 <= bound:",
    ),
    budgets(
        "engine-negative-budget",
        "a negative budget is no bound",
        "if not 0 <= bound < math.inf:",
        "if not bound < math.inf:",
    ),
    budgets(
        "engine-budget-of-nan",
        "no comparison with NaN is true",
        "if not 0 <= bound < math.inf:",
        "if bound < 0 or bound == math.inf:",
    ),
    budgets(
        "engine-budget-doubled",
        "32 eps are no 16",
        "return self.eps + self.relative / eps",
        "return 2 * self.eps + self.relative / eps",
    ),
    functions(
        "engine-number-before-modification",
        "an input modified in place is reported as a wrong shape",
        "    with unmodified(arguments):\n        output, cache = forward(**arguments)\n",
        "    output, cache = forward(**arguments)\n",
    ),
    functions(
        "engine-upstream-may-be-modified",
        "torch has another upstream gradient than ours",
        'with unmodified({**arguments, "the upstream gradient": handed}):',
        "with unmodified(arguments):",
    ),
    functions(
        "engine-upstream-of-ones",
        "a backward that ignores the upstream gradient passes",
        "upstream = np.asarray(rng.standard_normal(output.shape)).astype(output.dtype)",
        "upstream = np.ones(output.shape, output.dtype)",
    ),
    functions(
        "engine-further-gradients-pass",
        "a gradient that nobody asked for is none",
        "if gradients.keys() != inputs.keys():",
        "if not gradients.keys() >= inputs.keys():",
    ),
    functions(
        "engine-gradient-budget-for-outputs",
        "outputs are held to four times their budget",
        "        budget=forward_budget,\n",
        "        budget=gradient_budget,\n",
    ),
    functions(
        "engine-float32-worse-than-torch",
        "ours may err four times what torch does",
        "allowed = 2 * truth.theirs.error + floor.eps",
        "allowed = 4 * truth.theirs.error + 2 * floor.eps",
    ),
    functions(
        "engine-recorded-as-inside",
        "the report says nothing of what failed",
        "truth.ours, allowed, floor.name, truth, kind)\n    if not inside:",
        "truth.ours, allowed, floor.name, truth, kind) if inside else None\n    if not inside:",
    ),
    functions(
        "engine-zero-is-small",
        "where zero is expected a small number passes",
        "        allowed = 0.0\n        if theirs.any():",
        "        allowed = budget.eps\n        if theirs.any():",
    ),
    functions(
        "engine-a-wider-run-unseen",
        "both sides are wrong alike, and nobody asks the longdouble run",
        "    if truth is not None:\n        allowed = 0.0",
        "    if truth is None:\n        allowed = 0.0",
    ),
    functions(
        "engine-a-constant-switches",
        "a condition that always holds proves something",
        "condition.any() and not condition.all()",
        "condition.any()",
    ),
    quantities(
        "engine-one-proof-for-none",
        "quantities that all drown are no proof",
        "    if not proven:\n",
        "    if proven is None:\n",
    ),
    quantities(
        "engine-a-drowned-one-is-let-go",
        "a quantity that drowns may be anything",
        "        hold(name, ours, theirs, budget, scale, wider, drowned=drowned)\n",
        "        drowned or hold(name, ours, theirs, budget, scale, wider)\n",
    ),
    quantities(
        "engine-agree-by-the-size-of-ours",
        "a tolerance of a percent of a wrong result",
        "scale = floored(gauge_of(theirs, gauge), theirs.dtype)",
        "scale = floored(gauge_of(ours, gauge), theirs.dtype)",
    ),
    witnesses(
        "engine-difference-of-first-order",
        "the outer steps of the stencil have the sign of the inner ones",
        "total += weight * products.sum()",
        "total += abs(weight) * products.sum()",
    ),
    witnesses(
        "engine-one-entry-witnessed",
        "a gradient wrong at other entries passes on both sides",
        "size = min(most, ours.size)",
        "size = 1",
    ),
    witnesses(
        "engine-rounding-unseen",
        "a longdouble run that passes through float64 bears witness",
        "if not error <= HIDDEN_ROUNDING.eps:",
        "if error > HIDDEN_ROUNDING.eps / PROBE:",
    ),
    optimizers(
        "engine-one-gauge-for-all-tensors",
        "weights of 1e16 hide a bias that never learns",
        "largest = np.maximum.reduceat(np.abs(reference), starts, axis=1)",
        "largest = np.abs(reference).max(axis=1, keepdims=True) + 0.0 * starts",
    ),
    ledger(
        "engine-the-best-is-kept",
        "of many examples the one furthest from its budget is kept",
        "if key not in worst or entry.share > worst[key].share:",
        "if key not in worst or entry.share < worst[key].share:",
    ),
    ledger(
        "engine-the-best-in-the-table",
        "the table shows the best error of each kind",
        "if held is None or entry.share > held.share:",
        "if held is None or entry.share < held.share:",
    ),
    ledger(
        "engine-nan-is-inside",
        "NaN has no share of a budget",
        "        if not math.isfinite(self.error):\n            return math.inf\n",
        "",
    ),
    ledger(
        "engine-failed-as-passed",
        "the report says that all comparisons passed",
        '"passed": bool(entry.error <= entry.budget)',
        '"passed": bool(entry.error >= 0)',
    ),
    ledger(
        "engine-lies-recorded",
        "comparisons that are meant to fail stay in the report",
        "            del self.entries[kept:]",
        "            del self.entries[:0]",
    ),
    fingerprints(
        "engine-fingerprint-by-value",
        "-0.0 for 0.0 is no modification",
        "return value.dtype.str, value.shape, value.tobytes()",
        "return value.dtype.str, value.shape, (value + 0).tobytes()",
    ),
    bridge(
        "engine-weights-transposed",
        "a square W crosses as its transpose",
        "    if WEIGHT.fullmatch(name) or array.ndim < 2:",
        "    if array.ndim < 2:",
    ),
    gauges(
        "engine-gauge-without-the-bias",
        "the bias is a term of the sum too",
        '"output": product("nk,km->nm", W, A_prev) + np.abs(b)',
        '"output": product("nk,km->nm", W, A_prev)',
    ),
    locate(
        "engine-the-last-to-part",
        "the largest entry of the step alone is the gauge",
        "largest[name] = max(largest.get(name, 0.0), float(np.abs(other[name]).max()))",
        "largest[name] = float(np.abs(other[name]).max())",
    ),
    locate(
        "engine-a-bound-without-end",
        "runs never part by more than infinity",
        "if not 0 <= bound < np.inf:",
        "if bound < 0:",
    ),
    locate(
        "engine-any-rectifier-is-guilty",
        "a rectifier of another unit explains nothing",
        "for one in switched if one[0] == parting.unit), None)",
        "for one in switched), None)",
    ),
    validation(
        "engine-an-infinite-number-of-eps",
        "a stranger's infinite budget is admitted",
        "_require(0 < bound < np.inf,",
        "_require(0 < bound,",
    ),
    validation(
        "engine-nan-is-an-input",
        "what is not finite is compared",
        "finite = array.size and np.isfinite(array).all()",
        "finite = array.size",
    ),
    user_code(
        "engine-a-stranger-may-modify",
        "an input modified in place is a wrong number",
        "        with unmodified(arguments):\n            output = ",
        "        if True:\n            output = ",
    ),
    rows(
        "engine-a-row-may-modify",
        "an argument modified in place is a wrong number",
        '            return self.run("scratch", case)\n\n    def wrong_run(self, mistake: Mistake, '
        'case: Case) -> Values:\n        """Return the quantities that a mistake makes of a case, '
        "some",
        '            pass\n        return self.run("scratch", case)\n\n    def wrong_run(self, '
        "mistake: Mistake, "
        'case: Case) -> Values:\n        """Return the quantities that a mistake makes of a case, '
        "some",
    ),
    rows(
        "engine-equal-is-near",
        "an exact row is not held to the bit",
        "        assert_equal(one, theirs[name], name)\n        record_equal",
        "        record_equal",
    ),
    rows(
        "engine-a-pair-by-its-output",
        "gradients on a kink are not compared",
        "                for name in ours\n            }",
        '                for name in ("output",)\n            }',
    ),
    rows(
        "engine-float32-proves-nothing",
        "quantities that all drown pass",
        "        if not proven:\n            raise ProvesNothingError(f",
        "        if proven is None:\n            raise ProvesNothingError(f",
    ),
    rows(
        "engine-the-state-of-a-rule-unseen",
        "parameters alone are compared",
        "for name, path in ours.items():",
        'for name, path in (("theta", ours["theta"]),):',
    ),
    checks(
        "engine-promotion-passes",
        "a result of a wider dtype passes",
        'if kind.kind == "f" and isinstance(value, np.ndarray | np.floating) and kind != dtype:',
        'if kind.kind == "f" and isinstance(value, np.ndarray | np.floating) and kind < dtype:',
    ),
    checks(
        "engine-any-error-refuses",
        "a traceback from the depths passes for a refusal",
        'if type(refusal) is not error or "expected" not in str(refusal):',
        "if False and type(refusal) is not error:",
    ),
    checks(
        "engine-trace-left",
        "an argument that is modified is none of the check's business",
        "if changed - GENERATORS != overwritten:",
        "if changed - GENERATORS < overwritten:",
    ),
    checks(
        "engine-an-unbroken-relation",
        "a relation that no mistake breaks passes",
        '        raise AssertionError(f"{relation.name!r} holds',
        '        return\n        raise AssertionError(f"{relation.name!r} holds',
    ),
    checks(
        "engine-linear-in-nothing",
        "the sum of gradients is compared with itself",
        "assert_close(value, terms[0] - terms[1], name,",
        "assert_close(value, value, name,",
    ),
    checks(
        "engine-a-check-that-always-sees",
        "a mistake without effect counts as seen",
        "        return True\n    return False\n",
        "        return True\n    return True\n",
    ),
    findings(
        "engine-any-margin",
        "a mistake hardly off is refuted",
        "    if not margin >= least:",
        "    if not margin >= 0:",
    ),
    findings(
        "engine-the-least-deviation",
        "a mistake is measured where it is least off",
        "worst = max(each, key=lambda one: one.relative)",
        "worst = min(each, key=lambda one: one.relative)",
    ),
    claims(
        "engine-a-claim-by-name",
        "a test that calls nothing proves what it names",
        "missing = claims - called_names(called)",
        "missing = called_names(called) - claims",
    ),
    claims(
        "engine-a-claim-without-comparison",
        "a test that compares nothing proves what it calls",
        "if claims and not comparisons:",
        "if not claims and not comparisons:",
    ),
    profiles(
        "engine-rejected-as-kept",
        "examples that were turned away are counted as run",
        'DRAWN["rejected" if example["status"] == "invalid" else "kept"] += 1',
        'DRAWN["kept"] += 1',
    ),
    options(
        "engine-one-seed-for-all",
        "another seed draws the same numbers",
        'return int(config.getoption("parity_seed", 0))',
        'return int(config.getoption("seed", 0))',
    ),
)
