"""Search for good hyperparameters with Optuna: the space, the study, its trials and workers."""
