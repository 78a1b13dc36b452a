"""What the metadata of HAM10000 say before any training: `subnets2022_ham10000.py --eda` writes it."""
