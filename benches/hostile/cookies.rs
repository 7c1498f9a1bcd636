//! What a request can cost by its cookies: as many values of one name as are tried, as long as they may be, each
//! well-formed up to its signature.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use base64::Engine;
use ngx_http_session_redis_module::framework::Framework;
use ngx_http_session_redis_module::session::cookie::{MAX_CANDIDATES, MAX_VALUE};
use ngx_http_session_redis_module::session::identity::Verifier;
use ngx_http_session_redis_module::session::scheme::Carried;
use ngx_http_session_redis_module::session::secrets::Secrets;

use super::meter::{measure, Cost};
use super::wrappers::{KEY, OLD_KEY};

/// Frameworks with their arguments, and a value of about so many bytes.
type Row = (&'static [&'static str], fn(usize) -> Vec<u8>);

const ROWS: &[Row] = &[
    (&["express"], |size| [&b"s:"[..], &b"a".repeat(size - 46), b".", &[b'A'; 43]].concat()),
    (&["koa", "variant=session"], |size| b"a".repeat(size)),
    (&["flask", "signed=on"], |size| [&b"a".repeat(size - 28)[..], b".", &[b'A'; 27]].concat()),
    (&["beaker"], |size| b"a".repeat(size)),
    (&["spring"], |size| b"A".repeat(size)),
    (&["laravel", "app=shop", "version=8"], |size| {
        let value = STANDARD.encode(vec![0; (size / 4 * 3 - 90) / 64 * 48]);
        let iv = STANDARD.encode([0; 16]);
        let mac = "0".repeat(64);
        let json = format!(r#"{{"iv":"{iv}","value":"{value}","mac":"{mac}","tag":""}}"#);
        STANDARD.encode(&json[..]).into_bytes()
    }),
    (&["laravel", "app=shop", "version=8"], |size| {
        STANDARD.encode(format!("{{\"iv\":[{}0]}}", "1,".repeat(size * 3 / 8 - 20))).into_bytes()
    }),
    (&["rails", "cookie=sid", "encrypted=on"], |size| {
        let sealed = STANDARD.encode(vec![0; size / 4 * 3 - 60]);
        let (iv, tag) = (STANDARD.encode([0; 12]), STANDARD.encode([0; 16]));
        format!("{sealed}--{iv}--{tag}").into_bytes()
    }),
    (&["rails", "cookie=sid", "encrypted=on"], |size| b"-".repeat(size)),
    (&["gorilla", "name=sid"], |size| {
        let value = [&b"1|"[..], &b"A".repeat(size / 4 * 3 - 40), b"|", &[0; 32]].concat();
        URL_SAFE.encode(value).into_bytes()
    }),
    (&["aspnet", "application=shop"], |size| {
        let text =
            [&b"\x09\xf0\xc9\xf0"[..], &vec![0; (size / 4 * 3 - 90) / 16 * 16 + 80]].concat();
        STANDARD.encode(text).into_bytes()
    }),
];

/// The cost of each row, by the framework's arguments.
pub(crate) fn costs() -> impl Iterator<Item = (String, Cost)> {
    ROWS.iter().map(|(arguments, make)| {
        let verifier = verifier(arguments);
        let mut value = make(MAX_VALUE);
        value.truncate(MAX_VALUE);
        let candidates = [value.as_slice(); MAX_CANDIDATES];
        let carried = Carried { name: "sid", beside: Some(b"0123456789abcdef01234567890"), now: 0 };
        let cost = measure(|| drop(std::hint::black_box(verifier.choose(&candidates, &carried))));
        (arguments.join(" "), cost)
    })
}

/// With two secrets, of which aspnet's are longer.
fn verifier(arguments: &[&str]) -> Verifier {
    let long = [KEY, OLD_KEY].map(|key| key.repeat(2));
    let keys = match arguments[0] {
        "aspnet" => [long[0].as_str(), &long[1]],
        _ => [KEY, OLD_KEY],
    };
    let secrets = Secrets::parse_args(&keys).expect("secrets");
    let framework = Framework::parse(arguments).expect("a framework");
    framework.identity.verifier(Some(&secrets)).expect("good secrets")
}
