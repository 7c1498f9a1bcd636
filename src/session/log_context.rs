//! The words about a request that end a line of the error log, as nginx has them, without the ids in its addresses.

#![forbid(unsafe_code)]

use super::source::{mask, Source};

/// A request, as an error line describes it. What is empty is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogContext<'r> {
    /// `$server_name`
    pub server: &'r [u8],
    /// The method's name.
    pub method: &'r [u8],
    /// The URI as the client sent it.
    pub uri: &'r [u8],
    /// `HTTP/1.1`
    pub protocol: &'r [u8],
    /// The path of the subrequest that the line is about.
    pub subrequest: &'r [u8],
    /// Scheme and server that it is passed to; no URI.
    pub upstream: [&'r [u8]; 2],
    /// `Host`, as it came.
    pub host: &'r [u8],
    /// `Referer`, as it came.
    pub referrer: &'r [u8],
}

impl LogContext<'_> {
    /// The words, beginning with a comma. `sources`: where ids may stand in addresses; of an address in which they may
    /// be anywhere nothing is shown.
    pub fn without_ids(&self, sources: &[Source]) -> Vec<u8> {
        let is_opaque = sources.iter().any(|source| matches!(source, Source::Template(_)));
        let shown = |address: &[u8]| match is_opaque && !address.is_empty() {
            true => b"***".to_vec(),
            false => mask(address, sources),
        };
        let uri = shown(self.uri);
        let request = match uri.is_empty() {
            true => Vec::new(),
            false => [self.method, &uri, self.protocol].join(&b' '),
        };
        let mut text = Vec::new();
        for (name, value, quote) in [
            ("server", self.server.to_vec(), ""),
            ("request", request, "\""),
            ("subrequest", shown(self.subrequest), "\""),
            ("upstream", self.upstream.concat(), "\""),
            ("host", self.host.to_vec(), "\""),
            ("referrer", shown(self.referrer), "\""),
        ] {
            if name == "server" || !value.is_empty() {
                text.extend_from_slice(format!(", {name}: {quote}").as_bytes());
                text.extend_from_slice(&value);
                text.extend_from_slice(quote.as_bytes());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(context: LogContext<'_>, sources: &[&str]) -> String {
        let sources: Vec<_> =
            sources.iter().flat_map(|text| Source::parse(text).unwrap().in_address()).collect();
        String::from_utf8(context.without_ids(&sources)).unwrap()
    }

    const REQUEST: LogContext<'_> = LogContext {
        server: b"a.example",
        method: b"GET",
        uri: b"/p;sid=7777/r?x=1&sid=7777",
        protocol: b"HTTP/1.1",
        subrequest: b"",
        upstream: [b"", b""],
        host: b"a.example:8080",
        referrer: b"http://a.example:8080/q;sid=7777?sid=7777",
    };

    #[test]
    fn the_words_are_those_of_nginx() {
        let bare = LogContext { server: b"a.example", ..LogContext::default() };
        assert_eq!(words(bare, &[]), ", server: a.example");
        let context =
            LogContext { subrequest: b"/s", upstream: [b"http://", b"127.0.0.1:81"], ..REQUEST };
        assert_eq!(
            words(context, &["cookie:sid"]),
            ", server: a.example, request: \"GET /p;sid=7777/r?x=1&sid=7777 HTTP/1.1\", subrequest: \"/s\", \
             upstream: \"http://127.0.0.1:81\", host: \"a.example:8080\", \
             referrer: \"http://a.example:8080/q;sid=7777?sid=7777\""
        );
    }

    #[test]
    fn ids_in_addresses_are_not_shown() {
        let context = LogContext { subrequest: b"/s;sid=7777", ..REQUEST };
        assert_eq!(
            words(context, &["arg:sid", "path:sid"]),
            ", server: a.example, request: \"GET /p;sid=***/r?x=1&sid=*** HTTP/1.1\", subrequest: \"/s;sid=***\", \
             host: \"a.example:8080\", referrer: \"http://a.example:8080/q;sid=***?sid=***\""
        );
        assert_eq!(
            words(context, &["$sid"]),
            ", server: a.example, request: \"GET *** HTTP/1.1\", subrequest: \"***\", \
             host: \"a.example:8080\", referrer: \"***\""
        );
    }
}
