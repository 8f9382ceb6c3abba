"""Which images a trained model finds strange."""
