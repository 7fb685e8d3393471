"""Who comes first: the trials of a search, and networks that were trained elsewhere. Decided by predictions alone."""

from flatselect.ranking.candidates import Candidate, RankedCandidate, rank_candidates
from flatselect.ranking.trials import rank_trials

__all__ = ["Candidate", "RankedCandidate", "rank_candidates", "rank_trials"]
