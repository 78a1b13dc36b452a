"""Documents and experiments of one's own: declared, run, kept in a run folder, scored and shown on a page."""
