"""Training one candidate: epochs, evaluation, checkpoints, seeds."""
