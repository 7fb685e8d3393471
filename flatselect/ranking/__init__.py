"""Who comes first: the trials of a search, and networks that were trained elsewhere. Decided by predictions alone."""

from flatselect.ranking.candidates import Candidate, RankedCandidate, rank_candidates
from flatselect.ranking.pareto_front import find_pareto_front
from flatselect.ranking.trials import rank_trials

__all__ = ["Candidate", "RankedCandidate", "find_pareto_front", "rank_candidates", "rank_trials"]
