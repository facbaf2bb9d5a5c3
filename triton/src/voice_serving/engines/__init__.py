"""One engine a file; what an engine runs on is imported inside its `load`."""
