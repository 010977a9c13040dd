"""Planted bugs of optimizers and the training loop around them."""

from __future__ import annotations

from functools import partial

from parity_tests.planting import PlantedBug

_optimizers = partial(PlantedBug, module="scratch.optimizers", concept="optimizers")
_schedules = partial(PlantedBug, module="scratch.schedules", concept="schedules")
_clipping = partial(PlantedBug, module="scratch.clipping", concept="clipping")
_averages = partial(PlantedBug, module="scratch.moving_averages", concept="moving_averages")
_batches = partial(PlantedBug, module="scratch.mini_batches", concept="mini_batches")
_training = partial(PlantedBug, module="scratch.training", concept="training")
_step = partial(PlantedBug, module="scratch._step", concept="training")

_RULE_BUGS = (
    _optimizers(
        name="adam-without-the-power-t",
        old="1 - self.beta1**t if",
        new="1 - self.beta1 if",
        seen="eriklindernoren/ML-From-Scratch issue 35",
    ),
    _optimizers(
        name="adam-squares-for-the-power-t",
        old="1 - self.beta2**t if",
        new="1 - self.beta2**2 if",
        seen="ufal/npfl114 pull request 79: (1 - beta^2) for (1 - beta_2^t)",
    ),
    _optimizers(
        name="adam-without-correction",
        old="        correction_v = 1 - self.beta1**t if self.bias_correction else 1.0\n"
        "        correction_s = 1 - self.beta2**t if self.bias_correction else 1.0\n",
        new="        correction_v = correction_s = 1.0\n",
        seen="oxiglade/mlx-rs issue 301; BVLC/caffe issue 4224",
    ),
    _optimizers(
        name="adam-multiplies-by-the-correction",
        old="np.divide(s, correction, out=work)",
        new="np.multiply(s, correction, out=work)",
        seen="karpathy/convnetjs pull requests 70 and 107",
    ),
    _optimizers(
        name="adam-corrects-v-in-place",
        old="            np.divide(v, work, out=work)\n"
        "            work *= self.learning_rate / correction_v\n",
        new="            v /= correction_v\n"
        "            np.divide(v, work, out=work)\n"
        "            work *= self.learning_rate\n",
        seen="frgfm/holocron issue 1: the correction accumulates",
    ),
    _optimizers(
        name="adam-epsilon-hat",
        old="    if not inside:\n        work += epsilon\n",
        new="    if not inside:\n        work += epsilon / correction**0.5\n",
        seen="tensorflow/tensorflow issues 9047 and 35102",
    ),
    _optimizers(
        name="epsilon-inside-the-root",
        old="_root(s, 1.0, self.epsilon, self.epsilon_inside_root, work)",
        new="_root(s, 1.0, self.epsilon, True, work)",
        seen="pytorch/pytorch issue 23796; keras-team/keras issue 435",
    ),
    _optimizers(
        name="epsilon-added-to-the-parameter",
        old="            theta -= work  # theta = theta - alpha v_hat",
        new="            work -= self.epsilon\n"
        "            theta -= work  # theta = theta - alpha v_hat",
        seen="d2l-ai/d2l-en pull request 2691: Adam and Yogi of the TensorFlow tabs",
    ),
    _optimizers(
        name="adam-squares-the-second-moment",
        old="    np.sqrt(work, out=work)\n",
        new="    np.square(work, out=work)\n",
        seen="torch/optim pull request 48: pow(v, 2) for sqrt(v)",
    ),
    _optimizers(
        name="adam-counts-a-step-for-each-tensor",
        old="            move(v, g, self.beta1, work)",
        new="            state.t[()] += 1\n            move(v, g, self.beta1, work)",
        seen="flashlight/flashlight issue 143; clab/dynet issue 77; DiffSharp/DiffSharp issue 292",
    ),
    _optimizers(
        name="adam-with-beta2-of-0.99",
        old="beta2: float = 0.999",
        new="beta2: float = 0.99",
        seen="karpathy/convnetjs pull request 70",
    ),
    _optimizers(
        name="momentum-not-dampened-on-the-first-step",
        old="move(v, g, self.beta, work)  # v = beta v",
        new="move(v, g, self.beta if v.any() else 0.0, work)  # v = beta v",
        seen="pytorch/pytorch pull request 152833; ml-explore/mlx pull request 473",
    ),
    _optimizers(
        name="momentum-dampened-by-default",
        old="v += g  # v = beta v + g",
        new="v += (1 - self.beta) * g",
        seen="intel/analytics-zoo issue 1038; torch/optim issue 163",
    ),
    _optimizers(
        name="momentum-forgotten-at-each-step",
        old="        _meet(parameters, gradients, state, MomentumState)\n",
        new="        _meet(parameters, gradients, state, MomentumState)\n        state.v[:] = 0\n",
        seen="kozistr/pytorch_optimizer pull request 516",
    ),
    _optimizers(
        name="momentum-on-the-gradient-for-the-velocity",
        old="                v *= self.beta\n                v += g  # v = beta v + g",
        new="                v += self.beta * g",
        seen="ooples/AiDotNet issue 2008: v never decays",
    ),
    _optimizers(
        name="optimizer-promotes-float32",
        old="value if isinstance(value, bool) else float(value))",
        new="value)",
        seen="google/flax issue 924",
    ),
    PlantedBug(
        name="index-of-the-block-not-moved-on",
        module="scratch._blocks",
        concept="optimizers",
        old="vector[start : start + BLOCK]",
        new="vector[: min(BLOCK, size - start)]",
        seen="NanoComp/meep pull request 122: each chunk is written to the same piece",
    ),
)

