"""Mistakes that a script can hide: each is planted, and the tests of the scripts must fail."""

from __future__ import annotations

from parity_tests.rows import Change, Mistake

#: name, where it was seen or why it is likely, module below scripts, its text, the mistake.
_TABLE = (
    (
        "runs-of-different-length-agree",
        "zip of two histories stops at the shorter one; an earlier catalogue's, unnoticed then",
        ("runs.agreement", "if len(mine.history.step_costs) != len(", "if 0 and len("),
    ),
    (
        "float32-decides-alone",
        "the first verdict of a dictionary taken for all; an earlier catalogue's, unnoticed then",
        ("compare", "agreed = all(agreement.inside for", "agreed = any(agreement.inside for"),
    ),
    (
        "dev-drawn-like-test",
        "one seed copied to the next line; an earlier catalogue's, unnoticed then",
        ("runs.datasets", "(300, 3), (150, 4), (150, 5)", "(300, 3), (150, 5), (150, 5)"),
    ),
    (
        "test-is-dev-after-the-split",
        "the rest handed on twice after train_test_split",
        (
            "runs.datasets",
            "_columns(X_dev, dev), _columns(X_test, test)",
            "_columns(X_dev, dev), _columns(X_dev, dev)",
        ),
    ),
    (
        "normalized-by-all-data",
        "statistics of the test set leak into training; the course warns of it, course 2, week 1",
        ("runs.datasets", "StandardScaler().fit(X_train)", "StandardScaler().fit(X)"),
    ),
    (
        "a-verdict-takes-nan",
        "not error > allowed: every comparison with NaN is false",
        (
            "runs.agreement",
            "return self.error <= self.allowed",
            "return not self.error > self.allowed",
        ),
    ),
    (
        "the-largest-error-is-the-worst",
        "errors ranked without their budgets",
        ("runs.agreement", "key=lambda one: one.error / one.allowed", "key=lambda one: one.error"),
    ),
    (
        "costs-are-not-compared",
        "a comparison of final parameters alone, as tinygrad's tests make",
        ("runs.agreement", 'for name in ("step_costs", "costs", "dev_costs"):', "for name in ():"),
    ),
    (
        "shapes-broadcast",
        "NumPy stretches a column against a row instead of refusing",
        (
            "runs.agreement",
            "(mine.shape, mine.dtype) != (other.shape, other.dtype)",
            "mine.dtype != other.dtype",
        ),
    ),
    (
        "running-averages-left-out",
        "state_dict has buffers beside parameters, parameters() has not",
        ("runs.scratch_side", "{**parameters, **(running or {})}", "{**parameters}"),
    ),
    (
        "test-accuracy-of-dev",
        "the wrong one of three sets, typed in twice",
        ("runs.torch_side", "evaluate(module, X_test, Y_test)", "evaluate(module, X_dev, Y_dev)"),
    ),
    (
        "masks-from-the-stream-of-orders",
        "one generator for all draws: masks repeat the bits of the weights",
        (
            "runs.start",
            "np.random.default_rng([self.experiment.seed, 1])",
            "np.random.default_rng(self.experiment.seed)",
        ),
    ),
    (
        "a-flag-that-changes-nothing",
        "an option is parsed and never handed on",
        (
            "runs.command_line",
            '("epochs", "batch_size", "optimizer", "learning_rate", "l2", "seed")',
            '("epochs", "batch_size", "optimizer", "learning_rate", "seed")',
        ),
    ),
    (
        "zero-is-no-value",
        "`if value` where `is not None` is meant: --l2 0 changes nothing",
        ("runs.command_line", "given.items() if value is not None", "given.items() if value"),
    ),
    (
        "another-optimizer-keeps-the-rate",
        "a rate made for Adam handed to gradient descent",
        ("runs.command_line", "given.setdefault(", "dict(given).setdefault("),
    ),
    (
        "nan-is-a-number",
        "float('nan') passes every check of an interval",
        ("runs.command_line", "not abs(value) <= LARGEST", "abs(value) > LARGEST"),
    ),
    (
        "half-a-file-is-left",
        "the file is opened at its own path",
        ("runs.command_line", 'with_name(f"{path.name}.partial")', "with_name(path.name)"),
    ),
    (
        "nan-in-json",
        "json.dumps writes NaN, which no other reader takes",
        ("runs.command_line", "not np.isfinite(value) else value", "value is None else value"),
    ),
    (
        "an-epoch-cut-in-half-is-written",
        "columns of unequal length after Ctrl-C",
        (
            "runs.command_line",
            "done = min(map(len, columns.values()))",
            "done = len(history.costs)",
        ),
    ),
    (
        "interrupted-is-well",
        "status 0 after Ctrl-C: make and && go on",
        (
            "runs.command_line",
            "return INTERRUPTED if interrupted and done < experiment.epochs else AGREED",
            "return AGREED",
        ),
    ),
    (
        "diverged-is-well",
        "a cost of NaN compares as no failure",
        ("runs.command_line", "return DIVERGED", "return AGREED"),
    ),
    (
        "torch-imported-by-hand",
        "a convenient import that pulls in the other side",
        (
            "runs.start",
            "import numpy as np\nfrom tqdm",
            "import numpy as np\nimport torch\nfrom tqdm",
        ),
    ),
    (
        "the-worst-status-is-the-last",
        "a loop that keeps its last result",
        ("compare", "status = max(status, train(", "status = max(AGREED, train("),
    ),
    (
        "a-demonstration-parts-unseen",
        "any for all",
        ("compare", "agreed = all(one.inside for", "agreed = any(one.inside for"),
    ),
    (
        "the-first-agreement-is-the-picture's",
        "the caption of several trainings has the first one's error",
        ("figures", "found = worst(agreements)", "found = agreements[0]"),
    ),
    (
        "both-curves-are-scratch's",
        "a plot of one array twice, which always looks like agreement",
        (
            "pictures.style",
            "axes.plot(x, theirs, color=hue.dark",
            "axes.plot(x, ours, color=hue.dark",
        ),
    ),
    (
        "the-searcher-is-twice-by-hand",
        "a copied line: both sides train in NumPy, and agree",
        (
            "runs.demonstrations",
            "other = Searcher(their_search, torch_side, epochs)",
            "other = Searcher(their_search, scratch_side, epochs)",
        ),
    ),
    (
        "few-examples-few-steps",
        "learning curves with equal epochs: high bias is undertraining",
        ("runs.demonstrations", "experiment.epochs * most / batches", "experiment.epochs"),
    ),
    (
        "nan-is-the-best-trial",
        "min() of a list that begins with NaN is NaN",
        ("search_rates", "sorted(filter(finite, done),", "sorted(done,"),
    ),
    (
        "the-search-looks-at-train-costs",
        "hyper-parameters chosen on the training set",
        ("search_rates", "history.dev_costs[-1]", "history.costs[-1]"),
    ),
    (
        "the-benchmark-leaves-out-the-update",
        "one side is timed without its optimizer's step",
        ("benchmark", "        rule.update(parameters, step.gradients, state)\n", "        pass\n"),
    ),
    (
        "caught-anywhere-is-caught",
        "a planted bug that another concept's test fails on counts as proved",
        ("planted_bugs", 'self.verdict.how == "failure" and own', 'self.verdict.how == "failure"'),
    ),
    (
        "unchanged-may-fail",
        "where every test fails, every bug is caught",
        ("planted_bugs", "return not self.verdict.how", "return True"),
    ),
    (
        "outcomes-of-other-code-count",
        "a score written from a session of last week",
        ("mutation", "one.state != session.state for", "False for"),
    ),
    (
        "survivors-are-killed",
        "a verdict without failures taken for a catch",
        ("mutation", 'return Outcome("survived", reason=f', 'return Outcome("killed", reason=f'),
    ),
)

SCRIPT_MISTAKES = tuple(
    Mistake(name=name, seen=seen, change=Change(f"scripts.{module}", old, new))
    for name, seen, (module, old, new) in _TABLE
)
