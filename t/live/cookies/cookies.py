"""Python's cookie parsers. Usage: cookies.py PARSER NAME [KEY]

Each line of the standard input is a Cookie header in hexadecimal; each line of the output the value that the parser
has under the name, in hexadecimal, or "-".
"""
import binascii
import sys


def http_cookies(header, name):
    try:
        from http.cookies import CookieError, SimpleCookie
    except ImportError:
        from Cookie import CookieError, SimpleCookie
    try:
        cookie = SimpleCookie(header)
    except CookieError:
        return None
    return cookie[name].value if name in cookie else None


def aiohttp(header, name):
    # The request's own property; a whole request takes a hundred times as long to make.
    from aiohttp.web_request import BaseRequest
    from multidict import CIMultiDict, CIMultiDictProxy
    request = BaseRequest.__new__(BaseRequest)
    request._cache, request._headers = {}, CIMultiDictProxy(CIMultiDict(Cookie=header))
    return request.cookies.get(name)


def beaker(header, name):
    from beaker.session import SignedCookie
    cookie = SignedCookie(sys.argv[3], input=header)
    value = cookie[name].value if name in cookie else None
    return value if isinstance(value, str) else None        # or the class InvalidSignature


def django(header, name):
    from django.http.cookie import parse_cookie
    return parse_cookie(header).get(name)


def starlette(header, name):
    from starlette.requests import cookie_parser
    return cookie_parser(header).get(name)


def werkzeug(header, name):
    from werkzeug.http import parse_cookie
    return parse_cookie({'HTTP_COOKIE': header}).get(name)


def main(parser, name):
    for line in sys.stdin:
        header = binascii.unhexlify(line.strip())
        if not isinstance(header, str):
            header = header.decode('latin-1')
        try:
            value = parser(header, name)
        except Exception as error:          # a request that fails has no session
            sys.stderr.write('%s: %r\n' % (type(error).__name__, error))
            value = None
        if value is None:
            print('-')
        else:
            if not isinstance(value, bytes):
                value = value.encode('utf-8', 'surrogatepass')
            print(binascii.hexlify(value).decode('ascii'))


main(globals()[sys.argv[1]], sys.argv[2])
