"""Kernels of the polar code against their twins, and the list decoder against exhaustive search."""

import numpy as np
import pytest
from reference import polar as slow

from fastmark.kernels import polar as fast

LLR = 1e-5  # relative: float32 sums of up to 1024 values
PATHS, TABLE_LEVELS = 3, 5
LEVELS = pytest.mark.parametrize("s", range(4))

# (length, free bits)
CODES = [(1, 1), (2, 1), (8, 0), (8, 3), (8, 8), (32, 11), (64, 5), (128, 40)]


def draw(shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(0, 3, shape).astype(np.float32)


def draw_signs(shape, seed=0):
    return np.where(draw(shape, seed) < 0, -1, 1).astype(np.float32)


class Tables:
    """The decoder's tables for three paths and nodes of up to 32 bits, paths sharing rows at random.

    A node of size m occupies columns m .. 2 m of its path's row.
    """

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.alpha = draw((PATHS, 64), 1)
        self.left, self.right = draw_signs((PATHS, 64), 2), draw_signs((PATHS, 64), 3)
        self.alpha_row, self.left_row = rng.integers(0, PATHS, (2, TABLE_LEVELS + 1, PATHS)).astype(np.int32)
        self.before = {name: value.copy() for name, value in vars(self).items()}

    def node(self, name, path, s):
        """A node as it was before the kernel ran."""
        rows = self.before.get(f"{name}_row")
        row = path if rows is None else rows[s, path]
        return self.before[name][row, 1 << s : 2 << s]

    def written(self, name, path, s):
        return getattr(self, name)[path, 1 << s : 2 << s]


def assert_sums(result, exact):
    np.testing.assert_allclose(result, exact, rtol=LLR, atol=LLR)


@pytest.mark.parametrize("size", [1, 2, 8, 64, 1024])
def test_encode_polar_agrees_with_its_twin(size):
    u = np.random.default_rng(size).integers(0, 2, size).astype(np.uint8)
    out = np.full(size, 9, np.uint8)
    fast.encode_polar(u, out)
    np.testing.assert_array_equal(out, slow.encode_polar(u))


@pytest.mark.parametrize("size", [1, 2, 8, 64, 1024])
def test_encode_polar_is_an_involution(size):
    u = np.random.default_rng(size).integers(0, 2, size).astype(np.uint8)
    once, twice = np.empty_like(u), np.empty_like(u)
    fast.encode_polar(u, once)
    fast.encode_polar(once, twice)
    np.testing.assert_array_equal(twice, u)


def test_encode_polar_is_linear():
    u, v = np.random.default_rng(0).integers(0, 2, (2, 256)).astype(np.uint8)
    of_u, of_v, of_both = np.empty((3, 256), np.uint8)
    fast.encode_polar(u, of_u)
    fast.encode_polar(v, of_v)
    fast.encode_polar(u ^ v, of_both)
    np.testing.assert_array_equal(of_both, of_u ^ of_v)


@LEVELS
def test_lower_llrs_agrees_with_its_twin(s):
    t = Tables()
    fast.lower_llrs(t.alpha, t.alpha_row, PATHS, s)
    for path in range(PATHS):
        assert_sums(t.written("alpha", path, s), slow.lower_llrs(t.node("alpha", path, s + 1)))
        assert t.alpha_row[s, path] == path


@LEVELS
def test_upper_llrs_agrees_with_its_twin(s):
    t = Tables()
    fast.upper_llrs(t.alpha, t.alpha_row, t.left, t.left_row, PATHS, s)
    for path in range(PATHS):
        exact = slow.upper_llrs(t.node("alpha", path, s + 1), t.node("left", path, s))
        assert_sums(t.written("alpha", path, s), exact)
        assert t.alpha_row[s, path] == path


@LEVELS
def test_upper_llrs_frozen_agrees_with_its_twin(s):
    t = Tables()
    fast.upper_llrs_frozen(t.alpha, t.alpha_row, PATHS, s)
    for path in range(PATHS):
        assert_sums(t.written("alpha", path, s), slow.upper_llrs_frozen(t.node("alpha", path, s + 1)))
        assert t.alpha_row[s, path] == path


@pytest.mark.parametrize("is_left", [0, 1])
@LEVELS
def test_join_bits_agrees_with_its_twin(s, is_left):
    t = Tables()
    fast.join_bits(t.left, t.left_row, t.right, PATHS, s, is_left)
    for path in range(PATHS):
        exact = slow.join_bits(t.node("left", path, s), t.node("right", path, s))
        np.testing.assert_array_equal(t.written("left" if is_left else "right", path, s + 1), exact)
        assert t.left_row[s + 1, path] == (path if is_left else t.before["left_row"][s + 1, path])


@pytest.mark.parametrize("is_left", [0, 1])
@LEVELS
def test_join_bits_frozen_agrees_with_its_twin(s, is_left):
    t = Tables()
    fast.join_bits_frozen(t.left, t.left_row, t.right, PATHS, s, is_left)
    for path in range(PATHS):
        exact = slow.join_bits_frozen(t.node("right", path, s))
        np.testing.assert_array_equal(t.written("left" if is_left else "right", path, s + 1), exact)
        assert t.left_row[s + 1, path] == (path if is_left else t.before["left_row"][s + 1, path])


@pytest.mark.parametrize("size", [1, 2, 9, 512])
def test_cost_node_agrees_with_its_twin(size):
    llr = draw((size,))
    assert_sums(fast.cost_node(llr), slow.cost_node(llr))


@LEVELS
def test_add_frozen_agrees_with_its_twin(s):
    t = Tables()
    metric = draw((PATHS,))
    exact = [slow.add_frozen(metric[path], t.node("alpha", path, s)) for path in range(PATHS)]
    fast.add_frozen(t.alpha, t.alpha_row, t.right, metric, PATHS, s, 0)
    assert_sums(metric, exact)
    assert all(t.written("right", path, s).min() == 1 for path in range(PATHS))


@LEVELS
def test_cost_repeat_agrees_with_its_twin(s):
    t = Tables()
    metric, cost = draw((PATHS,)), np.full(2 * PATHS, np.nan, np.float32)
    fast.cost_repeat(t.alpha, t.alpha_row, metric, PATHS, s, cost)
    exact = [slow.cost_repeat(metric[path], t.node("alpha", path, s)) for path in range(PATHS)]
    assert_sums(cost.reshape(PATHS, 2), exact)


@pytest.mark.parametrize("is_left", [0, 1])
@LEVELS
def test_write_repeat_agrees_with_its_twin(s, is_left):
    t = Tables()
    chosen = np.array([1, 0, 1], np.int32)
    fast.write_repeat(t.left if is_left else t.right, t.left_row, chosen, PATHS, s, is_left)
    for path in range(PATHS):
        name = "left" if is_left else "right"
        np.testing.assert_array_equal(t.written(name, path, s), slow.write_repeat(chosen[path], 1 << s))
        assert t.left_row[s, path] == (path if is_left else t.before["left_row"][s, path])


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 1), (2, 2), (16, 8), (32, 32), (64, 3)])
def test_pick_candidates_agrees_with_its_twin(count, kept):
    # few values, so that many are equal
    for cost in np.random.default_rng(count).integers(0, 9, (20, count)).astype(np.float32):
        order = np.full(count, -9, np.int32)
        fast.pick_candidates(cost, kept, order)
        np.testing.assert_array_equal(order[:kept], slow.pick_candidates(cost, kept))


