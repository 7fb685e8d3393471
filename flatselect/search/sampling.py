"""Samplers and pruners of a study, made so that a resumed search draws what an undisturbed one would have drawn."""

import optuna

from flatselect.config import PrunerSection, StudySection
from flatselect.pruning import FlatnessPruner
from flatselect.training.seeding import derive_seed


def make_sampler(options: StudySection, trial_number: int) -> optuna.samplers.BaseSampler:
    """The sampler of one trial, seeded by its number: a resumed search does not draw its first trials again."""
    seed = derive_seed(options.seed, "sampler", trial_number)
    match options.sampler:
        case "tpe":
            # Without constant_liar, workers that run side by side are sent to the same place.
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=False)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=options.population)


def make_pruner(options: PrunerSection) -> optuna.pruners.BasePruner:
    match options.name:
        case "flatness":
            return FlatnessPruner(
                startup_trials=options.startup_trials,
                warmup_epochs=options.warmup_epochs,
                patience=options.patience,
                margin=options.margin,
                reference=options.reference,
                confidence=options.confidence,
            )
        case "median":
            return optuna.pruners.MedianPruner(
                n_startup_trials=options.startup_trials, n_warmup_steps=options.warmup_epochs
            )
        case "none":
            return optuna.pruners.NopPruner()
