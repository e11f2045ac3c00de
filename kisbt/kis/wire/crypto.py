"""Encryption of execution notices, and the hash key.

Source:
    Portal and official websocket samples: AES-256-CBC, PKCS7, base64; key (32
    characters) and iv (16) come with the confirmation of the subscription.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kisbt.errors import WireError
from kisbt.text import _

KEY_LENGTH: Final = 32
IV_LENGTH: Final = 16


class NoticeCipher:
    """Key and iv of one subscription; both change with every new one."""

    __slots__ = ("_cipher",)

    def __init__(self, key: str, iv: str) -> None:
        """Take key and iv as the confirmation tells them.

        Raises:
            WireError: they are not 32 and 16 bytes.
        """
        key_bytes, iv_bytes = key.encode(), iv.encode()
        if len(key_bytes) != KEY_LENGTH or len(iv_bytes) != IV_LENGTH:
            raise WireError(
                _("notice key: expected {key} and {iv} bytes").format(
                    key=KEY_LENGTH, iv=IV_LENGTH
                )
            )
        self._cipher = Cipher(algorithms.AES(key_bytes), modes.CBC(iv_bytes))

    def __repr__(self) -> str:
        return "NoticeCipher(***)"

    def encrypt(self, text: str) -> str:
        """Return `text` encrypted, in base64."""
        padder = padding.PKCS7(algorithms.AES.block_size).padder()
        padded = padder.update(text.encode()) + padder.finalize()
        encryptor = self._cipher.encryptor()
        return base64.b64encode(
            encryptor.update(padded) + encryptor.finalize()
        ).decode()

    def decrypt(self, text: str) -> str:
        """Return the text in `text`; broken UTF-8 in it is replaced.

        Raises:
            WireError: it was not encrypted with this key.
        """
        try:
            raw = base64.b64decode(text, validate=True)
            decryptor = self._cipher.decryptor()
            padded = decryptor.update(raw) + decryptor.finalize()
            unpadder = padding.PKCS7(algorithms.AES.block_size).unpadder()
            plain = unpadder.update(padded) + unpadder.finalize()
        except (ValueError, binascii.Error) as error:
            raise WireError(
                _("notice: not encrypted with the key of this subscription")
            ) from error
        return plain.decode("utf-8", "replace")


def hash_body(body: Mapping[str, Any]) -> str:
    """Return a hash key for an order's body, as the emulator hands out.

    KIS does not say how it makes its own; nobody checks it.
    """
    text = json.dumps(dict(body), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
