"""Who signs content credentials: keys, certificates and callbacks, in threads and in other processes."""

import datetime as dt
import multiprocessing
import pickle
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from certificates import PEM, UNLOCKED, make
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from signed_images import MESSAGE, RECORD, image, report

from fastmark.errors import CredentialError
from fastmark.provenance.credentials import read
from fastmark.provenance.signing import Signer, sign


@pytest.fixture(scope="module")
def made():
    return make()


@pytest.fixture(scope="module")
def signer(made):
    return Signer(made.chain, made.key)


# ---- keys and certificates -------------------------------------------------------------------------------

KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_keys_of_every_kind_sign(algorithm):
    made = make(KEYS[algorithm]())
    signer = Signer(made.chain, made.key)
    assert signer.algorithm == algorithm
    data = sign(image(), "JPEG", RECORD, MESSAGE, signer).data
    assert report(data, "image/jpeg", made.root)["validation_state"] == "Trusted"
    if algorithm == "ps256":
        data = sign(image(), "JPEG", RECORD, MESSAGE, Signer(made.chain, made.key, algorithm="ps384")).data
        assert read(data, trust_anchors=made.root).state == "trusted"
    else:
        with pytest.raises(CredentialError, match=f"leave the algorithm out, or take {algorithm}"):
            Signer(made.chain, made.key, algorithm="ps384")


def test_keys_come_from_files_bytes_and_variables(tmp_path, made, monkeypatch):
    (tmp_path / "chain.pem").write_bytes(made.chain)
    old = made.private.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, UNLOCKED)
    (tmp_path / "key.pem").write_bytes(old)
    monkeypatch.setenv("SIGNING_KEY", made.key.decode())
    monkeypatch.setenv("ONE_LINE", made.key.decode().replace("\n", "\\n"))
    signers = [
        Signer(str(tmp_path / "chain.pem"), tmp_path / "key.pem"),
        Signer(made.chain, "env:SIGNING_KEY"),
        Signer(tmp_path / "chain.pem", "env:ONE_LINE"),
    ]
    for signer in signers:
        data = sign(image(), "JPEG", RECORD, MESSAGE, signer).data
        assert read(data, trust_anchors=made.root).state == "trusted"
    assert len({repr(signer) for signer in signers}) == 1


def refused(words, chain, key, **options):
    with pytest.raises(CredentialError, match=words) as caught:
        Signer(chain, key, **options)
    for error in (caught.value, caught.value.__cause__):
        if error is not None:
            assert "PRIVATE KEY-----\n" not in str(error)
            assert not isinstance(key, bytes) or key[40:60].decode("latin1") not in str(error)
    assert "\n" not in str(caught.value)


def test_certificates_and_keys_that_are_not_in_order_are_refused_at_once(tmp_path, made, monkeypatch):
    other = make()
    refused("not that of the chain's first certificate", made.chain, other.key)
    refused("not that of the chain's first", made.root + made.chain, made.key)
    expired, early = make(days=(-10, -5)), make(days=(1, 5))
    refused(r"Test Signer expired at 20\d\d-.*Z: get a new one", expired.chain, expired.key)
    refused(r"Test Signer is not valid before 20\d\d-.*Z: wait", early.chain, early.key)
    refused("no certificates can be read", b"nothing", made.key)
    refused("no certificates can be read", made.chain[:200], made.key)
    refused("private key cannot be read", made.chain, made.key[:100])
    refused("private key cannot be read", made.chain, made.chain)
    locked = made.private.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"password")
    )
    refused("locked with a password", made.chain, locked)
    refused("chain of certificates .*gone.pem cannot be read", tmp_path / "gone.pem", made.key)
    refused("private key .*gone.pem cannot be read: No such file", made.chain, str(tmp_path / "gone.pem"))
    refused("private key .* cannot be read: Is a directory", made.chain, tmp_path)
    refused("given as a text", made.chain, made.key.decode())
    monkeypatch.delenv("NOT_SET", raising=False)
    refused("environment variable NOT_SET is not set", made.chain, "env:NOT_SET")
    refused("must be one of es256", made.chain, made.key, algorithm="rs256")
    refused("must be a URL", made.chain, made.key, tsa_url="ftp://tsa")
    small = make(rsa.generate_private_key(65537, 1024))
    refused("1024 bits, RSA keys need 2048", small.chain, small.key)
    odd = make(ec.generate_private_key(ec.SECP256K1()))
    refused("C2PA takes no such key", odd.chain, odd.key)


