"""Local servers that speak the cloud vendors' own protocols, and fail when they are told to."""
