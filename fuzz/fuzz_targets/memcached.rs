#![no_main]

use std::borrow::Cow;

use ngx_http_session_redis_module::store::memcached::reader::{ProtocolError, Reader, Reply};

/// So that some items are over it.
const LARGEST: usize = 64;

// The first byte says how the others are split: that changes nothing of what is read.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, usize::from(*size).max(1)), whole);
    assert_eq!(read(bytes, 1), whole);
});

fn read(bytes: &[u8], size: usize) -> (Vec<Reply<'static>>, Result<(), ProtocolError>) {
    let mut reader = Reader::new(LARGEST);
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
    let own = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
    match reply {
        Reply::Item { key, flags, value } => {
            assert!(value.len() <= LARGEST);
            Reply::Item { key: own(key), flags, value: own(value) }
        }
        Reply::TooLarge { key, bytes } => {
            assert!(bytes > LARGEST as u64);
            Reply::TooLarge { key: own(key), bytes }
        }
        Reply::Life { key, seconds } => Reply::Life { key: own(key), seconds },
        Reply::Word(word) => Reply::Word(word),
        Reply::Error(error) => Reply::Error(error),
    }
}
