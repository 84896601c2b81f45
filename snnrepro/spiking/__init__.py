"""What a trained network becomes: neurons, and the spiking network as pure data."""
