"""What a fitted classifier looks at."""
