"""The strategies draw what the property tests rely on."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from snnrepro.network.layers import Dense, ReLU
from tests.strategies import dense_networks, images_for


def _dense(network):
    return [node.layer for node in network.nodes if isinstance(node.layer, Dense)]


@given(st.data())
def test_a_drawn_image_fits_the_drawn_network(data):
    network = data.draw(dense_networks())
    x = data.draw(images_for(network))
    assert x.shape[1:] == network.input_shape
    assert network.forward(x).shape == (len(x), *network.output_shape)


@given(dense_networks())
def test_no_drawn_matrix_equals_its_transpose(network):
    for layer in _dense(network):
        assert layer.weights.shape[0] != layer.weights.shape[1] or not np.array_equal(layer.weights, layer.weights.T)


def test_the_networks_are_varied():
    """Each of these must be drawn within the usual number of tries, or `find` raises."""
    many = settings(max_examples=500, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    find(dense_networks(), lambda net: any(isinstance(node.layer, ReLU) for node in net.nodes), settings=many)
    find(dense_networks(), lambda net: any(not layer.bias.any() for layer in _dense(net)), settings=many)
    find(dense_networks(), lambda net: any(layer.bias.any() for layer in _dense(net)), settings=many)
    find(dense_networks(), lambda net: len(set(net.input_shape)) == 3, settings=many)
    find(dense_networks(), lambda net: any(np.ptp(layer.weights.shape) == 0 for layer in _dense(net)), settings=many)
    find(dense_networks(), lambda net: any(np.ptp(layer.weights.shape) > 0 for layer in _dense(net)), settings=many)
