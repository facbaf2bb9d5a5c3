"""Pure rules and values: the standard library, numpy, pydantic and a sentence segmenter only."""
