"""A backend that answers with what it was sent: the X-Judged header and then each Cookie header, a line each in
hexadecimal. Usage: echo.py SOCKET"""
import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.pending = transport, b''

    def data_received(self, data):
        *heads, self.pending = (self.pending + data).split(b'\r\n\r\n')
        for head in heads:
            judged, cookies = b'', []
            for line in head.split(b'\r\n')[1:]:
                name, _, value = line.partition(b':')
                if name.lower() == b'x-judged':
                    judged = value.strip()
                elif name.lower() == b'cookie':
                    cookies.append(value[1:])
            body = '\n'.join(text.hex() for text in [judged, *cookies]).encode()
            self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b' % (len(body), body))


async def main():
    server = await asyncio.get_running_loop().create_unix_server(Echo, sys.argv[1], backlog=256)
    await server.serve_forever()


asyncio.run(main())
