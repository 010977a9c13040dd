"""The side by hand: a run in NumPy, set up from the shared start; torch is never imported."""

from __future__ import annotations

from collections.abc import Mapping

from runs.datasets import Array
from runs.start import Side, Start
from scratch.batch_norm import running_averages
from scratch.early_stopping import EarlyStopping
from scratch.network import outputs
from scratch.optimizers import OPTIMIZERS
from scratch.schedules import SCHEDULES
from scratch.training import History, evaluate, training_steps


def set_up(start: Start) -> Side:
    experiment, network, data = start.experiment, start.network, start.data
    parameters, history, rate = start.parameters.copy(), History(), experiment.learning_rate
    running = None
    if network.batch_norm:
        running = running_averages(network.layer_sizes, parameters.theta.dtype)
    schedule = None
    if experiment.schedule:
        schedule = SCHEDULES[experiment.schedule](learning_rate=rate, **experiment.schedule_choices)
    stop = None if experiment.patience is None else EarlyStopping(patience=experiment.patience)
    steps = training_steps(
        network,
        parameters,
        *data.train,
        optimizer=OPTIMIZERS[experiment.optimizer](learning_rate=rate),
        dev=data.dev,
        history=history,
        masks=start.masks(),
        running=running,
        schedule=schedule,
        early_stopping=stop,
        **start.choices(),
    )

    def values() -> Mapping[str, Array]:
        return {**parameters, **(running or {})}

    return Side(
        model=parameters,
        history=history,
        steps=steps,
        values=values,
        test_accuracy=lambda: evaluate(parameters, *data.test, network, running)[1],
        outputs=lambda X: outputs(X, parameters, network, running),
    )
