"""The trials of a study with several objectives that none other beats in all of them."""

from collections.abc import Sequence

import numpy as np

from flatselect.ranking.trials import rank_trials
from flatselect.records import Cost, TrialRecord


def find_pareto_front(trials: Sequence[TrialRecord], costs: Sequence[Cost]) -> list[int]:
    """The numbers of the trials that no other trial dominates, best predicted test score first.

    A trial is dominated by one that is at least as good in every objective (predicted test score as high, every cost as
    low) and better in one. Only trials that `rank_trials` ranks and that are predicted are looked at; of trials that
    are equal in all objectives, all are on the front. Audited scores are not read.
    """
    by_number = {trial.number: trial for trial in trials}
    ranked = [number for number in rank_trials(trials) if by_number[number].prediction is not None]
    if not ranked:
        return []
    losses = np.array([_list_losses(by_number[number], costs) for number in ranked])  # (n, 1 + n_costs): less is better
    front: list[int] = []
    for index in np.lexsort(losses.T[::-1]):  # whoever dominates comes first, and is on the front or dominated by one
        better = losses[front]
        if not ((better <= losses[index]).all(axis=1) & (better < losses[index]).any(axis=1)).any():
            front.append(index)
    return [ranked[index] for index in sorted(front)]


def _list_losses(trial: TrialRecord, costs: Sequence[Cost]) -> list[float]:
    assert trial.prediction is not None
    assert trial.measurement is not None, "what is predicted was measured"
    return [-trial.prediction.predicted_test_score, *(trial.measurement.cost(cost) for cost in costs)]
