"""From raw pixels to probabilities."""
