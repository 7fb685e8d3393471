"""What a driver remembers of its study's trials, so that it need not read them again."""

from bisect import insort
from dataclasses import dataclass, field

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState


@dataclass
class KnownTrials:
    """The trials of one study as they were last seen.

    Attributes:
        by_id: Of all.
        id_by_number: Of all.
        by_state: Of each state, in order of number.
        foreign: Unfinished ones that others write to.
        last_id: The youngest one that was found in the database.
        looked_at: When, by the monotonic clock.
        distributions: Of each parameter that was ever suggested.
    """

    by_id: dict[int, FrozenTrial] = field(default_factory=dict)
    id_by_number: dict[int, int] = field(default_factory=dict)
    by_state: dict[TrialState, list[FrozenTrial]] = field(default_factory=lambda: {state: [] for state in TrialState})
    foreign: set[int] = field(default_factory=set)
    last_id: int = -1
    looked_at: float = 0.0
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)

    def put(self, trial: FrozenTrial) -> None:
        """Takes a trial in, in place of what was known of it."""
        if (known := self.by_id.get(trial._trial_id)) is not None:
            self.by_state[known.state].remove(known)
        self.by_id[trial._trial_id] = trial
        self.id_by_number[trial.number] = trial._trial_id
        insort(self.by_state[trial.state], trial, key=lambda other: other.number)
        for name, distribution in trial.distributions.items():
            self.distributions.setdefault(name, distribution)
        if trial.state.is_finished():
            self.foreign.discard(trial._trial_id)
