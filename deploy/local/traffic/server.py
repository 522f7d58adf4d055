"""A small HTTPS server on a free port of 127.0.0.1, on Python's ssl module and so on the system's OpenSSL.

usage: server.py DIRECTORY

DIRECTORY holds certificate.pem and key.pem. A request for /.../NAME is answered with the file
DIRECTORY/response-NAME, whatever the method; without such a file with 404. The ending of NAME tells the media type.
Prints one ready line of JSON.
"""

import http.server
import json
import mimetypes
import os
import pathlib
import ssl
import sys

PIECE_BYTES = 64 * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        left = int(self.headers.get("Content-Length", 0))
        while left > 0:
            piece = self.rfile.read(min(left, PIECE_BYTES))
            if not piece:
                return
            left -= len(piece)
        name = pathlib.PurePosixPath(self.path.partition("?")[0]).name
        path = directory / f"response-{name}"
        status, body = (200, path.read_bytes()) if path.is_file() else (404, b"no such file\n")
        self.send_response(status)
        self.send_header("Content-Type", mimetypes.guess_type(name)[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def finish_request(self, request, client_address):
        """The handshake is done in the connection's own thread: a slow client must not hold up the others."""
        try:
            secure = context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with secure:
            self.RequestHandlerClass(secure, client_address, self)

    def handle_error(self, request, client_address):
        pass


directory = pathlib.Path(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory / "certificate.pem", directory / "key.pem")
server = Server(("127.0.0.1", 0), Handler)
listen = f"127.0.0.1:{server.server_address[1]}"
print(json.dumps({"service": "https-server", "listen": listen, "pid": os.getpid()}), flush=True)
server.serve_forever()
