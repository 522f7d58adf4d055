"""One request by requests: requests_client.py METHOD URL CA_FILE BODY_FILE OUTPUT_FILE ("-" for no body)."""

import mimetypes
import pathlib
import sys

import requests

method, url, ca_file, body_file, output_file = sys.argv[1:]
media_type = mimetypes.guess_type(body_file)[0] or "application/octet-stream"
body = None if body_file == "-" else pathlib.Path(body_file).read_bytes()
headers = {} if body is None else {"Content-Type": media_type}
with requests.Session() as session:
    session.trust_env = False
    response = session.request(method, url, data=body, headers=headers, verify=ca_file, timeout=30)
    response.raise_for_status()
    pathlib.Path(output_file).write_bytes(response.content)
