//! What the worst sessions known cost, by format and wrapper: CPU time, with the drop of the result, and memory.
//!
//! `cargo bench --no-default-features --bench hostile` prints a table in Markdown and marks what is beyond the bounds.
//! `-- --check` fails then; `-- WORD` measures only what has the word in its name.
//! `-- --search=SECONDS [FORMAT]` searches for worse ones (`make fuzz-slow`).

mod cookies;
mod formats;
mod meter;
mod search;
mod wrappers;

use std::process::ExitCode;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ngx_http_session_redis_module::format::{Pipeline, Undecodable, Wanted};
use ngx_http_session_redis_module::inject::{session_header, Encode};
use ngx_http_session_redis_module::pointer::Pointer;
use ngx_http_session_redis_module::session::secrets::Secrets;
use serde_json::Value;

use self::formats::{Shape, SHAPES};
use self::meter::{measure, Cost};
use self::wrappers::WRAPPERS;

fn main() -> ExitCode {
    let mut table = Table::default();
    let mut seconds = None;
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        match (argument.as_str(), argument.strip_prefix("--search=")) {
            ("--check", _) => table.check = true,
            (_, Some(number)) => seconds = Some(number.parse().expect("seconds")),
            (word, None) => table.word = word.to_owned(),
        }
    }
    if let Some(seconds) = seconds {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/slow");
        search::search(&table.word, seconds, folder).expect("a folder to write to");
        return ExitCode::SUCCESS;
    }
    println!(
        "| input | bytes | of max_size | outcome | nothing, ms | elsewhere, ms | the part, ms | peak, KB | beyond |"
    );
    println!("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |");
    for max_size in [64 * 1024, 1024 * 1024] {
        for shape in SHAPES {
            table.row(&[shape.format], shape.name, shape.part, max_size, [(shape.make)(max_size)]);
        }
        for (names, name, make) in WRAPPERS {
            table.row(names, name, &["/h"], max_size, [make(max_size)]);
        }
        for shape in SHAPES.iter().filter(|shape| can_be_packed(shape)) {
            table.packed(&["zlib"], wrappers::zlib, shape, max_size);
        }
        for (format, name) in
            [("json", "one-digit numbers"), ("pickle", "nulls"), ("gob", "booleans")]
        {
            let shape = SHAPES.iter().find(|shape| (shape.format, shape.name) == (format, name));
            for (names, pack) in PACKERS {
                table.packed(names, *pack, shape.expect("a shape"), max_size);
            }
        }
    }
    table.hashes();
    table.cookies();
    table.end()
}

type Pack = fn(&[u8]) -> Vec<u8>;

/// Other wrappers than zlib, around what costs most.
const PACKERS: &[(&[&str], Pack)] = &[
    (&["gzip"], wrappers::gzip),
    (&["lz4"], wrappers::lz4),
    (&["lzf"], wrappers::lzf),
    (&["fastlz"], wrappers::fastlz),
    (&["base64", "zlib"], |plain| STANDARD.encode(wrappers::zlib(plain)).into_bytes()),
    (&["zlib", "zlib"], |plain| wrappers::zlib(&wrappers::zlib(plain))),
    (&["lzf", "lzf"], |plain| wrappers::lzf(&wrappers::lzf(plain))),
    (&["encrypted", "zlib"], |plain| wrappers::encrypted(&wrappers::zlib(plain))),
];

/// Whether hardly anything is left of a session that is compressed.
fn can_be_packed(shape: &Shape) -> bool {
    wrappers::zlib(&(shape.make)(64 * 1024)).len() < 2048
}

#[derive(Default)]
struct Table {
    check: bool,
    word: String,
    beyond: usize,
}

impl Table {
    /// Measures what a few KB may become, from a quarter of `max_size` to 1 MB or all that may be.
    fn packed(&mut self, wrappers: &[&str], pack: Pack, shape: &Shape, max_size: usize) {
        let plain =
            (0..7).map(|power| (max_size / 4) << power).filter(|plain| *plain <= 1024 * 1024);
        let names = [wrappers, &[shape.format]].concat();
        self.row(
            &names,
            shape.name,
            shape.part,
            max_size,
            plain.map(|plain| pack(&(shape.make)(plain - 64))),
        );
    }