_SCHEDULE_BUGS = (
    _schedules(
        name="exponential-decay-a-step-late",
        old="self.rate**t",
        new="self.rate ** (t - 1)",
        seen="pytorch/pytorch pull request 7889",
    ),
    _schedules(
        name="interval-decay-without-the-floor",
        old="(t // self.interval)",
        new="(t / self.interval)",
        seen="PaddlePaddle/Paddle pull request 24801: the floor stands where staircase is off",
    ),
    _schedules(
        name="staircase-a-step-late",
        old="if t >= start",
        new="if t > start",
        seen="ildoonet/pytorch-gradual-warmup-lr pull request 11",
    ),
    _schedules(
        name="first-rate-skipped",
        old="self.rates[t - 1]",
        new="self.rates[min(t, len(self.rates) - 1)]",
        seen="michuanhaohao/reid-strong-baseline issue 190: scheduler.step as an epoch starts",
    ),
)

_LOOP_BUGS = (
    _clipping(
        name="clipped-by-the-norm-of-each-tensor",
        old="    overwrite_by_norm(clipped.theta, limit, epsilon)\n",
        new="    for view in clipped.values():\n"
        "        overwrite_by_norm(view.reshape(-1), limit, epsilon)\n",
        seen="keras-team/keras issue 13575; carpedm20/MemN2N-tensorflow issue 19",
    ),
    _clipping(
        name="clipped-by-each-norm-and-by-the-global",
        old="    overwrite_by_norm(clipped.theta, limit, epsilon)\n",
        new="    for view in clipped.values():\n"
        "        overwrite_by_norm(view.reshape(-1), limit, epsilon)\n"
        "    overwrite_by_norm(clipped.theta, limit, epsilon)\n",
        seen="google/automl issue 910",
    ),
    _clipping(
        name="small-gradients-scaled-up",
        old="if not size <= bound:",
        new="if size > 0:",
        seen="DingfanChen/GS-WGAN issue 5; pytorch/pytorch issue 151554",
    ),
    _averages(
        name="average-corrected-by-a-square",
        old="np.arange(1, len(x) + 1)",
        new="np.full(len(x), 2)",
        seen="ufal/npfl114 pull request 79",
    ),
    _averages(
        name="average-multiplied-by-the-correction",
        old="v /= -np.expm1(exponents)",
        new="v *= -np.expm1(exponents)",
        seen="karpathy/convnetjs pull request 70",
    ),
    _averages(
        name="average-weighs-the-past-by-1-minus-beta",
        old="x.dtype.type(1 - wide)",
        new="x.dtype.type(wide)",
        seen="marin-community/levanter pull request 883; eriklindernoren/PyTorch-YOLOv3 issue 230",
    ),
    _batches(
        name="last-batch-dropped",
        old="range(0, len(order), batch_size)",
        new="range(0, len(order) - batch_size + 1, batch_size)",
        seen="jadore801120/attention-is-all-you-need-pytorch pull request 14",
    ),
    _batches(
        name="an-empty-batch-where-the-size-divides",
        old="range(0, len(order), batch_size)",
        new="range(0, len(order) + 1, batch_size)",
        seen="kmheckel/spyx issue 23",
    ),
    _batches(
        name="labels-not-shuffled",
        old="np.take(Y, indices, axis=1)",
        new="np.take(Y, np.sort(indices), axis=1)",
        seen="DrexelChatbotGroup/DrexelChatbot issue 15",
    ),
    _batches(
        name="one-order-for-every-epoch",
        old="[unchecked(draw_order)(m, rng) for _ in range(epochs)]",
        new="[unchecked(draw_order)(m, rng)] * epochs",
        seen="pytorch/pytorch issue 41329; k2-fsa/icefall pull request 221",
    ),
    _batches(
        name="orders-seeded-by-the-epoch",
        old="[unchecked(draw_order)(m, rng) for _ in range(epochs)]",
        new="[unchecked(draw_order)(m, np.random.default_rng(t)) for t in range(epochs)]",
        seen="open-mmlab/mmagic pull request 815: manual_seed(epoch), for epoch + seed",
    ),
)

