"""The neural network, in torch: imported only when the engine is loaded."""
