"""Use cases: see only the domain and the ports."""
