"""What a trained model can be asked to make; one mode per file."""
