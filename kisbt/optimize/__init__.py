"""Parameter search: spaces, samplers, workers, and what the result is worth."""
