"""Notebooks of the assignments, one a test: their calls, and the numbers that they print below."""

from __future__ import annotations

import re

import numpy as np

from scratch._shapes import network_shapes
from scratch.course import deep, gradient_checking, initialization, optimization, planar
from scratch.course import regularization as regularized
from scratch.optimizers import Adam
from scratch.parameters import Parameters


def randn(seed, *shapes, sizes=()):
    """Return arrays drawn one after the other from NumPy's seed, then the layers of a network."""
    np.random.seed(seed)
    arrays = [np.random.randn(*shape) for shape in shapes]
    if sizes:
        shapes = network_shapes(sizes)
        arrays.append({name: np.random.randn(*shape) for name, shape in shapes.items()})
    return arrays


def rounded(arrays):
    """Return arrays as a notebook gives them, with eight digits."""
    return [np.round(1.0 * one, 8) for one in arrays]


def prints(found, *texts, **named):
    """Hold an array, or several by place or name, to as many digits as a notebook shows of each.

    Semicolons stand between rows.
    """
    pairs = [*zip(found if len(texts) > 1 else [found], texts, strict=False)]
    for one, text in [*pairs, *((found[name], text) for name, text in named.items())]:
        expected = np.array([row.split() for row in text.split(";")], float)
        digits = max(len(number.partition(".")[2]) for number in re.split(r"[;\s]+", text))
        np.testing.assert_allclose(np.atleast_2d(one), expected, 0, 0.51 * 10.0**-digits)


# fmt: off
def test_planar():
    np.random.seed(2)
    drawn = planar.initialize_parameters(2, 4, 1)
    prints(drawn, W2="-0.01057952 -0.00909008 0.00551454 0.02292208",
        W1="""-0.00416758 -0.00056267; -0.02136196 0.01640271;
        -0.01793436 -0.00841747; 0.00502881 -0.01245288""")
    prints(planar.sigmoid(np.array([0, 2])), "0.5 0.88079708")
    parameters = dict(zip(drawn, rounded(drawn.values()), strict=True))
    X, b1 = randn(1, (2, 3), (4, 1))
    _, cache = planar.forward_propagation(X, parameters | {"b1": b1, "b2": np.array([[-1.3]])})
    means = [one.mean() for one in cache.values()]
    prints(means, "0.26281864020 0.09199904523 -1.30766601287 0.21287768172")
    X, Y = randn(1, (2, 3), (1, 3))
    _, cache = planar.forward_propagation(X, parameters)
    cache = dict(zip(cache, rounded(cache.values()), strict=True))
    prints(planar.compute_cost(cache["A2"], randn(1, (1, 3))[0] > 0), "0.693058761")
    prints(planar.backward_propagation(parameters, cache, X, Y > 0),
        dW1="""0.00301023 -0.00747267; 0.00257968 -0.00641288;
        -0.00156892 0.003893; -0.00652037 0.01618243""",
        db1="0.00176201; 0.00150995; -0.00091736; -0.00381422",
        dW2="0.00078841 0.01765429 -0.00084166 -0.01022527", db2="-0.16655712")


def test_deep_forward():
    # the notebook scales these draws by 0.01
    W1 = deep.initialize_parameters_deep([5, 4, 3])["W1"] * np.sqrt(5) * 0.01
    prints(W1[0], "0.01788628 0.0043651 0.00096497 -0.01863493 -0.00277388")
    layer = (3, 2), (1, 3), (1, 1)
    prints(deep.linear_forward(*randn(1, *layer))[0], "3.26295337 -1.23429987")
    for activation, text in {"sigmoid": "0.96890023 0.11013289", "relu": "3.43896131 0"}.items():
        prints(deep.linear_activation_forward(*randn(2, *layer), activation)[0], text)
    three = randn(6, (5, 4), sizes=(5, 4, 3, 1))
    prints(deep.L_model_forward(*three)[0], "0.03921668 0.70498921 0.19734387 0.04728177")
    AL, Y = np.array([[0.8, 0.9, 0.4]]), np.array([[1, 1, 0]])
    prints(deep.compute_cost(AL, Y), "0.279776563579342")


def test_deep_backward():
    dZ, *cache = randn(1, (1, 2), (3, 2), (1, 3), (1, 1))
    prints(deep.linear_backward(dZ, tuple(cache)),
        "0.51822968 -0.19517421; -0.40506361 0.15255393; 2.37496825 -0.89445391",
        "-0.10076895 1.40685096 1.64992505", "0.50629448")
    dA, *cache, Z = randn(2, (1, 2), (3, 2), (1, 3), (1, 1), (1, 2))
    prints(deep.linear_activation_backward(dA, (tuple(cache), Z), "sigmoid"),
        "0.11017994 0.01105339; 0.09466817 0.00949723; -0.05743092 -0.00576154",
        "0.10266786 0.09778551 -0.01968084", "-0.05729622")
    prints(deep.linear_activation_backward(dA, (tuple(cache), Z), "relu"),
        "0.44090989 0; 0.37883606 0; -0.2298228 0",
        "0.44513824 0.37371418 -0.10478989", "-0.20837892")
    shapes = (1, 2), (4, 2), (3, 4), (3, 1), (3, 2), (3, 2), (1, 3), (1, 1), (1, 2)
    AL, A1, W1, b1, Z1, A2, W2, b2, Z2 = randn(3, *shapes)
    caches = [((A1, W1, b1), Z1), ((A2, W2, b2), Z2)]
    prints(deep.L_model_backward(AL, np.array([[1, 0]]), caches),
        dA2="0.12913162 -0.44014127; -0.14175655 0.48317296; 0.01663708 -0.05670698",
        dA1="0 0.52257901; 0 -0.3269206; 0 -0.32070404; 0 -0.74079187",
        dW1="""0.41010002 0.07807203 0.13798444 0.10502167; 0 0 0 0;
        0.05283652 0.01005865 0.01777766 0.0135308""",
        db1="-0.22007063; 0; -0.02835349")


