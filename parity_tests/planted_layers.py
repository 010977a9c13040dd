"""Planted bugs of the layers: activations, the linear layer, batch norm, dropout, the network."""

from __future__ import annotations

from functools import partial

from parity_tests.planting import PlantedBug

_activations = partial(PlantedBug, module="scratch.activations", concept="activations")
_linear = partial(PlantedBug, module="scratch.linear", concept="linear")
_batch_norm = partial(PlantedBug, module="scratch.batch_norm", concept="batch_norm")
_dropout = partial(PlantedBug, module="scratch.dropout", concept="dropout")
_network = partial(PlantedBug, module="scratch.network", concept="network")

ACTIVATION_BUGS = (
    _activations(
        name="softmax-backward-by-the-diagonal",
        old='return {"Z": A * (dA - (A * dA).sum(axis=0))}',
        new='return {"Z": dA * A * (1 - A)}',
        seen="deeplearning4j/libnd4j issue 440; RubixML/ML pull request 438",
    ),
    _activations(
        name="softmax-without-the-shift",
        old="np.exp(Z - Z.max(axis=0))",
        new="np.exp(Z)",
        seen="uTensor/uTensor issue 175",
    ),
    _activations(
        name="softmax-shifted-by-the-largest-of-the-batch",
        old="Z.max(axis=0))  # a shift",
        new="Z.max())  # a shift",
        seen="lzx1413/PytorchSSD issue 22, whose log_sum_exp takes x.data.max() over all rows",
    ),
    _activations(
        name="softmax-denominator-begins-after-the-first-class",
        old="E / E.sum(axis=0)",
        new="E / E[min(1, len(E) - 1) :].sum(axis=0)",
        seen="dmlc/minerva issue 40: the loop of the sum misses index 0",
    ),
    _activations(
        name="sigmoid-overflows",
        old="    e = np.exp(-np.abs(Z))  # never overflows\n"
        "    A = np.where(Z >= 0, 1, e) / (1 + e)\n",
        new="    A = 1 / (1 + np.exp(-Z))\n",
        seen="FederatedAI/FATE issue 65",
    ),
    _activations(
        name="sigmoid-of-a-clipped-argument",
        old="    e = np.exp(-np.abs(Z))  # never overflows\n",
        new="    Z = np.clip(Z, -500, 500)\n    e = np.exp(-np.abs(Z))\n",
        seen="harvard-edge/cs249r_book pull request 1140; krrn0722/wake_sleep, functions.py",
    ),
    _activations(
        name="sigmoid-derivative-of-its-own-output",
        old='    (A,) = cache\n    return {"Z": dA * A * (1 - A)}',
        new='    A = 1 / (1 + np.exp(-cache.A))\n    return {"Z": dA * A * (1 - A)}',
        seen="davidrmiller/neural2d issue 40: the derivative is called with the output",
    ),
    _activations(
        name="sigmoid-backward-without-the-upstream-gradient",
        old='return {"Z": dA * A * (1 - A)}',
        new='return {"Z": A * (1 - A)}',
        seen="DiffSharp/DiffSharp issue 16: the tangent is missing in the derivative",
    ),
    _activations(
        name="tanh-overflows",
        old="A = np.tanh(Z)",
        new="A = (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z))",
        seen="BelfrySCAD/BOSL2 issue 1572; BVLC/caffe pull request 1455",
    ),
    _activations(
        name="tanh-derivative-from-Z",
        old="return A, TanhCache(A)",
        new="return A, TanhCache(Z)",
        seen="lazyprogrammer/facial-expression-recognition issue 2: 1 - z^2 of the input, proposed",
    ),
    _activations(
        name="tanh-backward-pulls-the-upstream-gradient-twice",
        old='return {"Z": dA * (1 - A**2)}',
        new='return {"Z": dA * dA * (1 - A**2)}',
        seen="elixir-nx/nx pull request 1779: unseen by tests whose upstream gradient is ones",
    ),
    _activations(
        name="relu-backward-overwritten-by-0-or-1",
        old='return {"Z": dA * (Z > 0)}',
        new='return {"Z": (Z > 0).astype(dA.dtype)}',
        seen="haifengl/smile issue 528",
    ),
    _activations(
        name="relu-derivative-of-a-half-at-0",
        old='return {"Z": dA * (Z > 0)}',
        new='return {"Z": dA * (1 + np.sign(Z)) / 2}',
        seen="DiffSharp/DiffSharp issue 16: (1 + sign) / 2",
    ),
    _activations(
        name="relu-derivative-of-its-own-output",
        old='return {"Z": dA * (Z > 0)}',
        new='return {"Z": dA * (np.maximum(Z, 0) >= 0)}',
        seen="iamtrask/Grokking-Deep-Learning issue 56: relu2deriv(relu(x)) is 1 everywhere",
    ),
    _activations(
        name="relu-with-the-sigmoid's-derivative",
        old='return {"Z": dA * (Z > 0)}',
        new='A = 1 / (1 + np.exp(-Z))\n    return {"Z": dA * A * (1 - A)}',
        seen="jeffheaton/encog-dotnet-core issue 124",
    ),
    _activations(
        name="relu-backward-in-place",
        old='return {"Z": dA * (Z > 0)}',
        new='dA[Z <= 0] = 0\n    return {"Z": dA}',
        seen="oreilly-japan/deep-learning-from-scratch, common/layers.py: dout[self.mask] = 0",
    ),
    _activations(
        name="leaky-relu-backward-loses-the-upstream-gradient",
        old="LEAKY_SLOPE * dA)",
        new="LEAKY_SLOPE).astype(dA.dtype)",
        seen="SilasMarvin/dnns-from-scratch-in-zig issue 5: 0.01 for 0.01 * grads[i]",
    ),
    _activations(
        name="hardmax-of-the-whole-batch",
        old="    A = np.zeros_like(Z)\n"
        "    np.put_along_axis(A, Z.argmax(axis=0, keepdims=True), 1, axis=0)\n",
        new="    A = (Z == Z.max()).astype(Z.dtype)\n",
        seen="lisa-lab/DeepLearningTutorials pull request 15: argmax without its axis",
    ),
)