    /// Measures sessions of one shape: the one that costs most makes the row.
    fn row(
        &mut self,
        names: &[&str],
        shape: &str,
        part: &[&str],
        max_size: usize,
        sessions: impl IntoIterator<Item = Vec<u8>>,
    ) {
        let name = format!("`{}`, {shape}", names.join(" "));
        if !name.contains(&self.word) {
            return;
        }
        let pipeline = pipeline(names, max_size);
        let measured = sessions.into_iter().map(|raw| {
            let costs = [&[][..], &["/user_id"], part].map(|part| cost(&pipeline, &raw, part));
            let worst = costs.into_iter().fold(Cost::default(), Cost::max);
            (raw, costs, worst)
        });
        let most = measured.max_by(|(.., one), (.., two)| one.ms.total_cmp(&two.ms));
        let (raw, costs, worst) = most.expect("a session");
        let outcome = match pipeline.decode(&raw, &Wanted::All) {
            Ok(_) => "read".to_owned(),
            Err(Undecodable { reason, .. }) => format!("{reason:?}"),
        };
        let beyond = self.beyond(worst, raw.len(), max_size);
        let [nothing, elsewhere, part] = costs.map(|cost| cost.ms);
        println!(
            "| {name} | {} | {max_size} | {outcome} | {nothing:.2} | {elsewhere:.2} | {part:.2} | {} | {} |",
            raw.len(),
            worst.peak / 1024,
            beyond
        );
    }

    /// Measures hashes of as many fields as there can be.
    fn hashes(&mut self) {
        for (names, value) in [("auto", "x"), ("json", "x"), ("json", "1"), ("jvm", "{")] {
            for max_size in [64 * 1024, 1024 * 1024] {
                let field = |at| (format!("{at:x}").into_bytes(), value.as_bytes().to_vec());
                let mut left: usize = max_size;
                let fields: Vec<_> = (0..)
                    .map(field)
                    .take_while(|(name, value)| {
                        left = left.saturating_sub(name.len() + value.len());
                        left > 0
                    })
                    .collect();
                let name = format!("`{names}`, a hash of fields `{value}`");
                let pipeline = pipeline(&[names], max_size);
                let read = |wanted| measure(|| pipeline.decode_hash(&fields, &wanted));
                let costs = [read(Wanted::Nothing), read(Wanted::All)];
                self.short_row(&name, max_size, costs[0].max(costs[1]), max_size);
            }
        }
    }

    /// Measures the cookies of one request.
    fn cookies(&mut self) {
        for (arguments, cost) in cookies::costs() {
            self.short_row(&format!("eight cookies, `{arguments}`"), 8 * 4096, cost, 64 * 1024);
        }
    }

    fn short_row(&mut self, name: &str, bytes: usize, cost: Cost, max_size: usize) {
        if name.contains(&self.word) {
            let beyond = self.beyond(cost, bytes, max_size);
            let Cost { ms, peak } = cost;
            println!(
                "| {name} | {bytes} | {max_size} | | | | {ms:.2} | {} | {beyond} |",
                peak / 1024
            );
        }
    }

    /// What is to be said of this cost.
    fn beyond(&mut self, cost: Cost, stored: usize, max_size: usize) -> String {
        let mut beyond = Vec::new();
        if cost.ms > if max_size <= 64 * 1024 { 2.0 } else { 8.0 } {
            beyond.push("**time**");
        }
        if cost.peak > 16 * stored + 1024 * 1024 {
            beyond.push("**memory**");
        }
        self.beyond += usize::from(!beyond.is_empty());
        beyond.join(", ")
    }

    fn end(self) -> ExitCode {
        println!(
            "\n{} beyond 2 ms at 64 KB, 8 ms at 1 MB, 16 times what is stored and 1 MB.",
            self.beyond
        );
        match self.check && self.beyond > 0 {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        }
    }
}

fn pipeline(names: &[&str], max_size: usize) -> Pipeline {
    let secrets = Secrets::parse_args(&[wrappers::KEY, wrappers::OLD_KEY]).expect("keys");
    Pipeline::parse(names)
        .map(|pipeline| pipeline.with_max_size(max_size))
        .and_then(|pipeline| pipeline.with_secrets(Some(&secrets), None))
        .expect("a pipeline")
}

/// What it costs to decode what these pointers want, and to make headers of it.
fn cost(pipeline: &Pipeline, raw: &[u8], pointers: &[&str]) -> Cost {
    let parse = |pointer: &&str| Pointer::parse(pointer).expect("a pointer");
    let pointers: Vec<Pointer> = pointers.iter().map(parse).collect();
    let wanted = Wanted::of(&pointers);
    measure(|| {
        let session = pipeline.decode(raw, &wanted).ok()?;
        pointers.iter().for_each(|pointer| header(pointer, &session));
        Some(session)
    })
}

fn header(pointer: &Pointer, session: &Value) {
    let selected = pointer.select(session);
    let _ = std::hint::black_box(session_header(&selected, None, Encode::Raw));
}