def test_initialization():
    prints(initialization.initialize_parameters_random([3, 2, 1]), W2="-0.82741481 -6.27000677",
        W1="17.88628473 4.36509851 0.96497468; -18.63492703 -2.77388203 -3.54758979")
    prints(initialization.initialize_parameters_he([2, 4, 1]),
        W2="-0.03098412 -0.33744411 -0.92904268 0.62552248")


def test_regularization():
    X, parameters = randn(1, (3, 5), sizes=(3, 2, 3, 1))
    Y = np.array([[1, 1, 0, 1, 0]])
    A3, cache = regularized.forward_propagation(X, parameters)
    (theta,) = randn(1, sizes=(3, 2, 3, 1))
    J = regularized.compute_cost_with_regularization(np.round(A3, 8), Y, theta, lambd=0.1)
    prints(J, "1.78648594516")
    prints(regularized.backward_propagation_with_regularization(X, Y, rounded(cache), 0.7),
        dW1="-0.25604646 0.12298827 -0.28297129; -0.17706303 0.34536094 -0.4410571",
        dW2="0.79276486 0.85133918; -0.0957219 -0.01720463; -0.13100772 -0.03750433",
        dW3="-1.77691347 -0.11832879 -0.09397446")
    A3, _ = regularized.forward_propagation_with_dropout(X, parameters, keep_prob=0.7)
    prints(A3, "0.36974721 0.00305176 0.04565099 0.49683389 0.36974721")
    _, cache = regularized.forward_propagation_with_dropout(X, parameters)
    prints(regularized.backward_propagation_with_dropout(X, Y, rounded(cache), 0.8),
        dA1="0.36544439 0 -0.00188233 0 -0.17408748; 0.65515713 0 -0.00337459 0 0",
        dA2="""0.58180856 0 -0.00299679 0 -0.27715731;
        0 0.53159854 0 0.53159854 -0.34089673; 0 0 -0.00292733 0 0""")


def test_gradient_checking():
    X, theta = randn(1, (4, 3), sizes=(4, 5, 3, 1))
    Y = np.array([1, 1, 0])
    _, cache = gradient_checking.forward_propagation_n(X, Y, theta)
    right = gradient_checking.backward_propagation_n(X, Y, cache)
    wrong = right | {"dW2": 2 * right["dW2"], "db1": 4 * right["db1"]}  # the assignment's errors
    # the cost comes from an output that is nearly 1: its round-off leaves this much
    prints(gradient_checking.gradient_check_n(theta, right, X, Y), "0.000000119")
    prints(gradient_checking.gradient_check_n(theta, wrong, X, Y), "0.28509316")


def test_optimization():
    X, Y = randn(1, (12288, 148), (1, 148))
    found = optimization.random_mini_batches(X, Y < 0.5, 64)
    assert [(X.shape, Y.shape) for X, Y in found] == [((12288, m), (1, m)) for m in (64, 64, 20)]
    prints(found[0][0][0, :3], "0.90085595 -0.7612069 0.2344157")
    arrays = randn(1, *2 * [(2, 3), (2, 1), (3, 3), (3, 1)])
    theta = dict(zip(("W1", "b1", "W2", "b2"), arrays, strict=False))
    grads = {f"d{name}": one for name, one in zip(theta, arrays[4:], strict=True)}
    prints(optimization.update_parameters_with_gd(theta, grads, 0.01),
        W1="1.63535156 -0.62320365 -0.53718766; -1.07799357 0.85639907 -2.29470142",
        b2="-0.88020257; 0.02561572; 0.57539477")
    v = optimization.initialize_velocity(theta)
    updated, v = optimization.update_parameters_with_momentum(theta, grads, v, 0.9, 0.01)
    prints(v, db1="-0.01228902; -0.09357694",
        dW1="-0.11006192 0.11447237 0.09015907; 0.05024943 0.09008559 -0.06837279")
    prints(updated, b2="-0.87809283; 0.04055394; 0.58207317",
        W1="1.62544598 -0.61290114 -0.52907334; -1.07347112 0.86450677 -2.30085497")
    updated, v, s = optimization.update_parameters_with_adam(
        theta, grads, *optimization.initialize_adam(theta), t=2)
    prints(s, dW1="0.00121136 0.00131039 0.00081287; 0.0002525 0.00081154 0.00046748")
    prints(updated, b2="-0.88529979; 0.03477238; 0.57537385",
        W1="1.63178673 -0.61919778 -0.53561312; -1.08040999 0.85796626 -2.29409733")
    prints(updated["W2"][2, 1], "-1.09244991")
    # the one weight of it in which older notebooks differ, whose epsilon is inside the root
    inside, optimizer = Parameters(theta), Adam(learning_rate=0.01, epsilon_inside_root=True)
    gradients = Parameters({name: grads[f"d{name}"] for name in theta})
    state = optimizer.init(inside)
    state.t[()] = 1
    optimizer.update(inside, gradients, state)
    prints(inside["W2"][2, 1], "-1.09245036")
# fmt: on