@pytest.mark.parametrize(("paths", "list_size"), [(1, 1), (1, 4), (3, 4), (4, 4), (8, 8), (5, 32)])
def test_fork_paths_agrees_with_its_twin(paths, list_size):
    for seed in range(20):
        cost = draw((2 * paths,), seed)
        metric, chosen = np.zeros(list_size, np.float32), np.zeros(list_size, np.int32)
        rows = np.tile(np.arange(list_size, dtype=np.int32), (2, 1))
        order = np.empty(2 * list_size, np.int32)
        kept = fast.fork_paths(cost, metric, paths, list_size, rows, order, chosen)
        exact = slow.fork_paths(cost, list_size)
        assert kept == len(exact)
        alive = np.flatnonzero(chosen >= 0)
        assert len(alive) == kept
        # a path's row tells whom it was copied from
        assert sorted((rows[0, slot], chosen[slot]) for slot in alive) == sorted(exact)
        for slot in alive:
            assert metric[slot] == cost[2 * rows[0, slot] + chosen[slot]]


def test_the_surviving_paths_fill_the_first_slots_while_the_list_grows():
    metric, chosen = np.zeros(8, np.float32), np.zeros(8, np.int32)
    rows, order = np.tile(np.arange(8, dtype=np.int32), (2, 1)), np.empty(16, np.int32)
    assert fast.fork_paths(draw((6,)), metric, 3, 8, rows, order, chosen) == 6
    assert np.all(chosen[:6] >= 0)


