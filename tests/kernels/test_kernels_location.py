"""Kernels over a grid of nodes against their slow twins."""

import itertools

import numpy as np
import pytest
from reference import location as slow

from fastmark.kernels import location as fast


def believe(evidence, coupling, n_sweeps=20):
    evidence = evidence.astype(np.float32)
    out = np.full(evidence.shape, np.nan, np.float32)
    told = np.full((4, *evidence.shape), np.nan, np.float32)
    fast.believe(evidence, np.float32(coupling), n_sweeps, told, out)
    return out


def marginals(evidence, coupling):
    """Exact probabilities of an Ising model, over all of its states; for a few nodes."""
    shape = evidence.shape
    total, of_each = 0.0, np.zeros(shape)
    for bits in itertools.product((0, 1), repeat=evidence.size):
        state = np.array(bits).reshape(shape)
        differ = np.count_nonzero(np.diff(state, axis=0)) + np.count_nonzero(np.diff(state, axis=1))
        weight = np.exp((state * evidence).sum() - 2 * coupling * differ)
        total += weight
        of_each += weight * state
    return of_each / total


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 1), (5, 8)])
@pytest.mark.parametrize("coupling", [0.0, 0.3, 0.8])
def test_belief_propagation_agrees_with_its_twin(shape, coupling):
    evidence = np.random.default_rng(shape).normal(0, 2, shape)
    for n_sweeps in (1, 4):
        expected = slow.believe(evidence, coupling, n_sweeps)
        np.testing.assert_allclose(believe(evidence, coupling, n_sweeps), expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 9), (8, 1)])
def test_beliefs_are_exact_where_nodes_form_a_line(shape):
    evidence = np.random.default_rng(1).normal(0, 1.5, shape)
    np.testing.assert_allclose(believe(evidence, 0.6), marginals(evidence, 0.6), atol=1e-4)


def test_beliefs_are_about_exact_on_a_small_grid():
    evidence = np.random.default_rng(2).normal(0, 1, (3, 4))
    np.testing.assert_allclose(believe(evidence, 0.3), marginals(evidence, 0.3), atol=0.03)


def test_beliefs_of_large_evidence_are_finite():
    out = believe(np.array([[1e6, -1e6, 0], [0, 1e4, -3]]), 2.0)
    assert np.isfinite(out).all()
    assert out[0, 0] > 0.99 > 0.01 > out[0, 1]


@pytest.mark.parametrize("share", [0.0, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (13, 17)])
def test_parts_are_numbered_as_by_the_twin(share, shape):
    carries = np.random.default_rng([*shape, 5]).random(shape) < share
    out = np.full(shape, -1, np.int32)
    count = fast.number_parts(carries, np.empty(carries.size, np.int64), out)
    expected = slow.number_parts(carries)
    np.testing.assert_array_equal(out, expected)
    assert count == expected.max(initial=0)
