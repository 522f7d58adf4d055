"""An HTTPS server that answers every request with bytes as they stand in a file, whatever they are.

usage: raw_server.py DIRECTORY

DIRECTORY holds certificate.pem, key.pem and response, which is read anew for each request. Requests need a
Content-Length unless they have no body. Prints one ready line of JSON.
"""

import json
import os
import pathlib
import re
import socketserver
import ssl
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        length = re.search(rb"(?im)^content-length: *(\d+)\r$", head)
        self.rfile.read(int(length[1]) if length else 0)
        self.wfile.write((directory / "response").read_bytes())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def finish_request(self, request, client_address):
        with context.wrap_socket(request, server_side=True) as secure:
            Handler(secure, client_address, self)
            secure.unwrap()


directory = pathlib.Path(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
server = Server(("127.0.0.1", 0), Handler)
listen = f"127.0.0.1:{server.server_address[1]}"
print(json.dumps({"service": "raw-server", "listen": listen, "pid": os.getpid()}), flush=True)
server.serve_forever()
