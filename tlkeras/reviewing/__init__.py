"""What images tell of themselves: whether more would help, copies, labels to look at, how unlike two sets are."""
