//! When a request without a session is sent to a login page, and the way back from there.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use crate::inject::{is_token, percent_encode};

/// The facts by which a browser's navigation and its CORS preflight are told from everything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Browser<'r> {
    /// The original request's method: an error page may have changed it since.
    pub method: &'r [u8],
    /// `Accept`, as it came.
    pub accept: Option<&'r [u8]>,
    /// `Sec-Fetch-Mode`, as it came (W3C Fetch Metadata).
    pub sec_fetch_mode: Option<&'r [u8]>,
    /// `Origin`, as it came.
    pub origin: Option<&'r [u8]>,
    /// `Access-Control-Request-Method`, as it came.
    pub access_control_request_method: Option<&'r [u8]>,
    /// Whether a body follows.
    pub has_body: bool,
}

impl Browser<'_> {
    /// Whether a browser is about to show the answer as a page: only then is a redirect of use.
    pub fn is_navigation(&self) -> bool {
        let method = self.method == b"GET" || self.method == b"HEAD";
        let mode = self.sec_fetch_mode.is_none_or(|mode| mode.eq_ignore_ascii_case(b"navigate"));
        method && mode && self.accept.is_some_and(names_html)
    }

    /// Whether this is a CORS preflight (WHATWG Fetch, section 4.8), which carries neither cookies nor a body.
    pub fn is_preflight(&self) -> bool {
        self.method == b"OPTIONS"
            && !self.has_body
            && self.origin.is_some_and(|origin| !origin.is_empty())
            && self.access_control_request_method.is_some_and(is_token)
    }
}