LINEAR_BUGS = (
    _linear(
        name="db-without-keepdims",
        old="dZ.sum(axis=1, keepdims=True)",
        new="dZ.sum(axis=1)",
        seen="Kulbear/deep-learning-coursera issue 8: the shape of db is not as expected",
    ),
    _linear(
        name="1/m-twice",
        old=",  # (n, m) @ (m, n_prev)",
        new=" / dZ.shape[1],  # (n, m) @ (m, n_prev)",
        seen="jinglescode/time-series-forecasting-pytorch issue 13: a mean divided once more",
    ),
)

BATCH_NORM_BUGS = (
    _batch_norm(
        name="batch-norm-backward-without-the-variance-path",
        old="(g - through_mean - through_variance)",
        new="(g - through_mean)",
        seen="abhiskk/ladder issue 2: the variance is detached",
    ),
    _batch_norm(
        name="batch-norm-backward-without-both-paths",
        old="inv_std * (g - through_mean - through_variance)",
        new="inv_std * g / g.shape[1]",
        seen="mlpack/mlpack pull request 1327, the lines it takes away",
    ),
    _batch_norm(
        name="batch-norm-backward-without-gamma",
        old="g = gamma * dZ_tilde",
        new="g = dZ_tilde",
        seen="denizyuret/Knet.jl issue 288",
    ),
    _batch_norm(
        name="batch-norm-epsilon-typed-in",
        old="variance + float(epsilon))\n    Z_norm",
        new="variance + 1e-5)\n    Z_norm",
        seen="pjreddie/darknet issue 1723: .00001f in the formulas, whatever epsilon is",
    ),
    _batch_norm(
        name="batch-norm-variance-by-one-pass",
        old="np.square(centred).mean(axis=1, keepdims=True)",
        new="np.square(Z).mean(axis=1, keepdims=True) - np.square(mean)",
        seen="google/objax issue 182; tenstorrent/tt-metal issue 45968",
    ),
    _batch_norm(
        name="batch-norm-normalizes-by-m-minus-1",
        old="np.square(centred).mean(axis=1, keepdims=True)",
        new="np.square(centred).sum(axis=1, keepdims=True) / max(1, Z.shape[1] - 1)",
        seen="uxlfoundation/oneDNN issue 517: the moments of tiny-dnn",
    ),
    _batch_norm(
        name="batch-norm-without-the-root",
        old="1 / np.sqrt(variance + float(epsilon))\n    Z_norm",
        new="1 / (variance + float(epsilon))\n    Z_norm",
        seen="tensorflow/tensorflow issue 48039; mbadry1/DeepLearning.ai-Summary issue 183",
    ),
    _batch_norm(
        name="running-variance-unscaled",
        old="m / (m - 1) if unbiased else 1.0",
        new="1.0",
        seen="callummcdougall/ARENA_3.0 issue 415",
    ),
    _batch_norm(
        name="running-variance-always-scaled",
        old="m / (m - 1) if unbiased else 1.0",
        new="m / max(1, m - 1)",
        seen="pytorch/pytorch issue 3122: training and evaluation divide by different numbers",
    ),
    _batch_norm(
        name="running-averages-decay-reversed",
        old="kept, moved = float(decay), 1 - float(decay)",
        new="kept, moved = 1 - float(decay), float(decay)",
        seen="r9y9/tacotron_pytorch issue 19; fastestimator/fastestimator pull request 1201",
    ),
    _batch_norm(
        name="batch-norm-predicts-without-epsilon",
        old="variance + float(epsilon))\n    Z_tilde",
        new="variance)\n    Z_tilde",
        seen="chainer/chainer pull request 2214",
    ),
)

