#![no_main]

use ngx_http_session_redis_module::session::cookie::{is_alike, pairs, rewrite, values};

const NAME: &[u8] = b"my_sid";

// Cookie lines, one a line.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let lines: Vec<&[u8]> = input.split(|b| *b == b'\n').collect();
    let mut found = Vec::new();
    values(lines.iter().copied(), NAME, &mut |_, value| found.push(value));
    let named = lines.iter().flat_map(|line| pairs(line)).filter(|(name, _)| is_alike(name, NAME));
    assert!(found.iter().eq(named.map(|(_, value)| value).collect::<Vec<_>>().iter()));

    // What is taken out is gone, what is kept stays as it was, and taking out again changes nothing.
    for line in lines {
        let others = |line| pairs(line).filter(|(name, _)| !is_alike(name, NAME)).collect::<Vec<_>>();
        if let Some(rewritten) = rewrite(line, |name, _| !is_alike(name, NAME)) {
            let mut left = 0;
            values([rewritten.as_slice()], NAME, &mut |_, _| left += 1);
            assert_eq!(left, 0);
            assert!(others(&rewritten) == others(line));
            assert_eq!(rewrite(&rewritten, |name, _| !is_alike(name, NAME)), None);
        }
    }
});
