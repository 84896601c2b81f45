"""A search over conversions for the front of accuracy, latency and operations, kept in a database."""
