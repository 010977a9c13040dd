"""Planted bugs of costs and what is made of them: penalties, parameters, gradient checking."""

from __future__ import annotations

from functools import partial

from parity_tests.planting import PlantedBug

_costs = partial(PlantedBug, module="scratch.costs", concept="costs")
_logistic = partial(PlantedBug, module="scratch.logistic_regression", concept="logistic_regression")
_parameters = partial(PlantedBug, module="scratch.parameters", concept="parameters")
_initializers = partial(PlantedBug, module="scratch.initializers", concept="initializers")
_regularization = partial(PlantedBug, module="scratch.regularization", concept="regularization")
_checking = partial(PlantedBug, module="scratch.gradient_checking", concept="gradient_checking")

_COST_BUGS = (
    _costs(
        name="absolute-error-averaged-over-outputs",
        old="np.abs(Y - A).sum() / divisor",
        new="np.abs(Y - A).mean()",
        seen="jinglescode/time-series-forecasting-pytorch issue 13: reduction by the mean",
    ),
    _costs(
        name="absolute-error-descends-upwards",
        old="np.sign(A - Y)",
        new="np.sign(Y - A)",
        seen="math.techqa.club question 4158072: y - output for output - y",
    ),
    _costs(
        name="0-log-0-is-NaN",
        old="    log_A = np.zeros_like(A)\n"
        "    np.log(A, out=log_A, where=Y != 0)\n"
        "    return Y * log_A\n",
        new="    return Y * np.log(A)\n",
        seen="tensorflow/models pull request 181: a cross-entropy by hand becomes NaN",
    ),
    _costs(
        name="log-of-clipped-probabilities",
        old="np.log(A, out=log_A, where=Y != 0)",
        new="np.log(np.clip(A, 1e-15, 1 - 1e-15), out=log_A, where=Y != 0)",
        seen="rohitg00/ai-engineering-from-scratch pull request 17: eps = 1e-15",
    ),
    _costs(
        name="softplus-overflows",
        old="(np.maximum(Z, 0) - Y * Z + np.log1p(np.exp(-np.abs(Z)))).sum()",
        new="(np.log(1 + np.exp(Z)) - Y * Z).sum()",
        seen="borgwang/tinynn pull request 7",
    ),
    _costs(
        name="softplus-overflows-below-0",
        old="(np.maximum(Z, 0) - Y * Z + np.log1p(np.exp(-np.abs(Z)))).sum()",
        new="(Z - Y * Z + np.log(1 + 1 / np.exp(Z))).sum()",
        seen="rushter/MLAlgorithms pull requests 30, which cures the other side, and 31",
    ),
    _costs(
        name="log-sum-exp-without-the-shift",
        old="shifted = Z - Z.max(axis=0)",
        new="shifted = Z",
        seen="mlberkeley/scae-pytorch pull request 4",
    ),
    _costs(
        name="softmax-twice",
        old="CrossEntropyWithLogitsCache(_softmax(Z)[0], Y, divisor)",
        new="CrossEntropyWithLogitsCache(_softmax(_softmax(Z)[0])[0], Y, divisor)",
        seen="tflearn/tflearn pull request 562; Lightning-Universe/lightning-bolts issue 654",
    ),
    _costs(
        name="y-minus-y-hat",
        old='softmax classifier".\n    """\n    A, Y, divisor = cache\n'
        '    return {"Z": dJ / divisor * (A - Y)}',
        new='softmax classifier".\n    """\n    A, Y, divisor = cache\n'
        '    return {"Z": dJ / divisor * (Y - A)}',
        seen="deeplearning4j/deeplearning4j issue 349: labels.sub(output)",
    ),
    _costs(
        name="sigmoid-derivative-behind-the-logits",
        old='networks".\n    """\n    A, Y, divisor = cache\n'
        '    return {"Z": dJ / divisor * (A - Y)}',
        new='networks".\n    """\n    A, Y, divisor = cache\n'
        '    return {"Z": dJ / divisor * (A - Y) * A * (1 - A)}',
        seen="Kulbear/deep-learning-coursera pull request 42: the sigmoid used twice",
    ),
    _costs(
        name="accuracy-by-entries",
        old="(prediction == Y).all(axis=0).mean()",
        new="(prediction == Y).mean()",
        seen="tensorflow/tensorflow issue 19927, an accuracy over one-hot labels without its axis",
    ),
)

