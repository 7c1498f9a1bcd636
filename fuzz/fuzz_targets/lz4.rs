#![no_main]

use std::io::Write;

use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
use ngx_http_session_redis_module::format::{Pipeline, Wanted};

/// The head of a frame without options, one block of which follows.
const HEAD: &[u8] = b"\x04\x22\x4d\x18\x60\x40\x82";

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    fuzz::unwrap("lz4", value, |plain| {
        let info = FrameInfo::new().block_mode(BlockMode::Linked).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).expect("room");
        encoder.finish().expect("room")
    });

    // What lz4_flex reads as a block is read alike; it is stricter about how a block ends.
    let mut plain = vec![0; 16 * 1024];
    if let (Ok(length), Ok(size)) =
        (lz4_flex::block::decompress_into(value, &mut plain), u32::try_from(value.len()))
    {
        let frame = [HEAD, &size.to_le_bytes(), value, &[0; 4]].concat();
        let read = |names: &[&str], value: &[u8]| {
            Pipeline::parse(names).expect("known names").decode(value, &Wanted::All)
        };
        assert_eq!(read(&["lz4", "raw"], &frame), read(&["raw"], &plain[..length]));
    }
});
