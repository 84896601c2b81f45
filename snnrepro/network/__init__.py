"""What a trained network is: typed layers in a graph, their evaluation, and the archive they are kept in."""
