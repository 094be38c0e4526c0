#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Answers as a cache of collateral does, on 127.0.0.1. usage: pcs_server.py PORT FILE
FILE is a bundle, read anew for each request; where it has no tcb_info, what it holds is the answer to everything."""
import http.server
import json
import sys
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[2], encoding="utf-8") as f:
            text = f.read()
        try:
            body, headers = self.parts(json.loads(text))
        except (ValueError, KeyError):
            body, headers = text.encode(), {"TCB-Info-Issuer-Chain": "none"}
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, urllib.parse.quote(value))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def parts(self, b):
        for word, member, key, header in (
            ("/tcb?", "tcbInfo", "tcb_info", "TCB-Info-Issuer-Chain"),
            ("/qe/identity", "enclaveIdentity", "qe_identity", "SGX-Enclave-Identity-Issuer-Chain"),
        ):
            if word in self.path:
                text = '{"%s":%s,"signature":"%s"}' % (member, b[key], b[key + "_signature"])
                return text.encode(), {header: b[key + "_issuer_chain"]}
        if "rootcacrl" in self.path:
            return b["root_ca_crl"].encode(), {}
        return bytes.fromhex(b["pck_crl"]), {"SGX-PCK-CRL-Issuer-Chain": b["tcb_info_issuer_chain"]}

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
