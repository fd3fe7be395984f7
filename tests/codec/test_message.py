"""Messages to code bits and back: exact without noise, at a stated rate in noise, none from noise alone."""

import hashlib
import zlib
from decimal import Decimal, localcontext

import numpy as np
import pytest
from reference import polar as slow

from fastmark._checks import MESSAGE_BITS
from fastmark.codec.message import CODE_BITS, CRC_BITS, LIST_SIZE, MAX_UNIT, MessageCode
from fastmark.errors import FastmarkError, InvalidMessageError

LENGTHS = pytest.mark.parametrize("bits", MESSAGE_BITS)

# bits: total SNR z = sqrt(1024) * amplitude / sigma, share of messages read there (3000 trials, list 32)
WATERFALL = {16: (8, 0.839), 32: (10, 0.902), 64: (12.4, 0.836), 96: (15, 0.884), 128: (17, 0.883)}
TRIALS = 1000
NOISE_TRIALS = 4000


@pytest.fixture(scope="module")
def codes():
    return {bits: MessageCode(bits) for bits in MESSAGE_BITS}


def soft_values(codeword, amplitude, rng):
    """Log-likelihood ratios of +-amplitude in unit Gaussian noise."""
    received = (1 - 2.0 * codeword) * amplitude + rng.normal(size=codeword.size)
    return (2 * amplitude * received).astype(np.float32)


