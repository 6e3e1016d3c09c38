"""Certificates for the tests of TLS, made with the openssl program."""

import os
import subprocess

_DAYS = "2"


def _openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Authority:
    """A certificate authority with its files in `folder`."""

    def __init__(self, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._made = folder, 0
        self.key, self.certificate = folder / "ca.key", folder / "ca.pem"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", _DAYS,
                 "-subj", f"/CN={name}", "-addext", "keyUsage=keyCertSign,cRLSign")

    def issue(self, name):
        """(certificate, key): paths of new files for `name`, good for localhost."""
        self._made += 1
        stem = self._folder / f"issued-{self._made}"
        key, request, certificate, extensions = (
            stem.with_suffix(suffix) for suffix in (".key", ".csr", ".pem", ".ext"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                              "basicConstraints=CA:FALSE\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey",
                 self.key, "-CAcreateserial", "-days", _DAYS, "-out", certificate,
                 "-extfile", extensions)
        return certificate, key


def put(source, target):
    """Replaces `target` by a copy of `source` at once, by a rename."""
    staged = target.with_name(f".{target.name}.new")
    staged.write_bytes(source.read_bytes())
    os.rename(staged, target)
