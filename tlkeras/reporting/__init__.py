"""From the run folder to what a reader sees: scores, tables, figures, pages. No training, no TensorFlow."""