def draw_code(size, n_free, seed):
    frozen = np.ones(size, bool)
    frozen[np.random.default_rng([seed, size]).choice(size, n_free, replace=False)] = False
    return frozen


def decode(llr, frozen, list_size):
    codewords, metrics = np.full((list_size, llr.size), 9, np.uint8), np.full(list_size, np.nan, np.float32)
    count = fast.decode_polar_list(llr, fast.plan_schedule(frozen), list_size, codewords, metrics)
    return codewords[:count], metrics[:count]


def contradicted(llr, codewords):
    """Weight of the LLRs each codeword contradicts: ``-log P(codeword | llr)`` up to a common constant."""
    return (np.abs(llr) * (codewords != (llr < 0))).sum(axis=1, dtype=np.float64)


@pytest.mark.parametrize("list_size", [1, 2, 5, 8, 32])
@pytest.mark.parametrize(("size", "n_free"), CODES)
def test_decode_polar_list_agrees_with_its_twin(size, n_free, list_size):
    for seed in range(4):
        frozen, llr = draw_code(size, n_free, seed), draw((size,), seed)
        codewords, metrics = decode(llr, frozen, list_size)
        exact, exact_metrics = slow.decode_polar_list(llr, frozen, list_size)
        np.testing.assert_array_equal(codewords, exact)
        np.testing.assert_allclose(metrics - metrics[0], exact_metrics - exact_metrics[0], atol=1e-3)


@pytest.mark.parametrize("list_size", [1, 8])
@pytest.mark.parametrize(("size", "n_free"), CODES)
def test_path_metrics_differ_by_the_llrs_that_the_codewords_contradict(size, n_free, list_size):
    frozen, llr = draw_code(size, n_free, 9), draw((size,), 9)
    codewords, metrics = decode(llr, frozen, list_size)
    exact = contradicted(llr, codewords)
    np.testing.assert_allclose(metrics - metrics[0], exact - exact[0], atol=1e-3)
    assert np.all(np.diff(metrics) >= 0)


@pytest.mark.parametrize(("size", "n_free"), [(8, 4), (32, 5), (64, 5)])
def test_a_list_as_long_as_the_code_finds_the_likeliest_codewords_in_order(size, n_free):
    frozen, llr = draw_code(size, n_free, 1), draw((size,), 1)
    codewords, _ = decode(llr, frozen, 32)
    u = np.zeros((1 << n_free, size), np.uint8)
    u[:, ~frozen] = np.arange(1 << n_free)[:, None] >> np.arange(n_free) & 1
    book = np.array([slow.encode_polar(row) for row in u])
    np.testing.assert_array_equal(codewords, book[np.argsort(contradicted(llr, book))])


@pytest.mark.parametrize(("size", "n_free"), CODES)
def test_every_listed_codeword_is_a_codeword_and_none_comes_twice(size, n_free):
    frozen = draw_code(size, n_free, 5)
    codewords, _ = decode(draw((size,), 5), frozen, 8)
    assert len({codeword.tobytes() for codeword in codewords}) == len(codewords) == min(8, 1 << n_free)
    for codeword in codewords:
        assert not slow.encode_polar(codeword)[frozen].any()


def test_scaling_the_llrs_changes_no_decision():
    frozen, llr = draw_code(128, 40, 2), draw((128,), 2)
    expected, _ = decode(llr, frozen, 8)
    for scale in (2.0**-20, 2.0**12):
        np.testing.assert_array_equal(decode(llr * np.float32(scale), frozen, 8)[0], expected)
