#![no_main]

use ngx_http_session_redis_module::session::cookie::{
    is_alike, pairs, rewrite, values, Kept, Name, Spelling,
};

const NAME: &str = "my_sid";

// Cookie lines, one a line.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let lines: Vec<&[u8]> = input.split(|b| *b == b'\n').collect();
    for spelling in [Spelling::Exact, Spelling::Php, Spelling::AnyCase, Spelling::Unknown] {
        let ours = |name: &[u8]| is_alike(name, NAME.as_bytes(), spelling);
        let mut found = Vec::new();
        values(lines.iter().copied(), NAME.as_bytes(), spelling, &mut |is, value| {
            if is != Name::Inside {
                found.push(value);
            }
        });
        let named = lines.iter().flat_map(|line| pairs(line)).filter(|(name, _)| ours(name));
        assert!(found.iter().eq(named.map(|(_, value)| value).collect::<Vec<_>>().iter()));

        // What is taken out is gone, what is kept stays as it was, and taking out again changes nothing.
        for line in &lines {
            for value in [None, found.first()] {
                let value = value.map(|value| value.to_vec());
                let kept = [Kept { value: value.clone(), ..Kept::none(NAME, spelling) }];
                let Some(rewritten) = rewrite(line, &kept) else { continue };
                values([rewritten.as_slice()], NAME.as_bytes(), spelling, &mut |is, left| {
                    assert!(is == Name::Same && Some(left) == value.as_deref());
                });
                assert_eq!(rewrite(&rewritten, &kept), None);
                let mut before = pairs(line);
                for pair in pairs(&rewritten) {
                    assert!(before.any(|other| other == pair));
                }
            }
        }
    }
});
