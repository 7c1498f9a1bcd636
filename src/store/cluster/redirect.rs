//! `MOVED slot host:port` and `ASK slot host:port`: the node that was asked says which one to ask.

#![forbid(unsafe_code)]

use super::slot::SLOTS;
use super::NodeAddress;

/// Where a node says that a slot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// For good, as opposed to for this command, while the slot is on its way.
    pub moved: bool,
    /// The slot.
    pub slot: u16,
    /// Who serves it.
    pub address: NodeAddress,
}

impl Redirect {
    /// Of the text of an error reply that the node `asked` sent; none where it is no redirect, or a malformed one.
    pub fn parse(text: &str, asked: &NodeAddress) -> Option<Self> {
        let mut words = text.split(' ');
        let moved = match words.next()? {
            "MOVED" => true,
            "ASK" => false,
            _ => return None,
        };
        let slot = words.next()?.parse().ok().filter(|&slot| slot < SLOTS)?;
        let address = NodeAddress::parse(words.next()?, asked)?;
        words.next().is_none().then_some(Self { moved, slot, address })
    }

    /// As a reply, with the host that the node may have left out.
    pub fn to_reply(&self) -> String {
        let Self { moved, slot, address } = self;
        format!("-{} {slot} {address}\r\n", if *moved { "MOVED" } else { "ASK" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked() -> NodeAddress {
        NodeAddress { host: "10.0.0.1".into(), port: 7000 }
    }

    #[test]
    fn redirects_are_read() {
        let redirect = |moved, slot, host: &str, port| {
            Some(Redirect { moved, slot, address: NodeAddress { host: host.into(), port } })
        };
        let cases = [
            ("MOVED 3999 10.0.0.2:7001", redirect(true, 3999, "10.0.0.2", 7001)),
            ("ASK 0 10.0.0.2:7001", redirect(false, 0, "10.0.0.2", 7001)),
            ("MOVED 16383 :7001", redirect(true, 16383, "10.0.0.1", 7001)),
            ("MOVED 1 ::1:7001", redirect(true, 1, "::1", 7001)),
            ("MOVED 16384 10.0.0.2:7001", None),
            ("MOVED -1 10.0.0.2:7001", None),
            ("MOVED 1 10.0.0.2:7001 more", None),
            ("MOVED 1", None),
            ("MOVED", None),
            ("ERR 1 10.0.0.2:7001", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Redirect::parse(text, &asked()), expected, "{text}");
        }
    }

    #[test]
    fn the_host_that_was_left_out_is_put_in() {
        let redirect = Redirect::parse("MOVED 1 :7001", &asked()).unwrap();
        assert_eq!(redirect.to_reply(), "-MOVED 1 10.0.0.1:7001\r\n");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String) {
            let _ = Redirect::parse(&text, &asked());
        }

        #[test]
        fn what_is_written_is_read(moved: bool, slot in 0..SLOTS, host in "[a-z0-9.-]{1,20}", port in 1..=u16::MAX) {
            let redirect = Redirect { moved, slot, address: NodeAddress { host: host.into(), port } };
            let reply = redirect.to_reply();
            let text = reply.strip_prefix('-').and_then(|text| text.strip_suffix("\r\n")).unwrap();
            prop_assert_eq!(Redirect::parse(text, &asked()), Some(redirect));
        }
    }
}