_TRAINING_BUGS = (
    _training(
        name="cost-of-an-epoch-as-mean-of-batch-means",
        old="total += cost * len(batch)",
        new="total += cost * m / len(batches)",
        seen="catalyst-team/catalyst issue 799; dnouri/nolearn issue 247",
    ),
    _training(
        name="batch-means-over-the-number-of-examples",
        old="total += cost * len(batch)",
        new="total += cost",
        seen="pytorch/tutorials issue 179",
    ),
    _training(
        name="cost-of-the-last-batch-alone",
        old="total += cost * len(batch)",
        new="total = cost * m",
        seen="lucidrains/med-seg-diff-pytorch pull request 17",
    ),
    _training(
        name="schedule-a-step-ahead",
        old='rate = schedule(number if schedule_per == "iteration" else epoch)',
        new='rate = schedule((number if schedule_per == "iteration" else epoch) + 1)',
        seen="Abe404/segmentation_of_roots_in_soil_with_unet pull request 4",
    ),
    _training(
        name="decay-by-batches-for-epochs",
        old='rate = schedule(number if schedule_per == "iteration" else epoch)',
        new="rate = schedule(number)",
        seen="keras-team/keras issues 2808 and 9938; ludwig-ai/ludwig issue 1044",
    ),
    _training(
        name="clipped-after-the-update",
        old="overwrite_by_norm(step.gradients.theta, clip_norm, CLIPPING_EPSILON)\n"
        "                rule.update(parameters, step.gradients, state)\n",
        new="pass\n"
        "                rule.update(parameters, step.gradients, state)\n"
        "                if clip_norm is not None:\n"
        "                    "
        "overwrite_by_norm(step.gradients.theta, clip_norm, CLIPPING_EPSILON)\n",
        seen="sanchit-gandhi/seq2seq-speech pull request 7: the updates, not the gradients",
    ),
    _training(
        name="best-restored-only-when-stopped-early",
        old="        if early_stopping:\n            early_stopping.restore",
        new="        late = best and best.epochs_without_improvement >= early_stopping.patience\n"
        "        if early_stopping and late:\n"
        "            early_stopping.restore",
        seen="keras-team/keras issue 12511; tensorflow/tensorflow issue 35634",
    ),
    _step(
        name="gradients-not-set-to-zero",
        old="np.add.reduce(dZ, axis=1, keepdims=True, out=layer.db)",
        new="layer.db += dZ.sum(axis=1, keepdims=True)",
        seen="pytorch/pytorch issue 47175; tenstorrent/tt-blacksmith pull request 711",
    ),
    _step(
        name="weight-decay-decoupled",
        old="dW += self._l2 * W",
        new="W -= self._l2 * W",
        seen="lucidrains/lion-pytorch issue 39; pytorch/pytorch pull request 4429, its review",
    ),
    _step(
        name="running-averages-bound-anew",
        old="            mean[...], variance[...] = _update(\n",
        new="            mean, variance = _update(\n",
        seen="raven-ml/raven pull request 19: updates that the model's reference does not see",
    ),
)

OPTIMIZER_BUGS = (*_RULE_BUGS, *_SCHEDULE_BUGS, *_LOOP_BUGS, *_TRAINING_BUGS)
