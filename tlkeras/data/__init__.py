"""From disk to batches of raw pixels."""
