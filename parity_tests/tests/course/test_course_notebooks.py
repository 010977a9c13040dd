"""The numbers that the assignments print, the lines of their trainings, and the curves they draw."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest

from parity_tests.compare.bridge import columns, rows
from scratch.course import (
    deep,
    gradient_checking,
    initialization,
    optimization,
    planar,
    regularization,
)
from scratch.optimizers import Adam
from scratch.parameters import Parameters


def assert_printed(ours, published, digits=8):
    """Raise AssertionError unless ours rounds to what a notebook prints, digits after the point."""
    np.testing.assert_allclose(ours, published, rtol=0, atol=0.51 * 10.0**-digits)


def randn(seed, **shapes):
    """Return arrays drawn one after the other from NumPy's seed, as the test cases are."""
    np.random.seed(seed)
    return {name: np.random.randn(*shape) for name, shape in shapes.items()}


def arrays(*nested):
    """Return lists as arrays."""
    return tuple(np.array(one) for one in nested)


# --- planar data ----------------------------------------------------------------------------------

#: the weights that the assignment draws with seed 2, as it prints them.
W1 = np.array(
    [
        [-0.00416758, -0.00056267],
        [-0.02136196, 0.01640271],
        [-0.01793436, -0.00841747],
        [0.00502881, -0.01245288],
    ]
)
W2 = np.array([[-0.01057952, -0.00909008, 0.00551454, 0.02292208]])
A2 = np.array([[0.5002307, 0.49985831, 0.50023963]])
PLANAR_A1 = [
    [-0.00616578, 0.0020626, 0.00349619],
    [-0.05225116, 0.02725659, -0.02646251],
    [-0.02009721, 0.0036869, 0.02883756],
    [0.02152675, -0.01385234, 0.02599885],
]
PLANAR = {
    "W1": [
        [-0.00615039, 0.0169021],
        [-0.02311792, 0.03137121],
        [-0.0169217, -0.01752545],
        [0.00935436, -0.05018221],
    ],
    "b1": [[-8.97523455e-07], [8.15562092e-06], [6.04810633e-07], [-2.54560700e-06]],
    "W2": [[-0.0104319, -0.04019007, 0.01607211, 0.04440255]],
    "b2": [[9.14954378e-05]],
}
PLANAR_GRADS = {
    "dW1": [
        [0.00023322, -0.00205423],
        [0.00082222, -0.00700776],
        [-0.00031831, 0.0028636],
        [-0.00092857, 0.00809933],
    ],
    "db1": [[1.05570087e-07], [-3.81814487e-06], [-1.90155145e-07], [5.46467802e-07]],
    "dW2": [[-1.75740039e-05, 3.70231337e-03, -1.25683095e-03, -2.55715317e-03]],
    "db2": [[-1.08923140e-05]],
}


def of(dictionary):
    """Return a dictionary of lists as one of arrays."""
    return {name: np.array(one) for name, one in dictionary.items()}


def exercise():
    """Return X and the boolean Y of the assignment's test cases."""
    data = randn(1, X=(2, 3), Y=(1, 3))
    return data["X"], data["Y"] > 0


def planar_means():
    """Return the means of the cache on the assignment's parameters."""
    drawn = randn(1, X=(2, 3), b1=(4, 1))
    parameters = {"W1": W1, "b1": drawn["b1"], "W2": W2, "b2": np.array([[-1.3]])}
    _, cache = planar.forward_propagation(drawn["X"], parameters)
    return [cache[name].mean() for name in ("Z1", "A1", "Z2", "A2")]


def planar_backward():
    """Return the gradients from the assignment's cache and boolean labels."""
    parameters = {"W1": W1, "b1": np.zeros((4, 1)), "W2": W2, "b2": np.zeros((1, 1))}
    cache = {"A1": np.array(PLANAR_A1), "A2": A2}
    return planar.backward_propagation(parameters, cache, *exercise())


def planar_initialize():
    """Return the draws from NumPy's global generator after seed 2."""
    np.random.seed(2)
    return planar.initialize_parameters(2, 4, 1)


def planar_training(monkeypatch):
    """Return the parameters after 10000 iterations from seed 2, as older notebooks draw."""
    monkeypatch.setattr(planar, "seeded", lambda seed: np.random.RandomState(seed - 1))
    return planar.nn_model(*exercise(), 4)


