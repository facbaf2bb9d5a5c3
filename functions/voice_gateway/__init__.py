"""The one package that all functions share: routing, personalities and the providers' calls."""
