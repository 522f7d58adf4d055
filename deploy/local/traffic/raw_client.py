"""Sends standard input over TLS as it is: raw_client.py HOST:PORT CA_FILE. The answer goes to standard output."""

import socket
import ssl
import sys

host, port = sys.argv[1].split(":")
context = ssl.create_default_context(cafile=sys.argv[2])
with socket.create_connection((host, int(port)), timeout=30) as plain:
    with context.wrap_socket(plain, server_hostname=host) as secure:
        secure.sendall(sys.stdin.buffer.read())
        while piece := secure.recv(65536):
            sys.stdout.buffer.write(piece)
        secure.unwrap()
