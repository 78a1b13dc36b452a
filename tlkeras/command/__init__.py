"""The `tlkeras` command."""