_MODEL_BUGS = (
    _logistic(
        name="logistic-regression-without-1/m",
        old="_cost_backward(1.0, cache)",
        new="_cost_backward(float(X.shape[1]), cache)",
        seen="eriklindernoren/ML-From-Scratch pull requests 126 and 135",
    ),
    _logistic(
        name="db-of-the-loops-without-1/m",
        old='"b": db / m}',
        new='"b": db}',
        seen="eriklindernoren/ML-From-Scratch pull request 136, for the bias",
    ),
    _logistic(
        name="cost-of-the-step-after",
        old='        b -= alpha * gradients["b"]\n',
        new='        b -= alpha * gradients["b"]\n'
        "        costs[step] = unchecked(propagate)(w, b, X, Y)[0]\n",
        seen="keras-team/keras issue 8578: costs shifted by one step",
    ),
    _parameters(
        name="copy-is-a-reference",
        old="        made = self.zeros_like()\n"
        "        made.theta[:] = self.theta\n"
        "        return made\n",
        new="        return self\n",
        seen="pytorch/tutorials pull request 188; zhangj111/astnn issue 8",
    ),
    _parameters(
        name="vector-shares-its-memory",
        old="_restore(vector.copy(), like.shapes)",
        new="_restore(vector, like.shapes)",
        seen="pytorch/pytorch issue 34765: what looks like a copy keeps being updated",
    ),
    _parameters(
        name="theta-column-by-column",
        old="[array.ravel() for array in arrays.values()]",
        new='[array.ravel(order="F") for array in arrays.values()]',
        seen="tuwien-musicir/rp_extract issue 16; keras-team/keras issue 13830: MATLAB's order",
    ),
    _initializers(
        name="he-with-fan-out",
        old="math.sqrt(2 / shape[1]) *",
        new="math.sqrt(2 / shape[0]) *",
        seen="udacity/deep-reinforcement-learning issue 14",
    ),
    _initializers(
        name="he-with-the-gain-of-tanh",
        old="math.sqrt(2 / shape[1]) *",
        new="math.sqrt(1 / shape[1]) *",
        seen="LazaroHurtado/micrograd-rs pull request 10: sqrt(3 / fan) for sqrt(6 / fan)",
    ),
    _initializers(
        name="glorot-without-parentheses",
        old="math.sqrt(2 / (shape[1] + shape[0]))",
        new="math.sqrt(2 / shape[1] + shape[0])",
        seen="mlverse/torch issue 555",
    ),
    _initializers(
        name="every-layer-from-one-seed",
        old="INITIALIZERS[initializer]((view.shape[0], view.shape[1]), rng)",
        new="INITIALIZERS[initializer](\n"
        "                (view.shape[0], view.shape[1]), np.random.default_rng(3)\n"
        "            )",
        seen="netket/netket issue 241; nntile/nntile issue 21",
    ),
)

_PENALTY_BUGS = (
    _regularization(
        name="l2-gradient-without-its-2",
        old="gradients[name] = 2 * strength /",
        new="gradients[name] = strength /",
        seen="jingtinghuang/CS231n-Spring-2017 issue 3",
    ),
    _regularization(
        name="l2-norm-not-squared",
        old="np.square(W).sum() for W",
        new="np.sqrt(np.square(W).sum()) for W",
        seen="ddbourgin/numpy-ml issue 53: the penalty gamma sqrt(beta @ beta)",
    ),
    _regularization(
        name="l1-gradient-always-positive",
        old="* np.sign(W)",
        new="* np.abs(np.sign(W))",
        seen="bashardudin/Epita-SCIA-OCVX issue 1",
    ),
    _regularization(
        name="decay-on-biases",
        old=' if name.startswith("W")',
        new="",
        seen="ultralytics/yolov3 issue 469; autrainer/autrainer pull request 166",
    ),
    _regularization(
        name="decay-on-batch-norm",
        old='if name.startswith("W")',
        new='if not name.startswith("b")',
        seen="LBANN/lbann issue 809; VectorInstitute/mmlearn pull request 2",
    ),
    _regularization(
        name="l2-without-1/m",
        old="np.square(W).sum() for W in weights(parameters).values())\n"
        "    return parameters.theta.dtype.type(strength / (DENOMINATORS[denominator] * m)",
        new="np.square(W).sum() for W in weights(parameters).values())\n"
        "    return parameters.theta.dtype.type(strength / DENOMINATORS[denominator]",
        seen="ageron/handson-ml3 issue 118: 1/2 where the text has 1/m",
    ),
)

