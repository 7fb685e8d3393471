"""The search, where all stages meet: one driver owns the study, workers train."""
