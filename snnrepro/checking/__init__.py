"""The checks of anyone's own model: what a test can assert, and the pytest plugin that asserts all of it."""