#: the refusal of dropout in `check_network`.
_REFUSAL = """\
    if network.dropped:
        raise ValueError(
            f"expected a network with every keep_prob 1, got keep_probs {network.keep_probs}"
        )
"""

#: what `check_network` sums up, and what it does between the gradients and the costs.
_SUM = "parameters, X, Y, network, l1=l1, l2=l2"
_BETWEEN = """\
    if epsilon is None:
        epsilon = _default_step(parameters.theta.dtype, two_sided)
    at_rest = _sides(X, parameters, network, l1)
    crossed = parameters.zeros_like()

    def cost(moved: Parameters) -> np.floating[Any]:
        if not np.array_equal(_sides(X, moved, network, l1), at_rest):
            crossed.theta[moved.theta != parameters.theta] = 1
"""

_CHECKING_BUGS = (
    _checking(
        name="difference-over-2-times-epsilon",
        old="(J_high - J) / (high - low)",
        new="(J_high - J) / 2 * epsilon",
        seen="mbadry1/DeepLearning.ai-Summary at 0013391, course 2: / 2*eps",
    ),
    _checking(
        name="error-over-the-gradient-alone",
        old="np.linalg.norm(approximation) + np.linalg.norm(gradient)",
        new="np.linalg.norm(gradient)",
        seen="ericchansen/q2mm pull request 248: divided by what may be 0",
    ),
    _checking(
        name="error-over-a-sum-halved-in-one-term",
        old="np.linalg.norm(approximation) + np.linalg.norm(gradient)",
        new="np.linalg.norm(approximation) + np.linalg.norm(gradient) / 2",
        seen="stan-dev/stan issue 297: (a - b) / ((abs(a) + abs(b) / 2)",
    ),
    _checking(
        name="error-not-relative",
        old=" / (norms or 1))",
        new=")",
        seen="scipy/scipy issue 7766",
    ),
    _checking(
        name="penalty-left-out-of-the-check",
        old="return unchecked(cost_and_gradients)(moved, X, Y, network, l1=l1, l2=l2)[0]",
        new="return unchecked(cost_and_gradients)(moved, X, Y, network)[0]",
        seen="LBANN/lbann issue 102: the objective that is checked has no L2 terms",
    ),
    _checking(
        name="dropout-on-while-checking",
        # both places have to change: with masks, and the refusal of them gone
        old=f"{_REFUSAL}    _, gradients = cost_and_gradients({_SUM})\n{_BETWEEN}"
        "        return unchecked(cost_and_gradients)(moved, X, Y, network, l1=l1, l2=l2)[0]\n",
        new="    from scratch.dropout import draw_masks\n\n"
        "    rng = np.random.default_rng(0)\n"
        "    draws = network.layer_sizes, network.keep_probs, X.shape[1], rng\n"
        "    masks = draw_masks(*draws, X.dtype)\n"
        f"    _, gradients = cost_and_gradients({_SUM}, masks=masks)\n{_BETWEEN}"
        "        masks = draw_masks(*draws, X.dtype)\n"
        "        again = unchecked(cost_and_gradients)\n"
        "        return again(moved, X, Y, network, l1=l1, l2=l2, masks=masks)[0]\n",
        seen="HomericIntelligence/Odyssey pull request 2090; torch/tutorials issue 25",
    ),
    _checking(
        name="moved-parameter-not-moved-back",
        old="        moved.theta[i] = here\n",
        new="",
        seen="HomericIntelligence/Odyssey pull request 2090: right at the first index alone",
    ),
)

COST_BUGS = (*_COST_BUGS, *_MODEL_BUGS, *_PENALTY_BUGS, *_CHECKING_BUGS)