# --- deep networks --------------------------------------------------------------------------------

LAYER = {"W": (1, 3), "b": (1, 1)}
DEEP = {"W1": (3, 4), "b1": (3, 1), "W2": (1, 3), "b2": (1, 1)}
DEEPER = {"W1": (4, 5), "b1": (4, 1), "W2": (3, 4), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}


def forward(seed, X, shapes):
    """Return the output of a network drawn from a seed."""
    drawn = randn(seed, X=X, **shapes)
    AL, caches = deep.L_model_forward(drawn.pop("X"), drawn)
    assert len(caches) == len(shapes) // 2
    return AL


def linear_backward():
    """Return the gradients of a linear layer, by name."""
    drawn = randn(1, dZ=(1, 2), A=(3, 2), **LAYER)
    found = deep.linear_backward(drawn.pop("dZ"), tuple(drawn.values()))
    return dict(zip(("dA", "dW", "db"), found, strict=True))


def activation_backward(activation):
    """Return the gradients of a layer, by name."""
    drawn = randn(2, dA=(1, 2), A=(3, 2), **LAYER, Z=(1, 2))
    dA, Z = drawn.pop("dA"), drawn.pop("Z")
    found = deep.linear_activation_backward(dA, (tuple(drawn.values()), Z), activation)
    return dict(zip(("dA", "dW", "db"), found, strict=True))


def model_backward():
    """Return the gradients from an AL of arbitrary numbers."""
    first = {"A1": (4, 2), "W1": (3, 4), "b1": (3, 1), "Z1": (3, 2)}
    second = {"A2": (3, 2), "W2": (1, 3), "b2": (1, 1), "Z2": (1, 2)}
    drawn = list(randn(3, AL=(1, 2), **first, **second).values())
    caches = [(tuple(drawn[1:4]), drawn[4]), (tuple(drawn[5:8]), drawn[8])]
    return deep.L_model_backward(drawn[0], np.array([[1, 0]]), caches)


def deep_update():
    """Return the parameters after a step."""
    grads = {f"d{name}": one for name, one in randn(3, **DEEP).items()}
    return deep.update_parameters(randn(2, **DEEP), grads, 0.1)


def cost_of(*labels):
    """Return the cost of the assignment's AL."""
    return deep.compute_cost(np.array([[0.8, 0.9, 0.4]]), np.array([labels]))


# --- regularization and gradient checking ---------------------------------------------------------

THREE = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 2), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
#: the cache of the assignment's test cases, and what differs under dropout.
Z1 = [
    [-1.52855314, 3.32524635, 2.13994541, 2.60700654, -0.75942115],
    [-1.98043538, 4.1600994, 0.79051021, 1.46493512, -0.45506242],
]
FIRST = (
    [[-1.09989127, -0.17242821, -0.87785842], [0.04221375, 0.58281521, -1.10061918]],
    [[1.14472371], [0.90159072]],
)
Z2 = [
    [0.53035547, 5.94892323, 2.31780174, 3.16005701, 0.53035547],
    [-0.69166075, -3.47645987, -2.25194702, -2.65416996, -0.69166075],
    [-0.39675353, -4.62285846, -2.61101729, -3.22874921, -0.39675353],
]
SECOND = (
    [[0.50249434, 0.90085595], [-0.68372786, -0.12289023], [-0.93576943, -0.26788808]],
    [[0.53035547], [-0.69166075], [-0.39675353]],
)
Z3 = [[-0.3771104, -4.10060224, -1.60539468, -2.18416951, -0.3771104]]
A3 = [[0.40682402, 0.01629284, 0.16722898, 0.10118111, 0.40682402]]
THIRD = [[-0.6871727, -0.84520564, -0.67124613]], [[-0.0126646]]
D1 = [[True, False, True, True, True], [True, True, True, True, False]]
DROPPED_A1 = [[0, 0, 4.27989081, 5.21401307, 0], [0, 8.32019881, 1.58102041, 2.92987024, 0]]
D2 = [
    [True, False, True, False, True],
    [False, True, False, True, True],
    [False, False, True, False, False],
]
DROPPED_A2 = [[1.06071093, 0, 8.21049603, 0, 1.06071093], [0] * 5, [0] * 5]
DROPPED_A3 = [[0.32266394, 0.49683389, 0.00348883, 0.49683389, 0.32266394]]
LABELS = np.array([[1, 1, 0, 1, 0]])
INPUTS = (3, 5)