/// Whether `text/html` is among the media ranges of an `Accept` (RFC 9110, section 12.5.1).
fn names_html(accept: &[u8]) -> bool {
    accept.split(|b| *b == b',').any(|range| {
        let name = range.split(|b| *b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// The original request's URI percent-encoded as one value, for a login page to come back to.
///
/// It is that of `/` where a browser could read the URI as another host (`//evil`, `/\evil`; control bytes
/// are dropped by browsers, which makes `/<tab>/evil` such a one) or where it does not begin with `/`.
pub fn return_to(original_uri: &[u8]) -> String {
    let local = match original_uri {
        [b'/', b'/' | b'\\', ..] => false,
        [b'/', ..] => !original_uri.iter().any(u8::is_ascii_control),
        _ => false,
    };
    percent_encode(if local { original_uri } else { b"/" })
}

/// Whether a request is already for the login page: sending it there again would never end.
///
/// `login` is the address with its variables filled in; `host` and `path` are the request's, the path
/// decoded and without arguments, as nginx's `$host` and `$uri`.
pub fn at_login(login: &[u8], host: &[u8], path: &[u8]) -> bool {
    let (login_host, rest) = split_host(login);
    let login_path = rest.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default();
    let login_path = if login_path.is_empty() { b"/" } else { login_path };
    login_host.is_none_or(|login_host| login_host.eq_ignore_ascii_case(host))
        && decoded(login_path).eq(path.iter().copied())
}

/// An address as it may stand in a header: control bytes, which a variable may bring along, are percent-encoded, as
/// browsers do it (WHATWG URL, section 1.3), and end no line.
pub fn safe_address(address: &[u8]) -> Cow<'_, [u8]> {
    if !address.iter().any(u8::is_ascii_control) {
        return Cow::Borrowed(address);
    }
    let mut safe = Vec::with_capacity(address.len() + 2);
    for &byte in address {
        match byte.is_ascii_control() {
            true => safe.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            false => safe.push(byte),
        }
    }
    Cow::Owned(safe)
}

/// The host of an absolute address, without user and port, and what follows it.
fn split_host(address: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let after_scheme = match address.windows(3).position(|three| three == b"://") {
        Some(at) if !address.iter().take(at).any(|b| matches!(b, b'/' | b'?' | b'#')) => {
            address.get(at + 3..)
        }
        _ => address.strip_prefix(b"//"),
    };
    let Some(rest) = after_scheme else { return (None, address) };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit(|b| *b == b'@').next().unwrap_or_default();
    let port = host.iter().rposition(|b| *b == b':').filter(|at| {
        host.get(at + 1..).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    });
    (Some(port.and_then(|at| host.get(..at)).unwrap_or(host)), path)
}

/// Percent-decoding; a `%` that begins no escape stands for itself.
fn decoded(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (first, rest) {
            if let (Some(high), Some(low)) =
                (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
            {
                rest = after;
                return u8::try_from(high * 16 + low).ok();
            }
        }
        Some(first)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HTML: &[u8] = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    #[test]
    fn an_address_ends_no_line() {
        assert!(matches!(safe_address("/login?n=/ä b".as_bytes()), Cow::Borrowed(_)));
        let split = safe_address(b"/login?n=/a\r\nX-Evil: 1\0\x7f");
        assert_eq!(&*split, b"/login?n=/a%0D%0AX-Evil: 1%00%7F");
    }

    #[test]
    fn a_browser_that_navigates() {
        let page = Browser { method: b"GET", accept: Some(HTML), ..Browser::default() };
        assert!(page.is_navigation());
        assert!(Browser { method: b"HEAD", ..page }.is_navigation());
        assert!(Browser { sec_fetch_mode: Some(b"navigate"), ..page }.is_navigation());
        assert!(Browser { accept: Some(b"*/*, Text/HTML ;q=0.2"), ..page }.is_navigation());
        assert!(!Browser { method: b"POST", ..page }.is_navigation());
        assert!(!Browser { accept: None, ..page }.is_navigation());
        assert!(!Browser { accept: Some(b"*/*"), ..page }.is_navigation());
        assert!(!Browser { accept: Some(b"text/html5"), ..page }.is_navigation());
        assert!(!Browser { sec_fetch_mode: Some(b"cors"), ..page }.is_navigation());
    }

    #[test]
    fn a_preflight() {
        let preflight = Browser {
            method: b"OPTIONS",
            origin: Some(b"https://app.example"),
            access_control_request_method: Some(b"PUT"),
            ..Browser::default()
        };
        assert!(preflight.is_preflight());
        assert!(!Browser { method: b"GET", ..preflight }.is_preflight());
        assert!(!Browser { has_body: true, ..preflight }.is_preflight());
        for origin in [None, Some(&b""[..])] {
            assert!(!Browser { origin, ..preflight }.is_preflight());
        }
        for method in [None, Some(&b""[..]), Some(b"PUT, GET"), Some(b"P\xffT")] {
            let other = Browser { access_control_request_method: method, ..preflight };
            assert!(!other.is_preflight());
        }
    }

    #[test]
    fn the_way_back_is_one_value_and_leads_here() {
        assert_eq!(return_to(b"/a b/?x=1&y=%2f#z"), "%2Fa%20b%2F%3Fx%3D1%26y%3D%252f%23z");
        assert_eq!(return_to("/é".as_bytes()), "%2F%C3%A9");
        for elsewhere in [
            &b"//evil"[..],
            b"/\\evil",
            b"/\t/evil",
            b"/a\r\nX: y",
            b"/a\x7f",
            b"",
            b"evil",
            b"http://evil/",
        ] {
            assert_eq!(return_to(elsewhere), "%2F", "{elsewhere:?}");
        }
    }

    #[test]
    fn the_login_page_itself() {
        for login in [
            "/login",
            "/login?next=%2F",
            "/log%69n#top",
            "https://www.example/login?x",
            "https://u@WWW.example:8443/login",
            "//www.example/login",
        ] {
            assert!(at_login(login.as_bytes(), b"www.example", b"/login"), "{login}");
            assert!(!at_login(login.as_bytes(), b"www.example", b"/login/"), "{login}");
        }
        assert!(!at_login(b"https://sso.example/login", b"www.example", b"/login"));
        assert!(at_login(b"https://www.example?x=/y", b"www.example", b"/"));
        assert!(at_login(b"http://[::1]/login", b"[::1]", b"/login"));
        assert!(at_login(b"/in?next=http://www.example/", b"x", b"/in"));
        assert!(at_login(b"/50%", b"x", b"/50%"));
    }

    proptest! {
        #[test]
        fn any_uri_gives_one_value(uri in proptest::collection::vec(any::<u8>(), 0..40)) {
            let value = return_to(&uri);
            prop_assert!(value.starts_with("%2F"));
            prop_assert!(value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            let back: Vec<u8> = decoded(value.as_bytes()).collect();
            prop_assert!(back == uri || back == b"/");
        }
    }
}
