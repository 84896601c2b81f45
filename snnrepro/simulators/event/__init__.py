"""The event-driven simulator: the spikes of the plain one, with work only where a neuron spiked; see `run`."""
