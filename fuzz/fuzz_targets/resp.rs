#![no_main]

use std::borrow::Cow;

use ngx_http_session_redis_module::store::resp::{Limits, ProtocolError, Reader, Reply};

/// Larger than any input: over them is only what announces more than comes, and is not read any further.
const LIMITS: Limits = Limits { bulk: 1 << 20, other: 1 << 20 };

// The first byte says how the others are split; the redis crate's parser is the oracle.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else { return };
    let (replies, end) = read(bytes, bytes.len().max(1));
    let (pieced, pieced_end) = read(bytes, usize::from(*size).max(1));
    // Of two faults the one that is seen first is named.
    assert_eq!((pieced, pieced_end.is_ok()), (replies.clone(), end.is_ok()));

    let mut oracle = redis::Parser::new();
    let mut rest = bytes;
    for ours in replies {
        if matches!(ours, Reply::TooLarge(_)) {
            return;
        }
        match oracle.parse_value(&mut rest) {
            Ok(theirs) => {
                let theirs = owned(Reply::from(theirs));
                let errors = matches!((&ours, &theirs), (Reply::Error(_), Reply::Error(_)));
                assert!(errors || ours == theirs, "{ours:?} for {theirs:?}");
            }
            // It wants UTF-8 in lines; we do not look into them.
            Err(_) => {
                assert!(matches!(ours, Reply::Status | Reply::Error(_)), "{ours:?} for an error");
                return;
            }
        }
    }
});

fn read(bytes: &[u8], size: usize) -> (Vec<Reply<'static>>, Result<(), ProtocolError>) {
    let mut reader = Reader::new(LIMITS);
    let mut replies = Vec::new();
    for mut piece in bytes.chunks(size) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(reply)) => replies.push(owned(reply)),
                Ok(None) => break,
                Err(error) => return (replies, Err(error)),
            }
        }
        assert_eq!(piece, b"");
    }
    (replies, Ok(()))
}

fn owned(reply: Reply<'_>) -> Reply<'static> {
    match reply {
        Reply::Bulk(value) => Reply::Bulk(Cow::Owned(value.into_owned())),
        Reply::Null => Reply::Null,
        Reply::Int(value) => Reply::Int(value),
        Reply::Status => Reply::Status,
        Reply::Error(error) => Reply::Error(error),
        Reply::TooLarge(bytes) => Reply::TooLarge(bytes),
        Reply::Push(value) => Reply::Push(value),
        Reply::Other(value) => Reply::Other(value),
    }
}
