"""optuna-dashboard on a study, with flatselect's plots and notes beside Optuna's own."""
