"""PGPy as a program: make KIND | seal KIND OURS FORM COMPRESSION IN OUT | open KIND OURS IN OUT"""
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")
import pgpy  # noqa: E402
from pgpy.constants import (CompressionAlgorithm, EllipticCurveOID, HashAlgorithm, KeyFlags,  # noqa: E402
                            PubKeyAlgorithm, SymmetricKeyAlgorithm)

NAMES = {"none": "Uncompressed", "zip": "ZIP", "zlib": "ZLIB", "bzip2": "BZ2"}


def make(kind):
    curve = kind == "curve25519"
    key = pgpy.PGPKey.new(PubKeyAlgorithm.EdDSA, EllipticCurveOID.Ed25519) if curve \
        else pgpy.PGPKey.new(PubKeyAlgorithm.RSAEncryptOrSign, int(kind[3:]))
    sub = pgpy.PGPKey.new(PubKeyAlgorithm.ECDH, EllipticCurveOID.Curve25519) if curve \
        else pgpy.PGPKey.new(PubKeyAlgorithm.RSAEncryptOrSign, int(kind[3:]))
    key.add_uid(pgpy.PGPUID.new("Pgpy", email="pgpy@example.org"), usage={KeyFlags.Sign, KeyFlags.Certify},
                hashes=[HashAlgorithm.SHA256], ciphers=[SymmetricKeyAlgorithm.AES256], compression=[CompressionAlgorithm.ZLIB])
    key.add_subkey(sub, usage={KeyFlags.EncryptCommunications, KeyFlags.EncryptStorage})
    pathlib.Path(f"{kind}.key").write_text(str(key))
    pathlib.Path(f"{kind}.cert").write_text(str(key.pubkey))


def seal(kind, ours, form, compression, source, target):
    key, _ = pgpy.PGPKey.from_file(f"{kind}.key")
    gateway, _ = pgpy.PGPKey.from_file(ours)
    message = pgpy.PGPMessage.new(pathlib.Path(source).read_text(), compression=getattr(CompressionAlgorithm, NAMES[compression]))
    message |= key.sign(message)
    sealed = gateway.encrypt(message)
    pathlib.Path(target).write_bytes(str(sealed).encode() if form == "armoured" else bytes(sealed))


def open_(kind, ours, source, target):
    key, _ = pgpy.PGPKey.from_file(f"{kind}.key")
    gateway, _ = pgpy.PGPKey.from_file(ours)
    opened = key.decrypt(pgpy.PGPMessage.from_file(source))
    assert gateway.verify(opened)
    content = opened.message
    pathlib.Path(target).write_bytes(content.encode() if isinstance(content, str) else bytes(content))


{"make": make, "seal": seal, "open": open_}[sys.argv[1]](*sys.argv[2:])
