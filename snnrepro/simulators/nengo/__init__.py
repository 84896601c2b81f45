"""The spiking network in Nengo's own objects, for Nengo core and for NengoDL."""