def decayed():
    """Return the gradients with weight decay from the assignment's cache."""
    hidden = (Z1, np.maximum(Z1, 0), *FIRST, Z2, np.maximum(Z2, 0), *SECOND)
    cache, X = arrays(*hidden, Z3, A3, *THIRD), randn(1, X=INPUTS)["X"]
    return regularization.backward_propagation_with_regularization(X, LABELS, cache, lambd=0.7)


def dropped():
    """Return the gradients under the assignment's boolean masks."""
    hidden = (Z1, D1, DROPPED_A1, *FIRST, Z2, D2, DROPPED_A2, *SECOND)
    cache, X = arrays(*hidden, Z3, DROPPED_A3, *THIRD), randn(1, X=INPUTS)["X"]
    return regularization.backward_propagation_with_dropout(X, LABELS, cache, keep_prob=0.8)


def dropped_output():
    """Return the output under the masks of seed 1."""
    drawn = randn(1, X=INPUTS, **THREE)
    X = drawn.pop("X")
    return regularization.forward_propagation_with_dropout(X, drawn, keep_prob=0.7)[0]


def check(dW2=1, db1=1):
    """Return what the check says of the assignment's gradients, two of them times a number."""
    shapes = {"W1": (5, 4), "b1": (5, 1), "W2": (3, 5), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    drawn = randn(1, X=(4, 3), **shapes)
    X, Y = drawn.pop("X"), np.array([1, 1, 0])
    _, cache = gradient_checking.forward_propagation_n(X, Y, drawn)
    gradients = gradient_checking.backward_propagation_n(X, Y, cache)
    gradients |= {"dW2": dW2 * gradients["dW2"], "db1": db1 * gradients["db1"]}
    return gradient_checking.gradient_check_n(drawn, gradients, X, Y)


# --- optimization ---------------------------------------------------------------------------------

LOOSE = {"W1": (2, 3), "b1": (2, 1), "W2": (3, 3), "b2": (3, 1)}


def loose():
    """Return the assignment's parameters and gradients, whose layers do not fit together."""
    drawn = randn(1, **LOOSE, **{f"d{name}": shape for name, shape in LOOSE.items()})
    return {name: drawn[name] for name in LOOSE}, {f"d{name}": drawn[f"d{name}"] for name in LOOSE}


def adam():
    """Return the parameters and both averages after step 2 of Adam."""
    parameters, grads = loose()
    v, s = optimization.initialize_adam(parameters)
    updated, v, s = optimization.update_parameters_with_adam(parameters, grads, v, s, t=2)
    return updated | {f"v {name}": one for name, one in v.items()} | {"s dW1": s["dW1"]}


def momentum():
    """Return the parameters and velocity after a step of momentum."""
    parameters, grads = loose()
    v = optimization.initialize_velocity(parameters)
    updated, v = optimization.update_parameters_with_momentum(
        parameters, grads, v, beta=0.9, learning_rate=0.01
    )
    return updated | {f"v {name}": one for name, one in v.items()}


def first_batch():
    """Return the first three numbers of the assignment's mini-batches, whose shapes it prints."""
    drawn = randn(1, X=(12288, 148), Y=(1, 148))
    found = optimization.random_mini_batches(drawn["X"], drawn["Y"] < 0.5, 64)
    assert [(X.shape, Y.shape) for X, Y in found] == [((12288, m), (1, m)) for m in (64, 64, 20)]
    return found[0][0][0][:3]


VELOCITY = {
    "v dW1": [[-0.11006192, 0.11447237, 0.09015907], [0.05024943, 0.09008559, -0.06837279]],
    "v db1": [[-0.01228902], [-0.09357694]],
}

#: what is called, and what is printed: an array, or some of a dictionary's.
PRINTED = {
    "planar sigmoid of 3": (lambda: planar.sigmoid(3), 0.95257413),
    "planar sigmoid": (lambda: planar.sigmoid(np.array([0, 2])), [0.5, 0.88079708]),
    "planar initialization": (planar_initialize, {"W1": W1, "W2": W2}),
    "planar forward": (
        planar_means,
        [0.262818640198, 0.091999045227, -1.30766601287, 0.212877681719],
        11,
    ),
    "planar cost": (
        lambda: planar.compute_cost(A2, randn(1, Y=(1, 3))["Y"] > 0),
        0.693058761,
        9,
    ),
    "planar backward": (
        planar_backward,
        {
            "dW1": [
                [0.00301023, -0.00747267],
                [0.00257968, -0.00641288],
                [-0.00156892, 0.003893],
                [-0.00652037, 0.01618243],
            ],
            "db1": [[0.00176201], [0.00150995], [-0.00091736], [-0.00381422]],
            "dW2": [[0.00078841, 0.01765429, -0.00084166, -0.01022527]],
            "db2": [[-0.16655712]],
        },
    ),
    "planar update": (
        lambda: planar.update_parameters(of(PLANAR), of(PLANAR_GRADS)),
        {
            "W1": [
                [-0.00643025, 0.01936718],
                [-0.02410458, 0.03978052],
                [-0.01653973, -0.02096177],
                [0.01046864, -0.05990141],
            ],
            "W2": [[-0.01041081, -0.04463285, 0.01758031, 0.04747113]],
            "b2": [[0.00010457]],
        },
    ),
    "planar prediction": (
        lambda: planar.predict(of(PLANAR), exercise()[0]).mean(),
        0.666666666667,
        12,
    ),
    "linear": (
        lambda: deep.linear_forward(**randn(1, A=(3, 2), **LAYER))[0],
        [[3.26295337, -1.23429987]],
    ),
    "linear and sigmoid": (
        lambda: deep.linear_activation_forward(
            **randn(2, A_prev=(3, 2), **LAYER), activation="sigmoid"
        )[0],
        [[0.96890023, 0.11013289]],
    ),
    "linear and relu": (
        lambda: deep.linear_activation_forward(
            **randn(2, A_prev=(3, 2), **LAYER), activation="relu"
        )[0],
        [[3.43896131, 0.0]],
    ),
    "two layers": (lambda: forward(1, (4, 2), DEEP), [[0.17007265, 0.2524272]]),
    "three layers": (
        lambda: forward(6, (5, 4), DEEPER),
        [[0.03921668, 0.70498921, 0.19734387, 0.04728177]],
    ),
    "cost of ones": (lambda: cost_of(1, 1, 1), 0.41493159961539694, 15),
    "cost": (lambda: cost_of(1, 1, 0), 0.2797765635793422, 15),
    "linear backward": (
        linear_backward,
        {
            "dA": [[0.51822968, -0.19517421], [-0.40506361, 0.15255393], [2.37496825, -0.89445391]],
            "dW": [[-0.10076895, 1.40685096, 1.64992505]],
            "db": [[0.50629448]],
        },
    ),
    "sigmoid backward": (
        lambda: activation_backward("sigmoid"),
        {
            "dA": [[0.11017994, 0.01105339], [0.09466817, 0.00949723], [-0.05743092, -0.00576154]],
            "dW": [[0.10266786, 0.09778551, -0.01968084]],
            "db": [[-0.05729622]],
        },
    ),
    "relu backward": (
        lambda: activation_backward("relu"),
        {
            "dA": [[0.44090989, 0.0], [0.37883606, 0.0], [-0.2298228, 0.0]],
            "dW": [[0.44513824, 0.37371418, -0.10478989]],
            "db": [[-0.20837892]],
        },
    ),
    "model backward": (
        model_backward,
        {
            "dA2": [
                [0.12913162, -0.44014127],
                [-0.14175655, 0.48317296],
                [0.01663708, -0.05670698],
            ],
            "dA1": [[0, 0.52257901], [0, -0.3269206], [0, -0.32070404], [0, -0.74079187]],
            "dW1": [
                [0.41010002, 0.07807203, 0.13798444, 0.10502167],
                [0, 0, 0, 0],
                [0.05283652, 0.01005865, 0.01777766, 0.0135308],
            ],
            "db1": [[-0.22007063], [0], [-0.02835349]],
        },
    ),
    "deep update": (
        deep_update,
        {
            "W1": [
                [-0.59562069, -0.09991781, -2.14584584, 1.82662008],
                [-1.76569676, -0.80627147, 0.51115557, -1.18258802],
                [-1.0535704, -0.86128581, 0.68284052, 2.20374577],
            ],
            "b1": [[-0.04659241], [-1.28888275], [0.53405496]],
            "W2": [[-0.55569196, 0.0354055, 1.32964895]],
            "b2": [[-0.84610769]],
        },
    ),
    # the step-by-step notebook scales the same draws by 0.01
    "deep initialization": (
        lambda: deep.initialize_parameters_deep([5, 4, 3])["W1"][0] * np.sqrt(5) * 0.01,
        [0.01788628, 0.0043651, 0.00096497, -0.01863493, -0.00277388],
    ),
    "zeros": (
        lambda: initialization.initialize_parameters_zeros([3, 2, 1]),
        {"W1": np.zeros((2, 3)), "b1": [[0], [0]], "W2": [[0, 0]], "b2": [[0]]},
    ),
    "large": (
        lambda: initialization.initialize_parameters_random([3, 2, 1]),
        {
            "W1": [[17.88628473, 4.36509851, 0.96497468], [-18.63492703, -2.77388203, -3.54758979]],
            "W2": [[-0.82741481, -6.27000677]],
        },
    ),
    "he": (
        lambda: initialization.initialize_parameters_he([2, 4, 1]),
        {
            "W1": [
                [1.78862847, 0.43650985],
                [0.09649747, -1.8634927],
                [-0.2773882, -0.35475898],
                [-0.08274148, -0.62700068],
            ],
            "W2": [[-0.03098412, -0.33744411, -0.92904268, 0.62552248]],
        },
    ),
    "cost with L2": (
        lambda: regularization.compute_cost_with_regularization(
            np.array(A3), LABELS, randn(1, **THREE), lambd=0.1
        ),
        1.78648594516,
        11,
    ),
    "L2": (
        decayed,
        {
            "dW1": [[-0.25604646, 0.12298827, -0.28297129], [-0.17706303, 0.34536094, -0.4410571]],
            "dW2": [
                [0.79276486, 0.85133918],
                [-0.0957219, -0.01720463],
                [-0.13100772, -0.03750433],
            ],
            "dW3": [[-1.77691347, -0.11832879, -0.09397446]],
        },
    ),
    "dropout": (dropped_output, [[0.36974721, 0.00305176, 0.04565099, 0.49683389, 0.36974721]]),
    "dropout backward": (
        dropped,
        {
            "dA1": [
                [0.36544439, 0, -0.00188233, 0, -0.17408748],
                [0.65515713, 0, -0.00337459, 0, 0],
            ],
            "dA2": [
                [0.58180856, 0, -0.00299679, 0, -0.27715731],
                [0, 0.53159854, 0, 0.53159854, -0.34089673],
                [0, 0, -0.00292733, 0, 0],
            ],
        },
    ),
    # the cost comes from an output that is nearly 1: its round-off leaves 1.19e-7
    "check of right gradients": (check, 1.19e-7, 9),
    "check of the assignment's errors": (lambda: check(dW2=2, db1=4), 0.28509316),
    "mini-batches": (first_batch, [0.90085595, -0.7612069, 0.2344157]),
    "gd": (
        lambda: optimization.update_parameters_with_gd(*loose(), 0.01),
        {
            "W1": [[1.63535156, -0.62320365, -0.53718766], [-1.07799357, 0.85639907, -2.29470142]],
            "b1": [[1.74604067], [-0.75184921]],
            "W2": [
                [0.32171798, -0.25467393, 1.46902454],
                [-2.05617317, -0.31554548, -0.3756023],
                [1.1404819, -1.09976462, -0.1612551],
            ],
            "b2": [[-0.88020257], [0.02561572], [0.57539477]],
        },
    ),
    "momentum": (
        momentum,
        VELOCITY
        | {
            "W1": [[1.62544598, -0.61290114, -0.52907334], [-1.07347112, 0.86450677, -2.30085497]],
            "b1": [[1.74493465], [-0.76027113]],
            "W2": [
                [0.31930698, -0.24990073, 1.4627996],
                [-2.05974396, -0.32173003, -0.38320915],
                [1.13444069, -1.0998786, -0.1713109],
            ],
            "b2": [[-0.87809283], [0.04055394], [0.58207317]],
        },
    ),
    "adam": (
        adam,
        VELOCITY
        | {
            "W1": [[1.63178673, -0.61919778, -0.53561312], [-1.08040999, 0.85796626, -2.29409733]],
            "b1": [[1.75225313], [-0.75376553]],
            "W2": [
                [0.32648046, -0.25681174, 1.46954931],
                [-2.05269934, -0.31497584, -0.37661299],
                [1.14121081, -1.09244991, -0.16498684],
            ],
            "b2": [[-0.88529979], [0.03477238], [0.57537385]],
            "s dW1": [[0.00121136, 0.00131039, 0.00081287], [0.0002525, 0.00081154, 0.00046748]],
        },
    ),
}


@pytest.mark.parametrize("name", PRINTED)
def test_printed(name):
    call, published, *digits = PRINTED[name]
    found = call()
    for key, one in published.items() if isinstance(published, dict) else [(None, published)]:
        assert_printed(found[key] if key else found, one, *digits)


def test_printed_training(monkeypatch):
    """Ten thousand iterations end where the assignment ends."""
    found = planar_training(monkeypatch)
    printed = {
        "W1": [
            [-0.65848169, 1.21866811],
            [-0.76204273, 1.39377573],
            [0.5792005, -1.10397703],
            [0.76773391, -1.41477129],
        ],
        "b1": [[0.287592], [0.3511264], [-0.2431246], [-0.35772805]],
        "W2": [[-2.45566237, -3.27042274, 2.00784958, 3.36773273]],
        "b2": [[0.20459656]],
    }
    for name, values in printed.items():
        assert_printed(found[name], values)


def test_older_notebooks_print_adam_with_epsilon_inside_the_root():
    """The one weight in which they differ: -1.09245036 inside, -1.09244991 outside."""
    parameters, grads = loose()
    inside, gradients = Parameters(parameters), Parameters(parameters)
    for name in gradients:
        gradients[name] = grads[f"d{name}"]
    optimizer = Adam(learning_rate=0.01, epsilon_inside_root=True)
    state = optimizer.init(inside)
    state.t[()] = 1
    optimizer.update(inside, gradients, state)
    assert_printed(inside["W2"][2, 1], -1.09245036)


# --- trainings: lines and curves ------------------------------------------------------------------


def flower():
    """Return the assignment's 400 points in petals, (2, 400), and their labels of type uint8."""
    np.random.seed(1)
    X, Y = np.zeros((2, 400)), np.zeros((1, 400), dtype="uint8")
    for j in range(2):
        t = np.linspace(j * 3.12, (j + 1) * 3.12, 200) + np.random.randn(200) * 0.2
        r = 4 * np.sin(4 * t) + np.random.randn(200) * 0.2
        X[:, 200 * j : 200 * (j + 1)] = r * np.sin(t), r * np.cos(t)
        Y[:, 200 * j : 200 * (j + 1)] = j
    return X, Y


def test_nn_model_prints_what_the_notebook_prints(capsys):
    """On its own data; silence unless asked; and the loop by hand is the same."""
    X, Y = flower()
    planar.nn_model(X, Y, n_h=4, num_iterations=2001, print_cost=True)
    assert capsys.readouterr().out == (
        "Cost after iteration 0: 0.693162\n"
        "Cost after iteration 1000: 0.258625\n"
        "Cost after iteration 2000: 0.239334\n"
    )
    found = planar.nn_model(X, Y, 4, 20)
    assert capsys.readouterr().out == ""
    np.random.seed(3)
    parameters = planar.initialize_parameters(2, 4, 1)
    for _ in range(20):
        _, cache = planar.forward_propagation(X, parameters)
        grads = planar.backward_propagation(parameters, cache, X, Y)
        parameters = planar.update_parameters(parameters, grads)
    assert list(found) == ["W1", "b1", "W2", "b2"]
    assert all(np.array_equal(one, parameters[name]) for name, one in found.items())


def test_the_accuracy_is_printed_to_the_notebooks_last_digit(capsys):
    """All of its 209 pictures right sum up to a little less than one."""
    parameters = {"W1": np.ones((1, 1)), "b1": np.zeros((1, 1))}
    assert deep.predict(np.ones((1, 209)), np.ones((1, 209), int), parameters).all()
    assert capsys.readouterr().out == "Accuracy: 0.9999999999999998\n"


def moons():
    """Return the assignment's moons, (2, 300), and their labels (1, 300), from seed 3."""
    datasets = pytest.importorskip("sklearn.datasets")
    np.random.seed(3)
    X, Y = datasets.make_moons(n_samples=300, noise=0.2)
    return columns(rows(columns(rows(X)))), Y.reshape(1, -1)


@pytest.mark.parametrize(
    ("name", "epochs", "printed"),
    [
        ("gd", 101, "Cost after epoch 0: 0.690736\n"),
        ("momentum", 101, "Cost after epoch 0: 0.690741\n"),
        ("adam", 1001, "Cost after epoch 0: 0.690552\nCost after epoch 1000: 0.185567\n"),
    ],
)
def test_model_prints_what_the_notebook_prints(name, epochs, printed, monkeypatch, capsys):
    """The assignment's first lines on its own moons; a cost recorded every 100 epochs."""
    drawn = []
    monkeypatch.setattr(optimization, "plot_costs", lambda *arguments: drawn.append(arguments))
    X, Y = moons()
    optimization.model(X, Y, [X.shape[0], 5, 2, 1], optimizer=name, num_epochs=epochs)
    assert capsys.readouterr().out == printed
    ((costs, label, rate),) = drawn
    assert len(costs) == -(-epochs // 100)
    assert {type(cost) for cost in costs} == {float}
    assert f"{costs[0]:f}" in printed
    assert (label, rate) == ("epochs (per 100)", 0.0007)


DATA = np.random.default_rng(0).standard_normal((2, 8)), np.array([[0, 1] * 4])


def test_L_layer_model_prints_and_records_every_hundred(capsys, monkeypatch):  # noqa: N802
    """The notebook's lines, silence unless asked; the recorded costs are what is drawn."""
    drawn = []
    monkeypatch.setattr(deep, "plot_costs", lambda *arguments: drawn.append(arguments))
    deep.L_layer_model(*DATA, [2, 3, 1], num_iterations=201, print_cost=True)
    ((costs, label, rate),) = drawn
    lines = [f"Cost after iteration {100 * i}: {cost:f}" for i, cost in enumerate(costs)]
    assert len(lines) == 3
    assert capsys.readouterr().out.splitlines() == lines
    assert (label, rate) == ("iterations (per hundreds)", 0.0075)
    assert {type(cost) for cost in costs} == {float}
    assert costs == sorted(costs, reverse=True)
    deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=1, isPlot=False)
    assert capsys.readouterr().out == ""
    assert len(drawn) == 1


TRAININGS = {
    "deep": lambda: deep.L_layer_model(*DATA, (2, 3, 1), num_iterations=101),
    "model": lambda: optimization.model(*DATA, [2, 3, 1], "gd", num_epochs=101, print_cost=False),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_the_costs_are_drawn(name, monkeypatch):
    """Matplotlib's current figure shows the recorded costs, without a display or a word."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.close("all")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda **given: shown.append(given))
    TRAININGS[name]()
    (line,) = pyplot.gca().lines
    assert len(line.get_ydata()) == 2
    assert pyplot.gca().get_ylabel() == "cost"
    assert pyplot.gca().get_title().startswith("Learning rate = 0.0")
    assert pyplot.gca().get_xlabel() in ("iterations (per hundreds)", "epochs (per 100)")
    assert shown == [{"block": False}]
    TRAININGS[name]()
    first, second = pyplot.get_fignums()
    assert [len(pyplot.figure(number).gca().lines) for number in (first, second)] == [1, 1]
    empty = pyplot.figure()
    TRAININGS[name]()
    assert len(empty.gca().lines) == 1  # a figure that was made for it is taken
    monkeypatch.undo()
    TRAININGS[name]()  # the real show of a headless backend
    pyplot.close("all")


@pytest.mark.parametrize("fault", ["no library", "no display"])
def test_a_plot_that_fails_costs_nothing(fault, monkeypatch):
    """Without matplotlib, or where its backend cannot start, the parameters still come back."""
    broken = types.ModuleType("matplotlib.pyplot")

    def plot(*arguments):
        raise RuntimeError("cannot connect to display")

    broken.gca = broken.plot = plot
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None if fault == "no library" else broken)
    assert set(TRAININGS["deep"]()) == {"W1", "b1", "W2", "b2"}
