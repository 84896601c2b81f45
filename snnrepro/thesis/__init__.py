"""The thesis: its tables as data, its models, its protocol."""
