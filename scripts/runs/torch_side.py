"""The side of PyTorch: the same run, set up from the same start on any device."""

from __future__ import annotations

from collections.abc import Mapping

from parity_tests.compare.bridge import columns, masks_to_torch, rows, twin, unload, unload_running
from runs.datasets import Array
from runs.start import Side, Start
from torch_ref.early_stopping import EarlyStopping
from torch_ref.network import outputs
from torch_ref.optimizers import OPTIMIZERS
from torch_ref.schedules import SCHEDULES
from torch_ref.training import History, evaluate, training_steps


def set_up(start: Start, device: str = "cpu") -> Side:
    experiment, history, masks = start.experiment, History(), start.masks()
    module = twin(start.network, start.parameters, device)
    X, Y, X_dev, Y_dev, X_test, Y_test = (rows(one, device) for pair in start.data for one in pair)
    optimizer = OPTIMIZERS[experiment.optimizer](
        module.parameters(), learning_rate=experiment.learning_rate
    )
    schedule = None
    if experiment.schedule:
        schedule = SCHEDULES[experiment.schedule](optimizer, **experiment.schedule_choices)
    stop = None if experiment.patience is None else EarlyStopping(patience=experiment.patience)
    steps = training_steps(
        module,
        X,
        Y,
        optimizer=optimizer,
        dev=(X_dev, Y_dev),
        history=history,
        masks=None if masks is None else (masks_to_torch(one, device) for one in masks),
        schedule=schedule,
        early_stopping=stop,
        **start.choices(),
    )

    def values() -> Mapping[str, Array]:
        running = unload_running(module) if start.network.batch_norm else {}
        return {**unload(module), **running}

    return Side(
        model=module,
        history=history,
        steps=steps,
        values=values,
        test_accuracy=lambda: evaluate(module, X_test, Y_test)[1],
        outputs=lambda X: columns(outputs(rows(X, device), module)),
    )
