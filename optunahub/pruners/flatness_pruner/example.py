"""Small networks on handwritten digits: accuracy alone, then accuracy and size."""

from __future__ import annotations

import math

import optuna
import optunahub
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

FlatnessPruner = optunahub.load_module("pruners/flatness_pruner").FlatnessPruner

images, labels = load_digits(return_X_y=True)
train, validation = slice(0, 1000), slice(1000, None)
n_validation = len(labels[validation])
n_epochs = 10


def train_network(trial: optuna.Trial, pruner: FlatnessPruner) -> tuple[float, int]:
    width = trial.suggest_int("width", 2, 64, log=True)
    learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    n_parameters = (64 + 1) * width + (width + 1) * 10
    network = MLPClassifier([width], learning_rate_init=learning_rate, random_state=trial.number)
    for epoch in range(1, n_epochs + 1):
        network.partial_fit(images[train] / 16, labels[train], classes=range(10))
        score = network.score(images[validation] / 16, labels[validation])
        # Of so few images the score is uncertain by itself: a 90 % interval says by how much.
        half = 1.645 * math.sqrt(score * (1 - score) / n_validation)
        pruner.report(trial, score, epoch, interval=[score - half, score + half], known={1: n_parameters})
        if pruner.should_prune(trial):
            raise optuna.TrialPruned
    return score, n_parameters


def print_trials(study: optuna.Study) -> None:
    for trial in study.trials:
        print(trial.number, trial.state.name, trial.values, trial.user_attrs.get("flatselect:pruned_because", ""))


if __name__ == "__main__":
    pruner = FlatnessPruner()
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(lambda trial: train_network(trial, pruner)[0], n_trials=20)
    print_trials(study)

    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler, pruner=pruner)
    study.optimize(lambda trial: train_network(trial, pruner), n_trials=20)
    print_trials(study)