def test_a_certificate_that_expires_meanwhile_is_refused_then():
    made = make(days=(-1, 2 / 86400))
    signer = Signer(made.chain, made.key)
    time.sleep(max(0, (signer.expires - dt.datetime.now(dt.UTC)).total_seconds()) + 0.1)
    with pytest.raises(CredentialError, match="Test Signer expired at"):
        sign(image(), "JPEG", RECORD, MESSAGE, signer)


def test_a_certificate_for_something_else_is_refused_in_plain_words():
    from cryptography.x509.oid import ExtendedKeyUsageOID

    made = make(purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(CredentialError, match="the certificates are not such as C2PA takes"):
        sign(image(), "JPEG", RECORD, MESSAGE, Signer(made.chain, made.key))


def test_a_signer_does_not_change_shows_no_secret_and_goes_to_processes(made, signer):
    with pytest.raises(AttributeError):
        signer.name = "other"
    secret = made.key.splitlines()[1][:20].decode()
    assert repr(signer).startswith("Signer('Test Signer', es256, tsa_url=None, chain=")
    assert secret not in repr(signer) and secret not in str(signer)
    again = pickle.loads(pickle.dumps(signer))
    assert repr(again) == repr(signer)
    data = sign(image(), "JPEG", RECORD, MESSAGE, again).data
    assert read(data, trust_anchors=made.root).state == "trusted"
    other = make()
    assert repr(Signer(other.chain, other.key)) != repr(signer)


# ---- callbacks -------------------------------------------------------------------------------------------


def test_a_callback_signs_and_stays_in_its_process(made):
    asked = []

    def callback(data):
        asked.append(len(data))
        return made.private.sign(data, ec.ECDSA(hashes.SHA256()))

    signer = Signer.from_callback(callback, "es256", made.chain)
    data = sign(image(), "JPEG", RECORD, MESSAGE, signer).data
    assert report(data, "image/jpeg", made.root)["validation_state"] == "Trusted"
    assert len(asked) >= 1
    with pytest.raises(CredentialError, match="cannot be sent to another process"):
        pickle.dumps(signer)
    with pytest.raises(CredentialError, match="must be a function"):
        Signer.from_callback(b"key", "es256", made.chain)
    with pytest.raises(CredentialError, match="take es256"):
        Signer.from_callback(callback, "ed25519", made.chain)


def test_a_callback_that_fails_signs_nothing(made, caplog):
    def raising(data):
        raise ConnectionError("the service\nis down")

    with pytest.raises(
        CredentialError, match=r"callback failed: ConnectionError: the service is down"
    ) as caught:
        sign(image(), "JPEG", RECORD, MESSAGE, Signer.from_callback(raising, "es256", made.chain))
    assert isinstance(caught.value.__cause__, ConnectionError)
    for answer in (None, b"", "text"):
        signer = Signer.from_callback(lambda _, answer=answer: answer, "es256", made.chain)
        with pytest.raises(CredentialError, match="callback failed: TypeError: it returned"):
            sign(image(), "JPEG", RECORD, MESSAGE, signer)
    for answer in (b"x" * 64, b"x" * 7, b"x" * 100_000):
        signer = Signer.from_callback(lambda _, answer=answer: answer, "es256", made.chain)
        with pytest.raises(
            CredentialError, match=r"cannot be signed: (the signature is not|nothing that is a)"
        ):
            sign(image(), "JPEG", RECORD, MESSAGE, signer)
    assert caplog.text == ""


def test_an_interrupt_in_a_callback_is_one_outside(made):
    def interrupted(data):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sign(image(), "JPEG", RECORD, MESSAGE, Signer.from_callback(interrupted, "es256", made.chain))


# ---- threads and processes -------------------------------------------------------------------------------


def signed_in_process(signer, number):
    return sign(image(seed=number), "JPEG", RECORD, bytes([number] * 8), signer).data


def test_threads_share_a_signer(made, signer):
    def work(number):
        data = signed_in_process(signer, number)
        return read(data, trust_anchors=made.root)

    with ThreadPoolExecutor(4) as pool:
        credentials = list(pool.map(work, range(24)))
    assert {credential.state for credential in credentials} == {"trusted"}
    assert [c.soft_bindings[0][1] for c in credentials] == [bytes([n] * 8) for n in range(24)]
    assert len({credential.manifest_id for credential in credentials}) == 24


def test_a_fresh_process_signs_with_a_signer_it_is_sent(made, signer):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        data = pool.submit(signed_in_process, signer, 7).result(timeout=120)
    credential = read(data, trust_anchors=made.root)
    assert (credential.state, credential.soft_bindings[0][1]) == ("trusted", bytes([7] * 8))