DROPOUT_BUGS = (
    _dropout(
        name="mask-inverted",
        old="rng.random(shape) < keep_prob",
        new="rng.random(shape) >= keep_prob",
        seen="mbadry1/DeepLearning.ai-Summary at 0013391, course 2: those below 0.8 are dropped",
    ),
    _dropout(
        name="keep-prob-taken-for-the-drop-rate",
        old="    mask: Array = (rng",
        new="    keep_prob = 1 - keep_prob if keep_prob < 1 else keep_prob\n    mask: Array = (rng",
        seen="lucidrains/DALLE2-pytorch issue 35; titu1994/Inception-v4 issue 5",
    ),
    _dropout(
        name="mask-of-normal-draws",
        old="rng.random(shape) < keep_prob",
        new="rng.standard_normal(shape) < keep_prob",
        seen="mbadry1/DeepLearning.ai-Summary at 0013391, course 2: np.random.randn",
    ),
    _dropout(
        name="dropout-not-inverted",
        old="    mask /= keep_prob  # in place: a float64 scalar keep_prob must not promote it\n",
        new="",
        seen="nelson-liu/paraphrase-id-tensorflow pull request 33: nothing made up for the dropped",
    ),
    _dropout(
        name="dropout-backward-without-the-mask",
        old='return {"A": dA * cache.mask}',
        new='return {"A": dA * cache.mask.max()}',
        seen="ddbourgin/numpy-ml issue 94: divided by the probability, not masked",
    ),
    _dropout(
        name="dropout-mask-drawn-again-in-backward",
        old='return {"A": dA * cache.mask}',
        new='return {"A": dA * np.random.default_rng().permuted(cache.mask)}',
        seen="Benny-Nottonson/voodoo issue 19",
    ),
    _dropout(
        name="dropout-mask-guessed-from-the-output",
        old="return A * mask, DropoutCache(mask)",
        new="return A * mask, DropoutCache(mask * (A * mask != 0))",
        seen="ROCm/tensorflow-upstream pull request 1012; kaldi-asr/kaldi issue 3890",
    ),
    _dropout(
        name="same-masks-in-every-epoch",
        old="    for _ in range(epochs):\n",
        new="    state = rng.bit_generator.state\n"
        "    for _ in range(epochs):\n"
        "        rng.bit_generator.state = state\n",
        seen="pengzhiliang/MAE-pytorch issue 28; PaddlePaddle/Paddle issue 7796",
    ),
    _dropout(
        name="dropout-in-place",
        old="return A * mask, DropoutCache(mask)",
        new="A *= mask\n    return A, DropoutCache(mask)",
        seen="luigibonati/mlcolvar pull request 119",
    ),
)

NETWORK_BUGS = (
    _network(
        name="A2-above-0-of-the-wrong-layer",
        # where the shapes fit: elsewhere NumPy itself would notice
        old='(dA, cache.activation[l - 1])["Z"]',
        new="(\n            dA,\n            cache.activation[\n"
        "                l - 2 if cache.activation[l - 2][0].shape == dA.shape else l - 1\n"
        '            ],\n        )["Z"]',
        seen="unda-ml/unda issue 1: the data of a layer before",
    ),
    _network(
        name="dropout-forgotten-on-the-way-back",
        old='dA = unchecked(dropout_backward)(dA, dropout_cache)["A"]',
        new="pass",
        seen="rohitg00/ai-engineering-from-scratch pull request 17, its review",
    ),
    _network(
        name="1/m-missing-before-the-penalty",
        old="unchecked(cost.backward)(1.0, cost_cache)",
        new="unchecked(cost.backward)(float(X.shape[1]), cost_cache)",
        seen="stephencwelch/Neural-Networks-Demystified issue 15: the derivatives of video 7",
    ),
    _network(
        name="either-L1-or-L2",
        old="    if l1:\n        J = J +",
        new="    if l1 and not l2:\n        J = J +",
        seen="deeplearning4j/deeplearning4j issue 327 (a)",
    ),
    _network(
        name="penalty-over-the-mini-batch",
        old="m = X.shape[1] if m is None else m",
        new="m = X.shape[1]",
        seen="jfkirk/tensorrec issue 30; scikit-learn issue 10477, for MLPClassifier",
    ),
    _network(
        name="batch-statistics-at-prediction",
        old="Z = unchecked(batch_norm_predict)(\n"
        '                parameters[f"W{l}"] @ A, *scale, *averages, choices.epsilon\n'
        "            )",
        new="Z, _ = unchecked(batch_norm_forward)(\n"
        '                parameters[f"W{l}"] @ A, *scale, choices.epsilon\n'
        "            )",
        seen="codertimo/BERT-pytorch issue 92: evaluation in the mode of training",
    ),
)

LAYER_BUGS = (*ACTIVATION_BUGS, *LINEAR_BUGS, *BATCH_NORM_BUGS, *DROPOUT_BUGS, *NETWORK_BUGS)
