//! A search for worse sessions: what stands once and what stands again and again in a frame of its format are changed
//! at random, and kept where a byte of the session costs more time than before.

use std::time::{Duration, Instant};

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::Value;

use super::formats::{Frame, FRAMES, SHAPES};
use super::meter::Cost;
use super::{cost, pipeline};

/// What the hostile part of a session is made of.
#[derive(Debug, Clone, Default, PartialEq)]
struct Recipe {
    /// Values that stand before the others, and how many they are.
    first: Vec<u8>,
    firsts: usize,
    unit: Vec<u8>,
}

/// How large the sessions are that are tried, and those that are shown.
const TRIED: usize = 8 * 1024;
const SHOWN: usize = 64 * 1024;
const KEPT: usize = 24;

/// Searches in each format whose name has `word` for so many seconds; prints the worst, and saves them below `folder`.
pub(crate) fn search(word: &str, seconds: u64, folder: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    println!(
        "| format | ms | peak, KB | once | again and again |\n| --- | ---: | ---: | --- | --- |"
    );
    for (format, frame) in FRAMES.iter().filter(|(format, _)| format.contains(word)) {
        let found = Search::new(format, *frame).run(Duration::from_secs(seconds));
        for (number, recipe) in found.iter().take(5).enumerate() {
            let raw = recipe.session(*frame, SHOWN);
            let Cost { ms, peak } = worst(format, &raw, SHOWN);
            let Recipe { first, unit, .. } = recipe;
            let (first, unit) = (first.escape_ascii(), unit.escape_ascii());
            println!("| {format} | {ms:.2} | {} | `{first:.80}` | `{unit:.80}` |", peak / 1024);
            std::fs::write(format!("{folder}/{format}-{number}"), raw)?;
        }
    }
    Ok(())
}

impl Recipe {
    fn session(&self, frame: Frame, size: usize) -> Vec<u8> {
        frame(self.firsts, &self.first, &self.unit, size)
    }
}

/// The worst of what may be wanted.
fn worst(format: &str, raw: &[u8], max_size: usize) -> Cost {
    let pipeline = pipeline(&[format], max_size);
    let parts = [&["/user_id"][..], &["/h"], &["/h/*/a", "/h/*/b", "/h/*/c", "/h/*/d"]];
    parts.iter().map(|part| cost(&pipeline, raw, part)).fold(Cost::default(), Cost::max)
}

struct Search {
    format: &'static str,
    frame: Frame,
    /// Sessions that parts are taken from.
    seeds: Vec<Vec<u8>>,
    /// The worst first, with its time.
    kept: Vec<(f64, Recipe)>,
    random: u64,
}

impl Search {
    fn new(format: &'static str, frame: Frame) -> Self {
        let shapes = SHAPES.iter().filter(|shape| shape.format == format);
        let mut seeds: Vec<Vec<u8>> = shapes.map(|shape| (shape.make)(2048)).collect();
        seeds.extend(captured());
        Self { format, frame, seeds, kept: Vec::new(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn run(mut self, time: Duration) -> Vec<Recipe> {
        let start = Instant::now();
        while start.elapsed() < time {
            let recipe = self.recipe();
            if !recipe.unit.is_empty()
                && recipe.unit.len() < TRIED / 8
                && recipe.first.len() < TRIED / 2
            {
                self.try_out(recipe);
            }
        }
        self.kept.into_iter().map(|(_, recipe)| recipe).collect()
    }

    /// Keeps a recipe if it is among the worst; of those that cost alike the first.
    fn try_out(&mut self, recipe: Recipe) {
        let raw = recipe.session(self.frame, TRIED);
        if raw.len() > TRIED * 2 || self.kept.iter().any(|(_, kept)| *kept == recipe) {
            return;
        }
        let pipeline = pipeline(&[self.format], TRIED);
        let read = pipeline.decode(&raw, &ngx_http_session_redis_module::format::Wanted::Nothing);
        if read.is_err_and(|error| error.to_string().contains("malformed")) {
            return;
        }
        let least = self.kept.last().filter(|_| self.kept.len() >= KEPT).map_or(0.0, |(ms, _)| *ms);
        let time = |_| worst(self.format, &raw, TRIED).ms;
        // What seems to be slow is measured again.
        if time(()) <= least {
            return;
        }
        let ms = (0..2).map(|_| time(())).fold(f64::MAX, f64::min);
        let alike =
            |kept: &Recipe| kept.unit.len() == recipe.unit.len() && kept.first == recipe.first;
        match self.kept.iter().position(|(_, kept)| alike(kept)) {
            Some(at) if self.kept[at].0 < ms => self.kept[at] = (ms, recipe),
            Some(_) => {}
            None => self.kept.push((ms, recipe)),
        }
        self.kept.sort_by(|(one, _), (two, _)| two.total_cmp(one));
        self.kept.truncate(KEPT);
    }

    /// A new recipe, or one that is kept with some changes.
    fn recipe(&mut self) -> Recipe {
        let mut recipe = match self.kept.len() {
            kept if kept > 0 && self.below(8) > 0 => {
                let at = self.below(kept);
                self.kept[at].1.clone()
            }
            _ => Recipe::default(),
        };
        for _ in 0..=self.below(3) {
            match self.below(12) {
                0 => recipe.firsts = self.below(4),
                1..=3 => recipe.first = self.changed(recipe.first),
                _ => recipe.unit = self.changed(recipe.unit),
            }
        }
        recipe
    }

    fn changed(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below(bytes.len() - at + 1).min(16);
        match self.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.extend_from_within(at..end),
            2 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            3 if at < bytes.len() => {
                bytes[at] = bytes[at].wrapping_add(self.below(5) as u8).wrapping_sub(2)
            }
            4 => bytes = self.part(),
            _ => drop(bytes.splice(at..at, self.part())),
        }
        bytes
    }

    /// A few bytes of a seed.
    fn part(&mut self) -> Vec<u8> {
        let seed = self.below(self.seeds.len());
        let at = self.below(self.seeds[seed].len());
        let most = if self.below(4) == 0 { 400 } else { 24 };
        let end = (at + 1 + self.below(most)).min(self.seeds[seed].len());
        self.seeds[seed][at..end].to_vec()
    }

    /// A number below this one: xorshift, the same in each run.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 16).unwrap_or_default() % bound.max(1)
    }
}

/// Sessions captured from frameworks.
fn captured() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/t/data");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let told = files
        .filter_map(|file| serde_json::from_slice::<Value>(&std::fs::read(file.path()).ok()?).ok());
    told.filter_map(|told| STANDARD.decode(told["value_base64"].as_str()?).ok())
        .filter(|raw| !raw.is_empty())
        .collect()
}
