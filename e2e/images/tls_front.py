#!/usr/bin/env python3
"""Speaks TLS on a port of loopback that the kernel chooses, for a server that cannot.

    tls_front.py --key FILE --certificate FILE --to HOST:PORT --address-file FILE

The file gets the HOST:PORT of that port.
"""

import argparse
import socket
import ssl
import threading


def pump(source, target):
    """Copies until the source ends, and says so to the target."""
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(context, plain, upstream):
    """One connection."""
    try:
        with context.wrap_socket(plain, server_side=True) as client, socket.create_connection(upstream) as server:
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join()
    except OSError:
        pass


def main():
    """Does what the arguments say."""
    parser = argparse.ArgumentParser()
    for name in ("key", "certificate", "to", "address-file"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    host, port = arguments.to.rsplit(":", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate, arguments.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with open(arguments.address_file, "w", encoding="ascii") as file:
            print(f"127.0.0.1:{listener.getsockname()[1]}", file=file)
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=serve, args=(context, plain, (host, int(port))), daemon=True).start()


if __name__ == "__main__":
    main()