@pytest.mark.parametrize("k", range(1, MAX_UNIT + 1))
@LENGTHS
def test_every_message_comes_back_without_noise(codes, bits, k):
    code, rng = codes[bits], np.random.default_rng([bits, k])
    for message in (0, 1, (1 << bits) - 1, *(int.from_bytes(rng.bytes(bits // 8), "big") for _ in range(3))):
        codeword = code.encode(message, k)
        decoded = code.decode(4 - 8 * codeword.astype(np.float32))
        assert (decoded.message, decoded.k) == (message, k)
        np.testing.assert_array_equal(decoded.codeword, codeword)


def check(data, bits, k):
    """The 24 bits that guard a message of so many bits, marked at k pixels a unit."""
    mask = hashlib.blake2b(b"fastmark" + bytes([bits, k]), digest_size=3).digest()
    return zlib.crc32(data) % 2**24 ^ int.from_bytes(mask, "big")


def crc_accidents(trials, list_size):
    """Most wrong messages that the CRC lets pass in so many trials: the mean and four standard errors."""
    expected = trials * MAX_UNIT * list_size / 2**CRC_BITS
    return expected + 4 * np.sqrt(expected) + 1


@LENGTHS
def test_messages_are_read_at_the_stated_rate_in_noise_and_hardly_one_wrongly(codes, bits):
    code, rng = codes[bits], np.random.default_rng(bits)
    z, share = WATERFALL[bits]
    right = wrong = 0
    for _ in range(TRIALS):
        message, k = rng.bytes(bits // 8), int(rng.integers(1, MAX_UNIT + 1))
        decoded = code.decode(soft_values(code.encode(message, k), z / np.sqrt(CODE_BITS), rng))
        if decoded is not None:
            is_right = (decoded.message, decoded.k) == (int.from_bytes(message, "big"), k)
            right, wrong = right + is_right, wrong + (not is_right)
    assert right >= TRIALS * share - 3 * np.sqrt(TRIALS * share * (1 - share))
    assert wrong <= crc_accidents(TRIALS, LIST_SIZE)


@pytest.mark.parametrize("list_size", [1, 8, LIST_SIZE])
@LENGTHS
def test_noise_alone_passes_for_a_message_no_more_often_than_its_crc_lets_it(codes, bits, list_size):
    rng = np.random.default_rng([bits, list_size])
    trials = NOISE_TRIALS * 16 // (16 + list_size)
    noise = rng.normal(size=(trials, CODE_BITS)).astype(np.float32)
    found = sum(codes[bits].decode(llr, list_size) is not None for llr in noise)
    assert found <= crc_accidents(trials, list_size)


@LENGTHS
def test_a_blank_statistic_holds_no_message(codes, bits):
    assert codes[bits].decode(np.zeros(CODE_BITS, np.float32)) is None


@LENGTHS
def test_a_message_of_another_length_is_not_read(codes, bits):
    rng = np.random.default_rng(bits)
    for other in set(MESSAGE_BITS) - {bits}:
        for _ in range(5):
            llr = 4 - 8 * codes[other].encode(rng.bytes(other // 8), 3).astype(np.float32)
            assert codes[bits].decode(llr) is None


@pytest.mark.parametrize("k", [0, MAX_UNIT + 1, 255])
@LENGTHS
def test_a_crc_that_no_unit_explains_is_no_message(codes, bits, k):
    code, data = codes[bits], np.random.default_rng(bits).bytes(bits // 8)
    payload = data + check(data, bits, k).to_bytes(3, "big")
    u = np.zeros(CODE_BITS, np.uint8)
    u[code.information] = np.unpackbits(np.frombuffer(payload, np.uint8))
    assert code.decode(4 - 8 * slow.encode_polar(u).astype(np.float32)) is None


@LENGTHS
def test_an_int_and_its_big_endian_bytes_are_the_same_message(codes, bits):
    code = codes[bits]
    data = np.random.default_rng(bits).bytes(bits // 8)
    number = int.from_bytes(data, "big")
    expected = code.encode(data, 2)
    for same in (number, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(code.encode(same, 2), expected)
        assert code.to_bytes(same) == data


def test_numpy_integers_are_integers(codes):
    np.testing.assert_array_equal(codes[16].encode(np.uint16(54321)), codes[16].encode(54321))


def test_units_beyond_fifteen_pixels_are_sent_as_fifteen(codes):
    np.testing.assert_array_equal(codes[64].encode(7, 16), codes[64].encode(7, 15))
    np.testing.assert_array_equal(codes[64].encode(7, 400), codes[64].encode(7, 15))


@LENGTHS
@pytest.mark.parametrize("bad", ["one bit too many", -1, b"", "one byte more", "text", 1.0, None, True, [1]])
def test_what_is_no_message_of_this_length_is_refused(codes, bits, bad):
    bad = {"one bit too many": 1 << bits, "one byte more": bytes(bits // 8 + 1)}.get(
        repr(bad).strip("'"), bad
    )
    with pytest.raises(InvalidMessageError) as caught:
        codes[bits].encode(bad)
    assert isinstance(caught.value, FastmarkError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [0, -16, 8, 17, 48, 256, None, "64"])
def test_a_length_that_is_not_offered_is_refused(bits):
    with pytest.raises(InvalidMessageError):
        MessageCode(bits)


@LENGTHS
def test_the_information_set_is_the_most_reliable_by_polarisation_weight(codes, bits):
    with localcontext(prec=50):
        beta = Decimal(2) ** (Decimal(1) / 4)
        weights = [sum(beta**j for j in range(10) if i >> j & 1) for i in range(CODE_BITS)]
    best = sorted(range(CODE_BITS), key=lambda i: weights[i])[-(bits + CRC_BITS) :]
    assert codes[bits].information.tolist() == sorted(best)


@LENGTHS
def test_a_codeword_is_the_message_and_its_crc_on_the_information_set(codes, bits):
    code = codes[bits]
    data, k = np.random.default_rng(bits).bytes(bits // 8), 5
    crc = check(data, bits, k)
    u = slow.encode_polar(code.encode(data, k))
    payload = int.from_bytes(data + crc.to_bytes(3, "big"), "big")
    assert "".join(map(str, u[code.information])) == f"{payload:0{bits + CRC_BITS}b}"
    assert u.sum() == payload.bit_count()


@pytest.mark.parametrize("list_size", [1, 2, 8, LIST_SIZE])
@LENGTHS
def test_the_decoder_takes_the_first_of_the_plain_list_decoder_whose_crc_fits(codes, bits, list_size):
    code, rng = codes[bits], np.random.default_rng([bits, list_size])
    frozen = np.ones(CODE_BITS, bool)
    frozen[code.information] = False
    z = 0.9 * WATERFALL[bits][0]
    llr = soft_values(code.encode(rng.bytes(bits // 8), 4), z / np.sqrt(CODE_BITS), rng)
    expected = None
    for codeword in slow.decode_polar_list(llr, frozen, list_size)[0]:
        payload = np.packbits(slow.encode_polar(codeword)[code.information]).tobytes()
        data, crc = payload[:-3], int.from_bytes(payload[-3:], "big")
        units = [k for k in range(1, 16) if check(data, bits, k) == crc]
        if units:
            expected = int.from_bytes(data, "big"), units[0], codeword.tobytes()
            break
    found = code.decode(llr, list_size)
    assert (found and (found.message, found.k, found.codeword.tobytes())) == expected


def test_decoding_leaves_its_input_alone_and_repeats_itself(codes):
    llr = soft_values(codes[64].encode(123456789, 2), 0.5, np.random.default_rng(0))
    before = llr.copy()
    first, second = codes[64].decode(llr), codes[64].decode(llr.astype(np.float64))
    np.testing.assert_array_equal(llr, before)
    assert (first.message, first.k) == (second.message, second.k) == (123456789, 2)
