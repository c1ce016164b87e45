"""Hot state in a Redis behind TLS, whose certificate is of an authority of our own.

Authorities are those of the system, or the file that SSL_CERT_FILE names.
"""

import json
import os
import shutil
import subprocess

from blackbox import lake as lakes
from blackbox.harness import Skipped, check, expect, expect_equal, wait_until
from blackbox.hot import CONFIG, Server, expect_stats


class TlsServer(Server):
    """Speaks TLS on its port and nothing else."""

    def start(self):
        make_certificate(self.folder)
        self.url = f"rediss://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "authority.pem",
             "--tls-auth-clients", "no", "--dir", str(self.folder), "--logfile", str(self.folder / "redis.log")],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.process.poll() is not None or self.is_ready(), 20, "redis-server answering")
        if self.process.poll() is not None:
            raise Skipped("this redis-server was built without TLS")

    def is_ready(self):
        log = self.folder / "redis.log"
        return log.exists() and "Ready to accept connections" in log.read_text()


def make_certificate(folder):
    """authority.pem, and server.pem with server.key for 127.0.0.1."""
    if not shutil.which("openssl"):
        raise Skipped("openssl is not installed")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "authority.key", "-out", "authority.pem", "-days", "2",
            "-subj", "/CN=Test Authority")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis.example")
    (folder / "names.cnf").write_text("subjectAltName = IP:127.0.0.1\nbasicConstraints = CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
            "-days", "2", "-extfile", "names.cnf", "-out", "server.pem")


@check("hot-tls")
def tls(context):
    """Hot state over TLS is that of the lake; a certificate of an unknown authority is as good as no server."""
    stream = context.stream("go", "lite")
    server = TlsServer(context)
    before = os.environ.pop("SSL_CERT_FILE", None)
    try:
        lake = context.folder / "lake"
        os.environ["SSL_CERT_FILE"] = str(server.folder / "authority.pem")
        context.replay(stream.path, lake, hot=server.url, config=CONFIG)
        ask = ("hot", "stats", "--lake", lake, "--hot", server.url, "--format", "json",
               "-c", context.folder / "config.toml")
        stats = json.loads(context.run(*ask).expect_code(0).out)
        expect_stats(stats, lake)
        expect_equal(int(stats["totals"]["certificates"]), lakes.count(lake, "certificates"), "certificates")
        del os.environ["SSL_CERT_FILE"]
        run = context.run(*ask).expect_code(1)
        expect("certificate" in run.err.lower(), f"no line on stderr speaks of the certificate; {run.tail()}")
    finally:
        os.environ.pop("SSL_CERT_FILE", None)
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before
        server.stop()
