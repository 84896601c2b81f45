"""Simulators of a spiking network."""
