//! What decoding costs by format: sessions captured from frameworks (`t/data`), read whole, beside serde_json on
//! the JSON that they stand for. `cargo bench --no-default-features --bench formats` prints a table in Markdown.

use std::hint::black_box;
use std::time::{Duration, Instant};

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ngx_http_session_redis_module::format::{Pipeline, Wanted};
use serde_json::Value;

/// Formats with their wrappers, and the captured sessions that are read: one of a format, the fullest.
const ROWS: &[(&str, &str)] = &[
    ("json", "node-express-connect-redis"),
    ("zlib json", "django-redis-json-zlib"),
    ("php", "php-phpredis-php"),
    ("php_serialize", "php-phpredis-php_serialize"),
    ("php_binary", "php-phpredis-php_binary"),
    ("igbinary", "php-phpredis-igbinary"),
    ("msgpack", "php-phpredis-msgpack"),
    ("msgpack", "django-redis-msgpack"),
    ("pickle", "django-redis-pickle"),
    ("beaker", "beaker-redis-pickle"),
    ("django_signed", "django-redis-sessions"),
    ("marshal", "rails-redis-store"),
    ("java", "tomcat-redisson-jdk"),
    ("jackson", "spring-session-json"),
    ("msm", "tomcat-memcached-session-manager"),
    ("gob", "go-redistore-gob"),
    ("aspnet", "aspnetcore-distributed-session"),
];

fn main() {
    println!(
        "| format | session | bytes | ns | ns per KB | JSON, bytes | serde_json, ns | ratio |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (names, file) in ROWS {
        row(names, file);
    }
}

fn row(names: &str, file: &str) {
    let path = format!("{}/t/data/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let told: Value = serde_json::from_slice(&std::fs::read(path).expect(file)).expect(file);
    let unbase64 = |text: &Value| STANDARD.decode(text.as_str().expect(file)).expect(file);
    let raw = match &told["hash_base64"] {
        Value::Object(fields) => {
            let user =
                ["user", "sessionAttr:user", "data"].into_iter().find_map(|name| fields.get(name));
            unbase64(user.expect(file))
        }
        _ => unbase64(&told["value_base64"]),
    };
    let pipeline = Pipeline::parse(&names.split(' ').collect::<Vec<_>>()).expect(file);
    let read = || pipeline.decode(black_box(&raw), &Wanted::All).expect(file);
    let json = read().to_string();
    let parse = || serde_json::from_str::<Value>(black_box(&json)).expect(file);

    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    // In turns, the best of several: what else the machine does hits both.
    for _ in 0..5 {
        ours = ours.min(time(read));
        theirs = theirs.min(time(parse));
    }
    println!(
        "| `{names}` | {file} | {} | {ours:.0} | {:.0} | {} | {theirs:.0} | {:.2} |",
        raw.len(),
        ours * 1024.0 / raw.len() as f64,
        json.len(),
        ours / theirs
    );
}

/// The ns that one call takes.
fn time(work: impl Fn() -> Value) -> f64 {
    const ENOUGH: Duration = Duration::from_millis(20);
    let (mut runs, mut taken) = (1_u32, Duration::ZERO);
    while taken < ENOUGH {
        runs *= 2;
        let start = Instant::now();
        for _ in 0..runs {
            drop(black_box(work()));
        }
        taken = start.elapsed();
    }
    taken.as_secs_f64() * 1e9 / f64::from(runs)
}
